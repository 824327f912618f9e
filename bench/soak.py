"""Does memory grow? `playcast host` with one steady viewer, while another joins and leaves.

Viewers are plain aiortc over real signalling, ICE and DTLS. The host's resident memory (its
signalling server is a process of its own and not counted) is read every half second;
`soak.growth_kib` is the median of the last fifth less the median of the first fifth after a
warm-up, in which viewers come and go quickly. Two minutes of that and ten more; with --quick one
minute in all, which is too short for the allocator to settle: it shows leaks, not steadiness.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.common.aiortc_viewer import AiortcViewer
from bench.common.report import Report, parse_options
from tests.e2e.host_process import HostProcess

FPS = 30
HOST = ("--source", "pattern", "--size", "640x360", "--fps", str(FPS), "--bitrate", "2M")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
SAMPLE_S = 0.5
STAY_S = 1.5
AWAY_S = 1.5
WARMUP_PAUSE_S = 0.1  # many joins: the allocator settles after a hundred or so


@dataclass
class Samples:
    """The host process over time, after the warm-up."""

    rss_kib: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    joins: int = 0

    def take(self, pid: int) -> None:
        """Read /proc."""
        process = Path(f"/proc/{pid}")
        self.rss_kib.append(int((process / "statm").read_text().split()[1]) * PAGE_KIB)
        self.threads.append(len(list((process / "task").iterdir())))
        self.descriptors.append(len(list((process / "fd").iterdir())))


class _Host(HostProcess):
    @property
    def pid(self) -> int:
        return self._process.pid


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("soak", __doc__ or "", runs=1, quick_runs=1)
    seconds, warmup_s = (60.0, 25.0) if options.quick else (720.0, 120.0)
    report = Report("soak", options, {"seconds": seconds, "warmup_s": warmup_s})
    for _ in range(options.runs):
        asyncio.run(run_soak(report, seconds, warmup_s))
    return report.finish()


async def run_soak(report: Report, seconds: float, warmup_s: float) -> None:
    """Host for so long, the warm-up included, and add what grew."""
    samples = Samples()
    async with _Host(*HOST) as host, AiortcViewer(host.link) as steady:
        warm = time.monotonic() + warmup_s
        end = time.monotonic() + seconds
        churn = asyncio.create_task(_join_and_leave(host.link, warm, end, samples))
        await asyncio.sleep(warmup_s)
        frames, started, joins = steady.frames, time.monotonic(), samples.joins
        while time.monotonic() < end:
            samples.take(host.pid)
            await asyncio.sleep(SAMPLE_S)
        elapsed = time.monotonic() - started
        frames, joins = steady.frames - frames, samples.joins - joins
        await churn
    grown = _growth(samples.rss_kib, statistics.median)
    report.add("soak.growth_kib", grown, "KiB")
    report.add("soak.growth_kib_per_join", grown / max(joins, 1), "KiB")
    report.add("soak.growth_threads", _growth(samples.threads, min), "threads")
    report.add("soak.growth_descriptors", _growth(samples.descriptors, min), "fds")
    report.add("soak.rss_mib", statistics.median(samples.rss_kib) / 1024, "MiB")
    report.add("soak.joins", joins, "joins", better="higher")
    report.add("soak.steady_fps", frames / elapsed, "fps", better="higher")
    if joins == 0:
        report.invalid("nobody joined")
    if frames < 0.5 * FPS * elapsed:
        report.invalid(f"the steady viewer decoded {frames / elapsed:.1f} frames a second")


def _growth(values: list[int], typical: Callable[[list[int]], float]) -> float:
    """The last fifth over the first."""
    fifth = max(1, len(values) // 5)
    return typical(values[-fifth:]) - typical(values[:fifth])


async def _join_and_leave(link: str, warm: float, end: float, samples: Samples) -> None:
    while time.monotonic() + STAY_S + AWAY_S < end:
        is_warm = time.monotonic() >= warm
        async with AiortcViewer(link):
            samples.joins += 1
            await asyncio.sleep(STAY_S if is_warm else WARMUP_PAUSE_S)
        await asyncio.sleep(AWAY_S if is_warm else WARMUP_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
