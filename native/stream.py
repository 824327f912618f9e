"""Streams: a media thread that captures, encodes and packetizes one source for many receivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from native.binding import Handle, check, ffi, lib, text
from native.enums import Codec, Preset, Profile, RateControl, Stage
from native.frame_clock import FrameTimes, Percentiles
from native.source import Source

if TYPE_CHECKING:
    from native.hub import Hub


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a source is streamed. The core refuses what is out of range (InvalidArgument)."""

    fps: int = 60
    """Cap on the frame rate, 1..240."""
    keepalive_fps: int = 1
    """Frames per second of an unchanged picture, 1..fps."""
    bitrate: int = 8_000_000
    """Bits per second."""
    threads: int = 0
    """Encoder threads; 0 = by the number of cores."""
    slices: int = 0
    """Slices of a frame; 0 = chosen."""
    profile: Profile = Profile.CONSTRAINED_BASELINE
    preset: Preset = Preset.ULTRAFAST
    rate_control: RateControl = RateControl.FRAME
    budget_frames: float = 0.0
    """What a frame may take, in shares of bitrate / fps: 1.0 to 1.5; 0 = 1.25."""
    idr_interval_ms: int = 0
    """At most one IDR in this time, however many are asked for; 0 = 300 ms."""
    rungs: int = 0
    """Encodes of H.264 at most, for viewers whose paths differ: 1 to 3; 0 = 3."""


@dataclass(frozen=True, slots=True)
class CodecStats:
    """One encode of a stream, since the stream began."""

    viewers: int
    """Receivers now, taps included."""
    encoded: int
    """Access units."""
    encoded_bytes: int
    idrs: int


@dataclass(frozen=True, slots=True)
class RungStats:
    """One of the H.264 encodes that viewers of different paths are put on, now."""

    viewers: int
    """0 = it is not encoded."""
    bitrate: int
    """Bits per second."""
    width: int
    height: int
    fps: int
    encoded: int
    """Access units, since the stream began."""
    encoded_bytes: int


@dataclass(frozen=True, slots=True)
class StreamStats:
    """A stream since it began. Counters only grow."""

    width: int
    height: int
    captured: int
    """Pictures taken."""
    skipped: int
    """Not encoded: the network had not drained the last frame."""
    late: int
    """Frame slots missed: a stage took longer than the interval."""
    overshoots: int
    """P frames over the budget."""
    quantiser: int
    """Of the last H.264 frame."""
    encoder: str
    """"x264"."""
    codecs: dict[Codec, CodecStats]
    rungs: tuple[RungStats, ...]
    """The first is everybody's, as long as their paths are alike."""


class Stream(Handle):
    """A running media thread. Encodes only while a peer or a tap receives.

    On success the stream owns `source`, which then counts as closed; on failure the caller still
    does. Without a hub there are only taps. Close it before its hub.
    """

    _noun: ClassVar[str] = "stream"

    def __init__(
        self, source: Source, settings: StreamSettings | None = None, hub: Hub | None = None
    ) -> None:
        settings = StreamSettings() if settings is None else settings
        native = ffi.new("struct pc_stream_settings *")
        native.fps = settings.fps
        native.keepalive_fps = settings.keepalive_fps
        native.bitrate = settings.bitrate
        native.threads = settings.threads
        native.slices = settings.slices
        native.profile = settings.profile
        native.preset = settings.preset
        native.rate_control = settings.rate_control
        native.budget_frames = settings.budget_frames
        native.idr_interval_ms = settings.idr_interval_ms
        native.rungs = settings.rungs
        out = ffi.new("struct pc_stream **")
        hub_pointer = ffi.NULL if hub is None else hub._pointer
        check(lib.pc_stream_open(hub_pointer, source._pointer, native, out))
        source._take()
        super().__init__(out[0])
        self._hub = hub
        if hub is not None:
            hub._streams.add(self)

    @property
    def id(self) -> int:
        """What events call this stream."""
        return int(lib.pc_stream_id(self._pointer))

    def set_rate(self, bitrate: int, fps: int) -> None:
        """Change bits per second and the frame-rate cap in place; the encoder goes on.

        InvalidArgument when one is out of range.
        """
        check(lib.pc_stream_set_rate(self._pointer, bitrate, fps))

    def request_idr(self) -> None:
        """Ask for an IDR as soon as `idr_interval_ms` allows."""
        lib.pc_stream_request_idr(self._pointer)

    def stats(self) -> StreamStats:
        """Counters since the stream began."""
        s = ffi.new("struct pc_stream_stats *")
        check(lib.pc_stream_get_stats(self._pointer, s))
        return StreamStats(
            width=s.width,
            height=s.height,
            captured=s.captured,
            skipped=s.skipped,
            late=s.late,
            overshoots=s.overshoots,
            quantiser=s.quantiser,
            encoder=text(s.encoder),
            codecs={
                codec: CodecStats(
                    viewers=s.viewers[codec],
                    encoded=s.encoded[codec],
                    encoded_bytes=s.encoded_bytes[codec],
                    idrs=s.idrs[codec],
                )
                for codec in Codec
            },
            rungs=tuple(
                RungStats(
                    viewers=rung.viewers,
                    bitrate=rung.bitrate,
                    width=rung.width,
                    height=rung.height,
                    fps=rung.fps,
                    encoded=rung.encoded,
                    encoded_bytes=rung.encoded_bytes,
                )
                for rung in s.rungs
            ),
        )

    def latency(self, start: Stage, end: Stage, since_ns: int = 0) -> Percentiles:
        """How long frames took from one stage to another.

        Over the kept frames that began at or after `since_ns` (CLOCK_MONOTONIC).
        """
        out = ffi.new("struct pc_percentiles *")
        check(lib.pc_stream_latency(self._pointer, start, end, since_ns, out))
        return Percentiles.from_native(out)

    def frames(self, from_id: int = 0, limit: int = 1024) -> list[FrameTimes]:
        """The kept frames from `from_id` on, oldest first, at most `limit`."""
        out = ffi.new("struct pc_frame_times[]", limit)
        count = check(lib.pc_stream_frames(self._pointer, from_id, out, limit))
        return [FrameTimes(out[i].id, tuple(out[i].at), out[i].bytes) for i in range(count)]

    def _release(self, pointer: Any) -> None:
        lib.pc_stream_close(pointer)
        if self._hub is not None:
            self._hub._streams.discard(self)
