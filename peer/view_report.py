"""What a viewer says about its stream once a second: to its terminal, and ``--json``.

:class:`ViewMeter` turns a reception's counters and the times of its frames into a
:class:`ViewReport`.

The delay of a frame is from capture to picture. Where the picture is the test pattern of this very
machine it is *measured*: the time of capture is in its pixels. Else it is *estimated* as the web
viewer does: the host's part (which the host tells), half the round trip, and our part.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

from native import ReceivedFrame, ReceptionStats

WINDOW_S = 5.0
"""Delays are those of the frames of so many last seconds."""

FREEZE_MS = 150.0
"""A picture that is shown longer than the mean interval and this is a freeze …"""

_LATE_MS = 100.0
"""… unless the host has sent nothing new: its next frame then came with hardly more delay."""

_MEAN_OF = 30
_MOST_PLAUSIBLE_MS = 5_000.0


class MeteredReception(Protocol):
    """What a :class:`ViewMeter` reads: a native reception."""

    def stats(self) -> ReceptionStats:
        """Counters since it was opened."""

    def frames(self, since: int = 0, limit: int = 4096) -> list[ReceivedFrame]:
        """Frames from that id on that are done with."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Of some values; None of none."""
        ordered = sorted(values)
        if not ordered:
            return None
        at = (ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 95, 99))
        return cls(*at)


@dataclass(frozen=True, slots=True)
class PatternReport:
    """The test pattern's numbers, since the first one."""

    first: int
    last: int
    missing: int
    """Numbers between those two that no picture carried."""


@dataclass(frozen=True, slots=True)
class ViewReport:
    """A viewer now, and in the interval since the report before."""

    state: str
    """See :class:`.ViewingState`."""
    trouble: str
    """What is in the way of the picture, in words; empty while nothing is."""
    path: str = ""
    """Where the media comes from, and whether that is a TURN server."""
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    """Decoded pictures per second."""
    bitrate_bps: int = 0
    """Of the video."""
    repair_bps: int = 0
    """Estimated: what retransmissions and FEC add, by their share of packets."""
    delay: Spread | None = None
    """From capture to picture."""
    measured: bool = False
    """The delay is measured, not estimated."""
    network: Spread | None = None
    """How much later frames were complete than the quickest of the last seconds."""
    assembly: Spread | None = None
    """From a frame's first packet to its last."""
    decode: Spread | None = None
    rtt_ms: float | None = None
    jitter_ms: float = 0.0
    loss: float = 0.0
    """Fraction of packets that did not come by themselves in the interval, 0..1."""
    lost: int = 0
    recovered_rtx: int = 0
    recovered_fec: int = 0
    frames: int = 0
    """Decoded."""
    frames_dropped: int = 0
    """Incomplete, useless without one that was lost, or not decodable."""
    freezes: int = 0
    frozen_ms: float = 0.0
    idrs: int = 0
    idr_requests: int = 0
    pattern: PatternReport | None = None
    host: dict[str, Any] = field(default_factory=dict)
    """What the host last told of itself; see :class:`.HostReport`."""

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


class _Count(NamedTuple):
    """The counters whose growth is reported."""

    packets: int = 0
    bytes: int = 0
    repairs: int = 0
    lost: int = 0
    pictures: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, stats: ReceptionStats) -> _Count:
        return cls(
            packets=stats.packets,
            bytes=stats.bytes,
            repairs=stats.rtx_packets + stats.fec_packets,
            lost=stats.lost,
            pictures=stats.pictures,
            dropped=stats.units_dropped
            + stats.units_useless
            + stats.units_late
            + stats.decode_errors,
        )


