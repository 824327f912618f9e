"""What a host says about itself once a second: to its viewers, its terminal, and ``--json``.

:class:`Meter` turns the counters and the frame clock of a native stream into a
:class:`HostReport`. The object that viewers get over the data channel "stats"
(:meth:`HostReport.to_viewer`) is a contract with the web viewer::

    {"fps": 60.0, "bitrate_bps": 8000000, "viewers": 2, "width": 1280, "height": 720,
     "codec": "H264", "encoder": "x264", "drops": {"skipped": 0, "late": 0},
     "network": {"state": "steady", "target_bps": 8300000, "queue_ms": 0.2, "rtt_ms": 20.1,
                 "loss": 0.0, "repair": 0.02},
     "stages": {"capture": {"p50_ms": 0.3, "p99_ms": 0.6}, "convert": …, "encode": …,
                "first_packet": …, "last_packet": …}}

``fps``, ``bitrate_bps``, ``width`` and ``height`` are those of the encode that the viewer gets;
``network`` is what the host makes of the path to it, null where its rate is fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from native import Codec, CodecStats, Percentiles, RungStats, Stage, StreamStats
from peer.room_view import RoomReport

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
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """What the controller makes of a viewer's path."""

    state: str
    """As :class:`native.Congestion` names it, in small letters."""
    target_bps: float
    """What may be sent altogether."""
    queue_ms: float
    """Estimated queueing delay on the way there."""
    loss: float
    """0..1, of late."""
    repair: float
    """Retransmissions and FEC, as a share of all that was sent since the beginning."""


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
    rung: int = 0
    """Which of its codec's encodes it gets."""
    network: NetworkReport | None = None
    """None: its rate is fixed."""


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host now, and in the interval since the report before."""

    width: int
    height: int
    encoder: str
    encodes: Mapping[tuple[Codec, int], EncodeReport]
    """By codec and rung."""
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
    room: RoomReport | None = None
    """Who is in the room and what they hold; None before there is one."""

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
        received = (codec for (codec, _), encode in self.encodes.items() if encode.receivers)
        return tuple(dict.fromkeys(received))

    def to_viewer(self, viewer: ViewerReport) -> dict[str, Any]:
        """The message for a viewer that has answered."""
        encode = self.encodes[Codec[viewer.codec], viewer.rung]
        network = viewer.network
        return {
            **self._common(),
            "fps": round(encode.fps, 1),
            "bitrate_bps": encode.bitrate_bps,
            "width": encode.width,
            "height": encode.height,
            "codec": viewer.codec,
            "network": network
            and {
                "state": network.state,
                "target_bps": round(network.target_bps),
                "queue_ms": round(network.queue_ms, 1),
                "rtt_ms": viewer.rtt_ms and round(viewer.rtt_ms, 1),
                "loss": round(network.loss, 4),
                "repair": round(network.repair, 4),
            },
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
            "room_state": self.room and self.room.to_json(),
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
        room: RoomReport | None = None,
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
            encodes=dict(_encodes(before, stats, seconds)),
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
            room=room,
        )


def _encodes(
    before: StreamStats, now: StreamStats, seconds: float
) -> Iterator[tuple[tuple[Codec, int], EncodeReport]]:
    for rung, (old, new) in enumerate(zip(before.rungs, now.rungs, strict=True)):
        yield (Codec.H264, rung), _encode(old, new, seconds, new.width, new.height)
    vp8 = (before.codecs[Codec.VP8], now.codecs[Codec.VP8])
    yield (Codec.VP8, 0), _encode(*vp8, seconds, now.width, now.height)


def _encode(
    before: CodecStats | RungStats,
    now: CodecStats | RungStats,
    seconds: float,
    width: int,
    height: int,
) -> EncodeReport:
    return EncodeReport(
        fps=(now.encoded - before.encoded) / seconds,
        bitrate_bps=round(8 * (now.encoded_bytes - before.encoded_bytes) / seconds),
        receivers=now.viewers,
        width=width,
        height=height,
    )
