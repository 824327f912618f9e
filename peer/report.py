"""What a host says about itself once a second: to its viewers, its terminal, and ``--json``.

:class:`Meter` turns the counters and the frame clock of a native stream into a
:class:`HostReport`. The object that viewers get over the data channel "stats"
(:meth:`HostReport.to_viewer`) is a contract with the web viewer::

    {"fps": 60.0, "bitrate_bps": 8000000, "viewers": 2, "width": 1280, "height": 720,
     "codec": "H264", "encoder": "x264", "drops": {"skipped": 0, "late": 0},
     "stages": {"capture": {"p50_ms": 0.3, "p99_ms": 0.6}, "convert": …, "encode": …,
                "first_packet": …, "last_packet": …}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from native import Codec, Percentiles, Stage, StreamStats

WINDOW_S = 5.0
"""Latencies are those of the frames of so many last seconds."""

STAGES: Mapping[str, tuple[Stage, Stage]] = {
    "capture": (Stage.CAPTURE_START, Stage.CAPTURED),
    "convert": (Stage.CAPTURED, Stage.CONVERTED),
    "encode": (Stage.CONVERTED, Stage.ENCODED),
    "first_packet": (Stage.CAPTURE_START, Stage.FIRST_SENT),
    "last_packet": (Stage.CAPTURE_START, Stage.LAST_SENT),
}
"""From where to where each figure is taken. The packets' count from the start of capture."""


class MeteredStream(Protocol):
    """What a :class:`Meter` reads: a native stream."""

    def stats(self) -> StreamStats:
        """Counters since the stream began."""

    def latency(self, start: Stage, end: Stage, since_ns: int = 0) -> Percentiles:
        """Durations between two stages."""


@dataclass(frozen=True, slots=True)
class StageLatency:
    """How long a stage takes, in milliseconds."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """One encode during the last interval."""

    fps: float
    bitrate_bps: int
    receivers: int


@dataclass(frozen=True, slots=True)
class ViewerReport:
    """One viewer, as its host sees it."""

    peer: str
    state: str
    """``connecting``, ``connected`` or ``silent`` (its path answers no more)."""
    codec: str
    """``H264``, ``VP8``, or empty before its answer."""
    rtt_ms: float | None
    loss: float
    """Fraction lost in its last report, 0..1."""
    sent_bytes: int
    resent_packets: int
    frames_dropped: int
    idr_requests: int = 0
    """PLI and FIR (RFC 4585, RFC 5104) from it."""


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host now, and in the interval since the report before."""

    width: int
    height: int
    encoder: str
    encodes: Mapping[Codec, EncodeReport]
    stages: Mapping[str, StageLatency]
    """By the names of :data:`STAGES`; a stage that no frame passed is missing."""
    skipped: int
    """Frames not encoded because the network had not drained the last one, since the start."""
    late: int
    """Frame slots missed because a stage took too long, since the start."""
    viewers: tuple[ViewerReport, ...]
    """Those who have joined: connected, silent or on the way."""
    waiting: int
    """Viewers for whom there is no place."""
    signalling: str
    """The state of the link to the signalling server; see :class:`.ClientState`."""
    trouble: str
    """Why that link is down, in words; empty while it is up."""

    @property
    def connected(self) -> int:
        """How many viewers get the picture."""
        return sum(viewer.state == "connected" for viewer in self.viewers)

    @property
    def fps(self) -> float:
        """Frames per second of the faster encode."""
        return max((encode.fps for encode in self.encodes.values()), default=0.0)

    @property
    def bitrate_bps(self) -> int:
        """Of all encodes together; each is sent to every one of its viewers."""
        return sum(encode.bitrate_bps for encode in self.encodes.values())

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Those that somebody receives."""
        return tuple(codec for codec, encode in self.encodes.items() if encode.receivers)

    def to_viewer(self, codec: Codec) -> dict[str, Any]:
        """The message for a viewer of that encode."""
        encode = self.encodes[codec]
        return {
            "fps": round(encode.fps, 1),
            "bitrate_bps": encode.bitrate_bps,
            **self._common(),
            "codec": codec.name,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "fps": round(self.fps, 1),
            "bitrate_bps": self.bitrate_bps,
            **self._common(),
            "codec": "+".join(codec.name for codec in self.codecs),
            "waiting": self.waiting,
            "signalling": self.signalling,
            "trouble": self.trouble,
            "peers": [asdict(viewer) for viewer in self.viewers],
        }

    def _common(self) -> dict[str, Any]:
        return {
            "viewers": self.connected,
            "width": self.width,
            "height": self.height,
            "encoder": self.encoder,
            "stages": {
                name: {"p50_ms": round(stage.p50_ms, 3), "p99_ms": round(stage.p99_ms, 3)}
                for name, stage in self.stages.items()
            },
            "drops": {"skipped": self.skipped, "late": self.late},
        }


class Meter:
    """Reads a stream at intervals. Time is an argument, in nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, stream: MeteredStream, now_ns: int) -> None:
        self._stream = stream
        self._before = stream.stats()
        self._before_ns = now_ns

    def read(
        self,
        now_ns: int,
        *,
        viewers: tuple[ViewerReport, ...] = (),
        waiting: int = 0,
        signalling: str = "",
        trouble: str = "",
    ) -> HostReport:
        """The report of the interval since the last call (or since the meter was made)."""
        before, stats = self._before, self._stream.stats()
        seconds = (now_ns - self._before_ns) / 1e9
        if seconds <= 0:
            raise ValueError("now_ns must be later than at the last call")
        self._before, self._before_ns = stats, now_ns
        since_ns = max(0, now_ns - int(WINDOW_S * 1e9))
        return HostReport(
            width=stats.width,
            height=stats.height,
            encoder=stats.encoder,
            encodes={
                codec: EncodeReport(
                    fps=(now.encoded - before.codecs[codec].encoded) / seconds,
                    bitrate_bps=round(
                        8 * (now.encoded_bytes - before.codecs[codec].encoded_bytes) / seconds
                    ),
                    receivers=now.viewers,
                )
                for codec, now in stats.codecs.items()
            },
            stages={
                name: StageLatency(found.p50 / 1e6, found.p99 / 1e6)
                for name, (start, end) in STAGES.items()
                if (found := self._stream.latency(start, end, since_ns)).count
            },
            skipped=stats.skipped,
            late=stats.late,
            viewers=viewers,
            waiting=waiting,
            signalling=signalling,
            trouble=trouble,
        )