class ViewMeter:
    """Reads one reception at intervals. Time is an argument, in nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, now_ns: int) -> None:
        self._before_ns = now_ns
        self._before = _Count()
        self._next_frame = 0
        self._ways: deque[tuple[int, float]] = deque()
        self._recent: deque[ReceivedFrame] = deque()
        self._intervals: deque[float] = deque(maxlen=_MEAN_OF)
        self._last: ReceivedFrame | None = None
        self._unwrapped = 0
        self._first_rtp: int | None = None
        self._freezes = 0
        self._frozen_ms = 0.0
        self._pattern: PatternReport | None = None
        self.host: dict[str, Any] = {}
        """What the host last told; set by :meth:`host_told`."""

    def restart(self) -> None:
        """Another reception takes the place of the one before."""
        self._before, self._next_frame = _Count(), 0
        self._first_rtp, self._unwrapped, self._last = None, 0, None
        self._ways.clear()
        self._recent.clear()
        self._intervals.clear()

    def host_told(self, text: str) -> None:
        """A message of the host's data channel "stats". What is no such message is ignored."""
        try:
            told = json.loads(text)
        except ValueError:
            return
        if isinstance(told, dict):
            self.host = told

    def read(
        self,
        now_ns: int,
        reception: MeteredReception | None,
        *,
        state: str,
        trouble: str = "",
        path: str = "",
        codec: str = "",
        rtt_ms: float | None = None,
    ) -> ViewReport:
        """The report of the interval since the last call (or since the meter was made).

        `rtt_ms`: of ICE, for senders that do not let us know it by RTCP.
        """
        seconds = (now_ns - self._before_ns) / 1e9
        if seconds <= 0:
            raise ValueError("now_ns must be later than at the last call")
        self._before_ns = now_ns
        if reception is None:
            return ViewReport(state, trouble, path, codec)
        stats = reception.stats()
        before, count = self._before, _Count.of(stats)
        self._before = count
        troubled = count.dropped > before.dropped or count.lost > before.lost
        new = reception.frames(self._next_frame)
        if new:
            self._next_frame = new[-1].id + 1
        self._take(new, troubled)
        since_ns = now_ns - int(WINDOW_S * 1e9)
        while self._recent and self._recent[0].complete_ns < since_ns:
            self._recent.popleft()
        rtt_ms = stats.rtt_ms if stats.rtt_ms is not None else rtt_ms
        delay, measured = self._delay(rtt_ms)
        packets, lost = count.packets - before.packets, count.lost - before.lost
        bits = 8 * (count.bytes - before.bytes) / seconds
        return ViewReport(
            state=state,
            trouble=trouble,
            path=path,
            codec=codec,
            width=stats.width,
            height=stats.height,
            fps=(count.pictures - before.pictures) / seconds,
            bitrate_bps=round(bits),
            repair_bps=round(bits * (count.repairs - before.repairs) / packets) if packets else 0,
            delay=delay,
            measured=measured,
            network=self._network(since_ns),
            assembly=Spread.of((f.complete_ns - f.first_packet_ns) / 1e6 for f in self._recent),
            decode=Spread.of((f.decoded_ns - f.complete_ns) / 1e6 for f in self._decoded()),
            rtt_ms=rtt_ms,
            jitter_ms=stats.jitter_ms,
            loss=lost / (packets + lost) if packets + lost else 0.0,
            lost=stats.lost,
            recovered_rtx=stats.recovered_rtx,
            recovered_fec=stats.recovered_fec,
            frames=stats.pictures,
            frames_dropped=count.dropped,
            freezes=self._freezes,
            frozen_ms=self._frozen_ms,
            idrs=stats.idrs,
            idr_requests=stats.plis,
            pattern=self._pattern,
            host=self.host,
        )

    def _take(self, frames: Sequence[ReceivedFrame], troubled: bool) -> None:
        for frame in frames:
            if self._first_rtp is None:
                self._first_rtp = frame.rtp_time
            self._unwrapped += (frame.rtp_time - self._first_rtp - self._unwrapped) & 0xFFFFFFFF
            way = frame.complete_ns / 1e6 - self._unwrapped / 90
            self._ways.append((frame.complete_ns, way))
            self._recent.append(frame)
            if frame.decoded_ns:
                self._note_interval(frame, troubled)
                self._note_pattern(frame)
                self._last = frame

    def _note_interval(self, frame: ReceivedFrame, troubled: bool) -> None:
        last = self._last
        if last is None:
            return
        gap = (frame.decoded_ns - last.decoded_ns) / 1e6
        sent = ((frame.rtp_time - last.rtp_time) & 0xFFFFFFFF) / 90
        mean = sum(self._intervals) / len(self._intervals) if self._intervals else gap
        if gap > mean + FREEZE_MS and (troubled or gap > sent + _LATE_MS):
            self._freezes += 1
            self._frozen_ms += gap
        else:
            self._intervals.append(gap)

    def _note_pattern(self, frame: ReceivedFrame) -> None:
        if frame.pattern is None:
            return
        number, known = frame.pattern.frame, self._pattern
        if known is None or number < known.first:  # the host has begun anew
            self._pattern = PatternReport(number, number, 0)
        elif number > known.last:
            missing = known.missing + number - known.last - 1
            self._pattern = PatternReport(known.first, number, missing)

    def _decoded(self) -> Iterable[ReceivedFrame]:
        return (frame for frame in self._recent if frame.decoded_ns)

    def _network(self, since_ns: int) -> Spread | None:
        while self._ways and self._ways[0][0] < since_ns:
            self._ways.popleft()
        quickest = min((way for _, way in self._ways), default=0.0)
        return Spread.of(way - quickest for _, way in self._ways)

    def _delay(self, rtt_ms: float | None) -> tuple[Spread | None, bool]:
        measured = [
            frame.decoded_ns / 1e6 - frame.pattern.time_us / 1e3
            for frame in self._decoded()
            if frame.pattern is not None
        ]
        if measured and all(0 < delay < _MOST_PLAUSIBLE_MS for delay in measured):
            return Spread.of(measured), True
        sending = self._host_ms()
        if sending is None or rtt_ms is None:
            return None, False
        quickest = min((way for _, way in self._ways), default=0.0)
        ways = {complete_ns: way - quickest for complete_ns, way in self._ways}
        base = sending + rtt_ms / 2
        return Spread.of(
            base + ways.get(f.complete_ns, 0.0) + (f.decoded_ns - f.complete_ns) / 1e6
            for f in self._decoded()
        ), False

    def _host_ms(self) -> float | None:
        """The host's part of the delay, as it tells."""
        value: Any = self.host
        for name in ("stages", "last_packet", "p50_ms"):
            value = value.get(name) if isinstance(value, dict) else None
        return float(value) if isinstance(value, int | float) and value >= 0 else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return value
