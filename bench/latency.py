"""From drawn on an X display to decoded: at a headless receiver, and in Chromium.

A painter draws numbered pictures on an Xvfb, each with the moment just before it was put in its
pixels; what was decoded tells number and moment, so that latency and losses are read from the
pictures themselves. Everything is on one machine, over loopback, on one clock.

`headless`: the core with fixed keys → a small receiver in C (GRO, SRTP, RTP, libavcodec), a
process of its own. `chromium`: `playcast host` → the web viewer in headless Chromium, which plays
the video as ever. `join.chromium_ms`: the page has the offer → the first frame is decoded.
`startup.first_frame_s`: `playcast host` is started (virtual display and game included) → the first
frame is decoded in a browser that runs already.

--against aiortc: aiortc sends and receives the same display, alternating with ours.
"""

from __future__ import annotations

import asyncio
import sys

from bench.common.aiortc_pair import run_aiortc_pair
from bench.common.decoded import Decoded, DecodedFrames, add_decoded
from bench.common.display import SCENES, Scene, painted_display
from bench.common.report import Report, alternate, parse_options, percentile
from bench.common.subject import KEY, Subject, SubjectResult, start_subject, subject_result
from bench.common.tools import start_tool
from native import Stage

CASES = ("720p30", "1080p60")
TAIL_S = 0.3  # a window's last pictures arrive


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("latency", __doc__ or "", runs=3, quick_runs=1, contenders=("aiortc",))
    seconds = 4.0 if options.quick else 10.0
    report = Report("latency", options, {"seconds": seconds, "content": "game"})
    for name in CASES:
        if options.wants(f"headless.{name}"):
            _headless_case(report, SCENES[name], seconds)
    for name in CASES:
        if options.wants(f"chromium.{name}"):
            _chromium_case(report, SCENES[name], seconds)
    if options.wants("startup"):
        for _ in range(options.runs):
            report.add("startup.first_frame_s", asyncio.run(_first_frame_s()), "s")
    return report.finish()


# Headless ---------------------------------------------------------------------------------------


def _headless_case(report: Report, scene: Scene, seconds: float) -> None:
    prefix = f"latency.headless.{scene.name}"
    if "aiortc" not in report.options.against:
        for _ in range(report.options.runs):
            add_decoded(report, prefix, scene, run_headless(report, scene, seconds))
        return
    pairs = alternate(
        report.options.runs,
        lambda: run_headless(report, scene, seconds),
        lambda: _aiortc(scene, seconds),
    )
    for ours, theirs in pairs:
        add_decoded(report, prefix, scene, ours)
        add_decoded(report, f"latency.aiortc.{scene.name}", scene, theirs)
        if theirs.latencies_ms and ours.latencies_ms:
            ratio = percentile(theirs.latencies_ms, 0.5) / percentile(ours.latencies_ms, 0.5)
            report.add(f"{prefix}.p50_over_aiortc", 1 / ratio, "ratio")


def run_headless(report: Report, scene: Scene, seconds: float) -> Decoded:
    """Stream a painted display to the receiver in C for so long; what it decoded."""
    with (
        painted_display(scene, "game") as (display, painter),
        start_tool("receiver", key=KEY.hex()) as receiver,
    ):
        port = int(receiver.expect("port"))
        with start_subject(Subject(scene, display=display), port, seconds + TAIL_S) as subject:
            receiver.expect("first")
            subject.expect("ready")
            sent = subject_result(subject, seconds + TAIL_S)
        received = receiver.stop()
        painted = painter.stop()
    _check(report, scene, sent, received, painted)
    rows = ((number, drawn, decoded) for number, drawn, _, _, decoded, _ in received["frames"])
    _add_parts(report, f"latency.headless.{scene.name}", sent, received["frames"])
    report.add("latency.headless.receiver_cpu_s", received["cpu_s"], "s")
    return DecodedFrames.of(rows).window(sent.started_ns, seconds)


def _check(
    report: Report,
    scene: Scene,
    sent: SubjectResult,
    received: dict[str, int],
    painted: dict[str, int],
) -> None:
    where = f"headless {scene.name}"
    if received["lost"] or received["refused"] or received["unreadable"]:
        report.invalid(
            f"{where}: {received['lost']} packets lost, {received['refused']} refused, "
            f"{received['unreadable']} pictures without a code"
        )
    if painted["late"]:
        report.note(f"{where}: the painter missed {painted['late']} of {painted['frames']} frames")
    if sent.skipped:
        report.note(f"{where}: the sender skipped {sent.skipped} frames")


def _add_parts(
    report: Report, prefix: str, sent: SubjectResult, rows: list[tuple[int, ...]]
) -> None:
    """Where the time goes: waiting to capture, the way to the last packet, decoding."""
    waits = [frame.ms(Stage.DAMAGE, Stage.CAPTURE_START) for frame in sent.frames]
    report.add(f"{prefix}.damage_to_capture_p50_ms", percentile(waits, 0.5), "ms")
    inside = [row for row in rows if row[1] * 1000 >= sent.started_ns]
    for name, start, end in (("arrive", 2, 3), ("decode", 3, 4)):
        times = [(row[end] - row[start]) / 1e6 for row in inside]
        report.add(f"{prefix}.{name}_p50_ms", percentile(times, 0.5), "ms")
    drawn_to_first = [row[2] / 1e6 - row[1] / 1e3 for row in inside]
    report.add(f"{prefix}.drawn_to_first_packet_p50_ms", percentile(drawn_to_first, 0.5), "ms")


def _aiortc(scene: Scene, seconds: float) -> Decoded:
    with painted_display(scene, "game") as (display, _):
        return run_aiortc_pair(scene, display, seconds)[0]


# Chromium ---------------------------------------------------------------------------------------


def _chromium_case(report: Report, scene: Scene, seconds: float) -> None:
    from bench.common.chromium_viewer import run_chromium

    prefix = f"latency.chromium.{scene.name}"
    joins = 0 if scene.name != CASES[0] else 2 if report.options.quick else 5
    for _ in range(report.options.runs):
        with painted_display(scene, "game") as (display, painter):
            run = asyncio.run(run_chromium(scene, display, seconds, joins))
            painted = painter.stop()
        if painted["late"]:
            report.note(f"{prefix}: the painter missed {painted['late']} of {painted['frames']}")
        add_decoded(report, prefix, scene, run.decoded)
        report.add(f"{prefix}.clock_error_ms", run.clock_error_ms, "ms")
        report.add(f"{prefix}.host_cpu_s_per_s", run.host_cpu, "s/s")
        report.add(f"{prefix}.browser_cpu_s_per_s", run.browser_cpu, "s/s")
        for taken in run.join_ms:
            report.add("join.chromium_ms", taken, "ms")


async def _first_frame_s() -> float:
    from bench.common.chromium_viewer import first_frame_s

    return await first_frame_s()


if __name__ == "__main__":
    sys.exit(main())
