"""Tracks: a display or the test pattern as an aiortc :class:`~aiortc.MediaStreamTrack`.

Behind Playcast's own connection a track hands over its native stream (:meth:`NativeTrack.open`),
and no frame or packet enters Python. On a plain :class:`aiortc.RTCPeerConnection` the same track
works through ``recv()``, which returns encoded :class:`av.Packet` objects that aiortc packetizes::

    track = ScreenTrack(display=":0")
    add_track(pc, track)        # instead of pc.addTrack(track)

:func:`add_track` does what ``addTrack`` cannot: it makes the connection negotiate the codec that
the track is encoded in, and lets the remote's PLI and FIR (RFC 4585, RFC 5104) ask for an IDR.
``pc.addTrack(track)`` alone is fine where the codec is the one negotiated anyway; without
the remote's voice an IDR then comes every ``idr_interval_s``.
"""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import aiortc
import av
from aiortc.mediastreams import MediaStreamError

from native import AccessUnit, Codec, Hub, Region, Source, Stream, StreamEnded, StreamSettings, Tap
from peer._aiortc import on_keyframe_request

if TYPE_CHECKING:
    Packet = av.Packet[Any]  # generic only to type checkers
else:
    Packet = av.Packet

RTP_CLOCK = Fraction(1, 90_000)


class NativeTrack(aiortc.MediaStreamTrack):
    """A source and, from its first use on, the native stream that encodes it.

    The track owns both: :meth:`stop` closes them. It is used in one of two ways, by whichever
    comes first: :meth:`open` for a hub, or ``recv()``.
    """

    kind = "video"

    def __init__(
        self,
        source: Source,
        settings: StreamSettings | None = None,
        *,
        codec: Codec = Codec.H264,
        idr_interval_s: float = 2.0,
    ) -> None:
        """Take over ``source``, on failure too.

        ``codec`` is what ``recv()`` returns, and ``idr_interval_s`` how often at least it returns
        an IDR; 0 is never unless asked. Behind a hub each viewer gets the codec that suits it.
        """
        super().__init__()
        if idr_interval_s < 0:
            source.close()
            raise ValueError(f"idr_interval_s takes 0 or more seconds, not {idr_interval_s}")
        self.codec = codec
        self.settings = settings or StreamSettings()
        self.idr_interval_s = idr_interval_s
        self._source: Source | None = source
        self._stream: Stream | None = None
        self._hub: Hub | None = None
        self._tap: Tap | None = None
        self._readable = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pts = 0
        self._next_idr_ns = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture in pixels, now."""
        if self._source is not None:
            return self._source.size
        stats = self._opened().stats()
        return stats.width, stats.height

    def open(self, hub: Hub | None = None) -> Stream:
        """The native stream, running. The track keeps it; the second call returns the same one.

        ``hub`` must be the one of the connections that send it. Raises :class:`ValueError` when
        the stream runs for another hub already, and :class:`native.NativeError` when it cannot
        start.
        """
        if self._source is not None:
            stream = Stream(self._source, self.settings, hub)
            self._source, self._stream, self._hub = None, stream, hub
            return stream
        if hub is not None and hub is not self._hub:
            raise ValueError("hub: this track is in use without it, or with another")
        return self._opened()

    def request_keyframe(self) -> None:
        """Ask for an IDR; the stream bounds how often it gives one."""
        if self._stream is not None:
            self._stream.request_idr()

    async def recv(self) -> Packet:
        """The next access unit, its pts on the 90 kHz clock. For aiortc.

        Raises :class:`aiortc.mediastreams.MediaStreamError` when the track has ended.
        """
        if self.readyState != "live":
            raise MediaStreamError
        tap = self._tap or self._open_tap()
        while True:
            try:
                unit = tap.read()
            except StreamEnded:
                self.stop()
                raise MediaStreamError from None
            if unit is not None:
                return self._to_packet(unit)
            self._readable.clear()
            await self._readable.wait()
            if self.readyState != "live":
                raise MediaStreamError

    def stop(self) -> None:
        """End the track: stop capturing, close the stream or the source. May be called again."""
        super().stop()
        if self._tap is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._tap.fileno())
            self._tap.close()
            self._tap = None
        for handle in (self._stream, self._source):
            if handle is not None:
                handle.close()
        self._stream = self._source = None
        self._readable.set()

    def _opened(self) -> Stream:
        if self._stream is None:
            raise ValueError("the track has ended")
        return self._stream

    def _open_tap(self) -> Tap:
        tap = Tap(self.open(self._hub), self.codec)
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(tap.fileno(), self._readable.set)
        return tap

    def _to_packet(self, unit: AccessUnit) -> Packet:
        # The 32 bits of RTP time become a count that does not wrap.
        self._pts += (unit.rtp_time - self._pts) & 0xFFFFFFFF
        packet = Packet(unit.data)
        packet.pts = packet.dts = self._pts
        packet.time_base = RTP_CLOCK
        packet.is_keyframe = unit.idr
        if unit.idr:
            self._next_idr_ns = unit.capture_ns + int(self.idr_interval_s * 1e9)
        elif self.idr_interval_s and unit.capture_ns >= self._next_idr_ns:
            self.request_keyframe()
        return packet


class ScreenTrack(NativeTrack):
    """What an X11 display shows."""

    def __init__(
        self,
        display: str | None = None,
        *,
        monitor: str | None = None,
        window: int = 0,
        region: Region | tuple[int, int, int, int] | None = None,
        cursor: bool = True,
        settings: StreamSettings | None = None,
        codec: Codec = Codec.H264,
        idr_interval_s: float = 2.0,
    ) -> None:
        """Open ``display`` (``$DISPLAY`` by default): all of it, or a monitor (a RandR name), a
        window (an X id) or a region (x, y, width, height in pixels).

        Raises :class:`native.NativeError` when it cannot be captured.
        """
        source = Source.x11(display, monitor=monitor, window=window, region=region, cursor=cursor)
        super().__init__(source, settings, codec=codec, idr_interval_s=idr_interval_s)


class PatternTrack(NativeTrack):
    """A generated picture that moves, and carries its frame number and time in its pixels."""

    def __init__(
        self,
        width: int = 1280,
        height: int = 720,
        *,
        motion: bool = True,
        seed: int = 1,
        settings: StreamSettings | None = None,
        codec: Codec = Codec.H264,
        idr_interval_s: float = 2.0,
    ) -> None:
        """Raises :class:`native.InvalidArgument` for a size that the pattern does not come in."""
        source = Source.pattern(width, height, motion=motion, seed=seed)
        super().__init__(source, settings, codec=codec, idr_interval_s=idr_interval_s)


def add_track(pc: aiortc.RTCPeerConnection, track: NativeTrack) -> aiortc.RTCRtpSender:
    """Send ``track`` over a plain aiortc connection: ``pc.addTrack(track)``, and see above.

    Call it before the offer or answer is made. The track then gives an IDR when the remote asks
    for one, and no longer at an interval.
    """
    sender = pc.addTrack(track)
    transceiver = next(t for t in pc.getTransceivers() if t.sender is sender)
    offered = aiortc.RTCRtpSender.getCapabilities("video").codecs
    wanted = {f"video/{track.codec.name}".lower(), "video/rtx"}
    transceiver.setCodecPreferences([c for c in offered if c.mimeType.lower() in wanted])
    on_keyframe_request(sender, track.request_keyframe)
    track.idr_interval_s = 0.0
    return sender
