"""The tracks: by themselves, and on a plain aiortc connection."""

import asyncio
import fractions
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aioice.ice
import aiortc
import av
import pytest
from aiortc.mediastreams import MediaStreamError

from native import Codec, Hub, InvalidArgument, NativeError, StreamSettings, read_pattern
from peer.tracks import NativeTrack, PatternTrack, ScreenTrack, add_track

SETTINGS = StreamSettings(fps=60, bitrate=2_000_000, idr_interval_ms=1)


@pytest.fixture
async def track() -> AsyncIterator[PatternTrack]:
    track = PatternTrack(320, 180, settings=SETTINGS)
    yield track
    track.stop()


@pytest.fixture
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


def decode(context: av.CodecContext, packet: av.Packet) -> Iterator[int]:  # type: ignore[type-arg]
    """The numbers of the pattern's frames that come out of a packet."""
    for frame in context.decode(packet):  # type: ignore[attr-defined]
        code = read_pattern(frame.to_ndarray(format="gray"))
        assert code is not None, "the picture carries no code"
        yield code.frame


async def test_recv_gives_packets_that_decode_to_the_pattern_in_order(track: PatternTrack) -> None:
    context = av.CodecContext.create("h264", "r")
    packets = [await track.recv() for _ in range(20)]
    numbers = [number for packet in packets for number in decode(context, packet)]
    assert packets[0].is_keyframe
    assert len(numbers) >= 19
    assert numbers == sorted(set(numbers))
    pts = [packet.pts for packet in packets]
    assert pts == sorted(set(pts))
    assert {packet.time_base for packet in packets} == {fractions.Fraction(1, 90_000)}
    # At most 60 frames a second: 1500 ticks apart on the whole, more where a frame was skipped.
    assert (pts[-1] - pts[0]) / (len(pts) - 1) >= 1400


async def test_vp8_packets_decode_too() -> None:
    track = PatternTrack(320, 180, settings=SETTINGS, codec=Codec.VP8)
    context = av.CodecContext.create("vp8", "r")
    try:
        packets = [await track.recv() for _ in range(5)]
    finally:
        track.stop()
    assert packets[0].is_keyframe
    numbers = [number for packet in packets for number in decode(context, packet)]
    assert len(numbers) == 5
    assert numbers == sorted(set(numbers))


async def test_a_keyframe_comes_when_asked_for() -> None:
    track = PatternTrack(320, 180, settings=SETTINGS, idr_interval_s=0)
    try:
        first = [await track.recv() for _ in range(10)]
        assert [packet.is_keyframe for packet in first] == [True] + [False] * 9
        track.request_keyframe()
        later = [await track.recv() for _ in range(10)]
        assert sum(packet.is_keyframe for packet in later) == 1
    finally:
        track.stop()


async def test_keyframes_come_at_the_interval() -> None:
    track = PatternTrack(320, 180, settings=SETTINGS, idr_interval_s=0.1)
    try:
        packets = [await track.recv() for _ in range(40)]
    finally:
        track.stop()
    keys = [packet.pts for packet in packets if packet.is_keyframe]
    assert len(keys) >= 3
    assert all(b - a >= 9000 for a, b in itertools.pairwise(keys))


async def test_rtp_time_becomes_a_count_that_does_not_wrap(track: PatternTrack) -> None:
    packet = await track.recv()
    track._pts = 2**33 - 5  # as after a day: the RTP clock has wrapped twice
    later = await track.recv()
    assert later.pts >= 2**33 - 5
    assert (later.pts - packet.pts) % 2**32 <= 90_000


async def test_stop_ends_recv(track: PatternTrack) -> None:
    track.settings = StreamSettings(fps=1)
    await track.recv()
    pending = asyncio.ensure_future(track.recv())
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await pending
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert track.readyState == "ended"
    with pytest.raises(ValueError, match="ended"):
        track.open()


async def test_a_track_belongs_to_one_hub(track: PatternTrack) -> None:
    with Hub(["127.0.0.1"]) as one, Hub(["127.0.0.1"]) as other:
        stream = track.open(one)
        assert track.open(one) is stream
        with pytest.raises(ValueError, match="hub"):
            track.open(other)
        assert track.size == (320, 180)
        assert (await track.recv()).is_keyframe  # a tap beside the hub
        track.stop()


async def test_misuse_is_named() -> None:
    with pytest.raises(InvalidArgument):
        PatternTrack(321, 7)
    with pytest.raises(ValueError, match="idr_interval_s"):
        PatternTrack(320, 180, idr_interval_s=-1)
    with pytest.raises(NativeError, match="99"):
        ScreenTrack(":9999")


# Plain aiortc -----------------------------------------------------------------------------------


@asynccontextmanager
async def connected(track: NativeTrack) -> AsyncIterator[aiortc.RTCRtpReceiver]:
    """Two plain aiortc connections; yields the receiver of the track."""
    sending, receiving = aiortc.RTCPeerConnection(), aiortc.RTCPeerConnection()
    try:
        add_track(sending, track)
        await sending.setLocalDescription(await sending.createOffer())
        await receiving.setRemoteDescription(sending.localDescription)
        await receiving.setLocalDescription(await receiving.createAnswer())
        await sending.setRemoteDescription(receiving.localDescription)
        yield receiving.getReceivers()[0]
    finally:
        await asyncio.gather(sending.close(), receiving.close())


@pytest.mark.usefixtures("_loopback_only")
@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
async def test_a_plain_aiortc_connection_sends_the_track(codec: Codec) -> None:
    track = PatternTrack(320, 180, settings=SETTINGS, codec=codec)
    async with connected(track) as receiver, asyncio.timeout(20):
        numbers = []
        while len(numbers) < 30:
            frame = await receiver.track.recv()
            assert isinstance(frame, av.VideoFrame)
            code = read_pattern(frame.to_ndarray(format="gray"))
            assert code is not None
            numbers.append(code.frame)
    assert numbers == sorted(set(numbers))


@pytest.mark.usefixtures("_loopback_only")
async def test_a_plain_receivers_pli_becomes_one_idr() -> None:
    track = PatternTrack(320, 180, settings=SETTINGS)
    async with connected(track) as receiver, asyncio.timeout(20):
        await receiver.track.recv()
        stream = track.open()
        before = stream.stats().codecs[Codec.H264].idrs
        ssrc = next(iter(receiver._RTCRtpReceiver__remote_streams))  # type: ignore[attr-defined]
        await receiver._send_rtcp_pli(ssrc)
        while stream.stats().codecs[Codec.H264].idrs == before:
            await receiver.track.recv()
        for _ in range(10):
            await receiver.track.recv()
        assert stream.stats().codecs[Codec.H264].idrs == before + 1
