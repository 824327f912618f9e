"""Viewers for each core: one 6 Mbit/s encode (the pattern, 720p30) to more and more peers.

Each peer has keys and an address of its own (on 127.0.0.0/8); a drain on the other core throws
everything away in the kernel. The I/O thread, which protects and sends all packets, has one core;
the encoder is pinned to the other. `fanout.viewers_per_core` is the number of peers over the I/O
thread's share of its core, at the largest number that was held: every peer got its frames, none
was given up, and the thread was not at its limit. The drain's own cost is told beside it.

--against aiortc: one over the CPU share of aiortc's sender with one viewer: each costs an encode.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bench.common.aiortc_pair import run_aiortc_pair
from bench.common.display import SCENES, Scene, painted_display
from bench.common.machine import cores_apart
from bench.common.report import Report, parse_options
from bench.common.subject import IO_THREAD, Subject, SubjectResult, run_subject
from bench.common.tools import start_drain

SCENE = SCENES["720p30"]
STEPS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1400, 1600, 2000)
QUICK_STEPS = (50, 200, 400, 600, 800, 1000, 1200, 1600)
BUSY = 0.97  # of a core: at its limit
HELD_FRAMES = 0.98
SEEN_PACKETS = 0.995


@dataclass(frozen=True)
class Step:
    """A run with so many viewers."""

    viewers: int
    sent: SubjectResult
    seen: float
    """Packets at the drain over packets sent."""
    drain_cpu_s: float

    @property
    def io_share(self) -> float:
        """CPU s/s of the I/O thread."""
        return self.sent.thread_share(IO_THREAD)

    @property
    def frames_share(self) -> float:
        """Frames that the worst served peer got over those that it should have got."""
        return min(self.sent.peer_frames) / (SCENE.fps * self.sent.peers_s)

    @property
    def held(self) -> bool:
        """Nobody was late, and the thread was not at its limit."""
        return (
            self.io_share < BUSY
            and self.frames_share >= HELD_FRAMES
            and self.sent.peer_dropped == 0
            and self.sent.send_errors == 0
        )


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("fanout", __doc__ or "", runs=3, quick_runs=1, contenders=("aiortc",))
    seconds = 2.0 if options.quick else 4.0
    settings = {"seconds": seconds, "bitrate": SCENE.bitrate, "fps": SCENE.fps, "srtp": "gcm"}
    report = Report("fanout", options, settings)
    if cores_apart()[0] is None:
        report.note("there is one core alone: encoder, I/O thread and drain share it")
    largest = _largest_held(report, QUICK_STEPS if options.quick else STEPS, seconds)
    for number in range(options.runs):
        if largest is None:
            break
        step = largest if number == 0 else run_step(largest.viewers, seconds)
        _add(report, step)
        if "aiortc" in options.against:
            _add_aiortc(report, SCENE, seconds)
    return report.finish()


def _largest_held(report: Report, steps: tuple[int, ...], seconds: float) -> Step | None:
    largest = None
    for viewers in steps:
        step = run_step(viewers, seconds)
        print(
            f"{viewers:5} viewers: I/O thread {step.io_share:.0%} of a core, "
            f"frames {step.frames_share:.1%}, {step.sent.peer_dropped} given up, "
            f"{step.seen:.1%} of the packets at the drain{'' if step.held else ': not held'}",
            flush=True,
        )
        if step.held:
            largest = step
        elif largest is not None or step.io_share >= BUSY:
            break
    if largest is None:
        report.invalid(f"{steps[0]} viewers were not held")
    return largest


def run_step(viewers: int, seconds: float) -> Step:
    """Stream to so many viewers for so long."""
    drain, port = start_drain()
    with drain:
        subject = Subject(SCENE, peers=viewers, io_cpu=cores_apart()[0])
        sent = run_subject(subject, port, seconds)
        drained = drain.stop()
    return Step(viewers, sent, drained["packets"] / sent.total_packets, drained["cpu_s"])


def _add(report: Report, step: Step) -> None:
    if step.seen < SEEN_PACKETS:
        report.note(f"{step.viewers} viewers: the drain saw {step.seen:.1%} of the packets")
    report.add("fanout.viewers_per_core", step.viewers / step.io_share, "viewers", better="higher")
    report.add("fanout.viewers_held", step.viewers, "viewers", better="higher")
    report.add("fanout.io_thread_s_per_s", step.io_share, "s/s")
    report.add(
        "fanout.packet_ns", step.sent.threads[IO_THREAD] * 1e9 / max(step.sent.packets, 1), "ns"
    )
    report.add(
        "fanout.packets_per_call",
        step.sent.packets / max(step.sent.send_calls, 1),
        "packets",
        better="higher",
    )
    report.add("fanout.process_cpu_s_per_s", step.sent.cpu, "s/s")
    report.add("fanout.drain_cpu_s", step.drain_cpu_s, "s")


def _add_aiortc(report: Report, scene: Scene, seconds: float) -> None:
    with painted_display(scene, "game") as (display, _):
        decoded, cpu = run_aiortc_pair(scene, display, seconds)
    report.add("fanout.aiortc.viewers_per_core", 1 / cpu, "viewers", better="higher")
    report.add("fanout.aiortc.fps", decoded.fps, "fps", better="higher")


if __name__ == "__main__":
    sys.exit(main())
