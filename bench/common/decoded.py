"""What a receiver saw: pictures with their numbers, when they were drawn and when decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.common.display import Scene
from bench.common.report import Report, percentile

LEAST_FRAMES = 0.5  # of those that were painted, for a valid run


@dataclass(frozen=True)
class Decoded:
    """One run's window at a receiver."""

    seconds: float
    latencies_ms: list[float]
    """Drawn on the display → decoded, each picture once."""
    missing: int
    """Numbers between the first and the last that never came."""
    repeated: int

    @property
    def fps(self) -> float:
        """Different pictures a second."""
        return len(self.latencies_ms) / self.seconds


@dataclass
class DecodedFrames:
    """Collects (number, drawn µs, decoded ns), both of CLOCK_MONOTONIC."""

    rows: list[tuple[int, int, int]] = field(default_factory=list)

    def window(self, start_ns: int, seconds: float) -> Decoded:
        """What was drawn in the window."""
        end_ns = start_ns + round(seconds * 1e9)
        seen: dict[int, float] = {}
        repeated = 0
        for number, drawn_us, decoded_ns in self.rows:
            if not start_ns <= drawn_us * 1000 < end_ns:
                continue
            repeated += number in seen
            seen.setdefault(number, decoded_ns / 1e6 - drawn_us / 1e3)
        missing = max(seen) - min(seen) + 1 - len(seen) if seen else 0
        return Decoded(seconds, list(seen.values()), missing, repeated)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> DecodedFrames:
        """From rows of (number, drawn µs, decoded ns)."""
        return cls(list(rows))


def add_decoded(report: Report, prefix: str, scene: Scene, decoded: Decoded) -> None:
    """Add a run's latency and frame rate under ``prefix``."""
    if len(decoded.latencies_ms) < LEAST_FRAMES * scene.fps * decoded.seconds:
        painted = scene.fps * decoded.seconds
        text = f"{prefix}: {len(decoded.latencies_ms)} of {painted:.0f} pictures were decoded"
        if "aiortc" not in prefix:  # it may be as slow as it is
            report.invalid(text)
        report.note(text)
        if not decoded.latencies_ms:
            return
    if min(decoded.latencies_ms) < 0:
        report.invalid(f"{prefix}: decoded before it was drawn: the clocks do not agree")
    report.add(f"{prefix}.p50_ms", percentile(decoded.latencies_ms, 0.5), "ms")
    report.add(f"{prefix}.p99_ms", percentile(decoded.latencies_ms, 0.99), "ms")
    report.add(f"{prefix}.fps", decoded.fps, "fps", better="higher")
    report.add(f"{prefix}.missing", decoded.missing, "frames")
