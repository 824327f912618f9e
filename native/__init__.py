"""The media core, typed: hubs, peers, sources, streams, taps and receptions of `native/src`.

    with Hub(["127.0.0.1"]) as hub:
        stream = Stream(Source.pattern(1280, 720), StreamSettings(fps=60), hub)
        peer = hub.open_peer()
        peer.set_path(0, Address("127.0.0.1", 40000))
        peer.set_keys(SrtpProfile.AEAD_AES_128_GCM, send_key, receive_key)
        peer.send(stream, MediaSettings(Codec.H264, payload_type=96, ssrc=1))

    reception = Reception(peer, ReceiveSettings(Codec.H264, payload_type=96))  # the other way

Capturing, encoding, sending, receiving and decoding run in the core's threads, without Python.
Every call may be made from any thread. Times are nanoseconds of CLOCK_MONOTONIC unless a name says
otherwise. Errors are drawn in `native.errors`.
"""

from native.address import Address
from native.enums import (
    Codec,
    Congestion,
    Controller,
    Preset,
    Profile,
    RateControl,
    SrtpProfile,
    Stage,
)
from native.errors import HandleClosed, InvalidArgument, NativeError, StreamEnded
from native.events import (
    Datagram,
    Event,
    FirstReport,
    PeerBye,
    SourceLost,
    SourceResized,
    StreamFailed,
)
from native.frame_clock import FrameTimes, Percentiles, clock_ns, library_versions
from native.hub import Hub, HubStats
from native.pattern import PatternCode, read_pattern, write_pattern
from native.peer import MediaSettings, Peer, PeerStats
from native.reception import (
    Picture,
    ReceivedFrame,
    ReceivedUnit,
    ReceiveSettings,
    Reception,
    ReceptionStats,
)
from native.source import Region, Source
from native.stream import CodecStats, RungStats, Stream, StreamSettings, StreamStats
from native.tap import AccessUnit, Tap

__all__ = [
    "AccessUnit",
    "Address",
    "Codec",
    "CodecStats",
    "Congestion",
    "Controller",
    "Datagram",
    "Event",
    "FirstReport",
    "FrameTimes",
    "HandleClosed",
    "Hub",
    "HubStats",
    "InvalidArgument",
    "MediaSettings",
    "NativeError",
    "PatternCode",
    "Peer",
    "PeerBye",
    "PeerStats",
    "Percentiles",
    "Picture",
    "Preset",
    "Profile",
    "RateControl",
    "ReceiveSettings",
    "ReceivedFrame",
    "ReceivedUnit",
    "Reception",
    "ReceptionStats",
    "Region",
    "RungStats",
    "Source",
    "SourceLost",
    "SourceResized",
    "SrtpProfile",
    "Stage",
    "Stream",
    "StreamEnded",
    "StreamFailed",
    "StreamSettings",
    "StreamStats",
    "Tap",
    "clock_ns",
    "library_versions",
    "read_pattern",
    "write_pattern",
]
