"""The sender alone: X11 capture to the last packet, stage by stage, and what it costs.

A painter draws on an Xvfb of the benchmark's own; the core captures, encodes and sends to one
peer; a drain on another core throws the packets away. Stage times are the frames' own clock.
Game-like content changes every pixel, desktop-like little.

`last_packet_over_encode` is, frame by frame, capture start to last packet over the encoder's own
time; `first_over_last` the first packet's time over the last one's, both from capture start.
`cpu_over_encoder` is the CPU of the whole sending process over that of the encoder alone, on the
same pictures at the same settings, run after each other. `overshoot_p99` is a frame's size over its
share of the bitrate, for our rate control and for x264's VBV.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from bench.common.display import SCENES, Scene, painted_display
from bench.common.report import Report, parse_options, percentile
from bench.common.subject import Frame, Subject, SubjectResult, run_subject
from bench.common.tools import start_drain, start_tool
from native import Stage

STEPS = {
    "damage_to_capture": (Stage.DAMAGE, Stage.CAPTURE_START),
    "capture": (Stage.CAPTURE_START, Stage.CAPTURED),
    "convert": (Stage.CAPTURED, Stage.CONVERTED),
    "first_slice": (Stage.CONVERTED, Stage.FIRST_SLICE),
    "encode": (Stage.CONVERTED, Stage.ENCODED),
    "capture_to_first_packet": (Stage.CAPTURE_START, Stage.FIRST_SENT),
    "capture_to_last_packet": (Stage.CAPTURE_START, Stage.LAST_SENT),
}
CONTENTS = ("game", "desktop")
LEAST_FRAMES = 0.8  # of those that were painted, for a valid run


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("pipeline", __doc__ or "", runs=5, quick_runs=2)
    seconds = 3.0 if options.quick else 8.0
    report = Report("pipeline", options, {"seconds": seconds, "scenes": _scene_words()})
    for name in ("720p60", "1080p60"):
        for content in CONTENTS:
            if options.wants(f"{name}.{content}"):
                _case(report, SCENES[name], content, seconds)
    return report.finish()


def _scene_words() -> dict[str, str]:
    names = ("720p60", "1080p60")
    return {name: f"{SCENES[name].bitrate / 1e6:g} Mbit/s, ultrafast" for name in names}


def _case(report: Report, scene: Scene, content: str, seconds: float) -> None:
    prefix = f"pipeline.{scene.name}.{content}"
    for _ in range(report.options.runs):
        ours = run_sender(report, scene, content, "FRAME", seconds)
        alone = _encoder_alone(scene, content, seconds)
        vbv = run_sender(report, scene, content, "VBV", seconds)
        _add_stages(report, prefix, ours)
        report.add(f"{prefix}.cpu_s_per_s", ours.cpu, "s/s")
        report.add(f"{prefix}.encoder_alone.cpu_s_per_s", alone["cpu"], "s/s")
        report.add(f"{prefix}.cpu_over_encoder", ours.cpu / alone["cpu"], "ratio")
        report.add(f"{prefix}.encoder_alone.encode_p50_ms", alone["encode_p50_ms"], "ms")
        report.add(f"{prefix}.fps", len(ours.frames) / ours.seconds, "fps", better="higher")
        for control, result in (("ours", ours), ("vbv", vbv)):
            shares = [frame.bytes * 8 * scene.fps / scene.bitrate for frame in result.frames]
            report.add(f"{prefix}.overshoot_p99.{control}", percentile(shares, 0.99), "ratio")
            report.add(f"{prefix}.overshoot_max.{control}", max(shares, default=0.0), "ratio")
        _add_last_packet(report, f"{prefix}.vbv", vbv.frames)
        report.add(f"{prefix}.vbv.cpu_s_per_s", vbv.cpu, "s/s")


def _add_stages(report: Report, prefix: str, result: SubjectResult) -> None:
    frames = result.frames
    for step, (start, end) in STEPS.items():
        if step != "capture_to_last_packet":
            times = [frame.ms(start, end) for frame in frames]
            report.add(f"{prefix}.{step}_p50_ms", percentile(times, 0.5), "ms")
            report.add(f"{prefix}.{step}_p99_ms", percentile(times, 0.99), "ms")
    _add_last_packet(report, prefix, frames)
    report.add(f"{prefix}.last_packet_over_encode", _over_encode(frames), "ratio")
    report.add(f"{prefix}.first_over_last", _first_over_last(frames), "ratio")


def _add_last_packet(report: Report, prefix: str, frames: list[Frame]) -> None:
    times = [frame.ms(*STEPS["capture_to_last_packet"]) for frame in frames]
    report.add(f"{prefix}.capture_to_last_packet_p50_ms", percentile(times, 0.5), "ms")
    report.add(f"{prefix}.capture_to_last_packet_p99_ms", percentile(times, 0.99), "ms")


def _over_encode(frames: list[Frame]) -> float:
    last, encode = STEPS["capture_to_last_packet"], STEPS["encode"]
    return statistics.median(frame.ms(*last) / frame.ms(*encode) for frame in frames)


def _first_over_last(frames: list[Frame]) -> float:
    first, last = STEPS["capture_to_first_packet"], STEPS["capture_to_last_packet"]
    return statistics.median(frame.ms(*first) / frame.ms(*last) for frame in frames)


def run_sender(
    report: Report, scene: Scene, content: str, control: str, seconds: float
) -> SubjectResult:
    """Stream a painted display to a drain for so long, and check that the run was a fair one."""
    with painted_display(scene, content) as (display, painter):
        drain, port = start_drain()
        with drain:
            result = run_subject(
                Subject(scene, display=display, rate_control=control), port, seconds
            )
            drained = drain.stop()
        painted = painter.stop()
    where = f"{scene.name} {content} {control.lower()}"
    if len(result.frames) < LEAST_FRAMES * scene.fps * seconds:
        report.invalid(
            f"{where}: {len(result.frames)} frames of {scene.fps * seconds:.0f} were sent"
        )
    if painted["late"] > 0:
        report.note(f"{where}: the painter missed {painted['late']} of {painted['frames']} frames")
    if drained["packets"] < result.total_packets * 0.99:
        report.invalid(f"{where}: {drained['packets']} of {result.total_packets} packets arrived")
    if not result.gso:
        report.note("the kernel refuses GSO: packets went out by sendmmsg")
    return result


def _encoder_alone(scene: Scene, content: str, seconds: float) -> dict[str, Any]:
    with start_tool(
        "encoder_alone",
        width=scene.width,
        height=scene.height,
        fps=scene.fps,
        bitrate=scene.bitrate,
        content=content,
        seconds=round(seconds),
    ) as encoder:
        found = encoder.result(seconds + 60)
    times = [frame[0] / 1e6 for frame in found["frames"]]
    return {
        "cpu": found["cpu_s"] / found["seconds"],
        "encode_p50_ms": percentile(times, 0.5),
    }


if __name__ == "__main__":
    sys.exit(main())
