"""Each frame's own clock: when it reached each stage, and durations over many frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from native.binding import lib, text
from native.enums import Stage


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """One frame: its number, and CLOCK_MONOTONIC nanoseconds by stage."""

    id: int
    at: tuple[int, ...]
    """Nanoseconds, indexed by Stage; 0 = not reached."""
    bytes: int
    """Size of the encoded frame, without H.264's start codes."""

    def between(self, start: Stage, end: Stage) -> int | None:
        """Nanoseconds from one stage to another; None when the frame did not reach both."""
        if not self.at[start] or not self.at[end]:
            return None
        return self.at[end] - self.at[start]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution of durations in nanoseconds; all 0 when `count` is 0."""

    count: int
    p50: int
    p95: int
    p99: int
    max: int

    @classmethod
    def from_native(cls, value: Any) -> Percentiles:
        """Read a `struct pc_percentiles`."""
        return cls(value.count, value.p50, value.p95, value.p99, value.max)


def clock_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds: the time base of every stage."""
    return int(lib.pc_clock_ns())


def library_versions() -> str:
    """The libraries that the core was built with, as "x264 164, libvpx 1.12.0, …"."""
    return text(lib.pc_library_versions())
