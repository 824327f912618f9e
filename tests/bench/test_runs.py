"""Each benchmark, very small: it measures something that is plausible, and the run is valid."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import fanout, kernels, latency, pipeline, soak
from bench.common.display import Scene, painted_display
from bench.common.report import Report, parse_options
from bench.common.tools import PROGRAMS, ToolError, build_tool, start_drain, start_tool
from native import Source, Stage, read_pattern

ROOT = Path(__file__).resolve().parents[2]
TINY = Scene("tiny", 320, 180, 15, 600_000)

needs_xvfb = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")


@pytest.fixture
def report(tmp_path):
    options = parse_options("tiny", "", arguments=["--json", str(tmp_path / "result.json")])
    return Report("tiny", options, {})


def value(report, name):
    return report.to_json()["metrics"][name]["value"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_tools_build(name):
    assert build_tool(name).is_file()


def test_a_wrong_option_is_one_sentence_and_no_result():
    painter = start_tool("painter", display=":0", content="nonsense")
    with painter, pytest.raises(ToolError, match="status 2"):
        painter.result(10)


@needs_xvfb
@pytest.mark.parametrize("content", ["game", "desktop"])
def test_the_painter_paints_numbered_pictures(content):
    with painted_display(TINY, content) as (display, painter):
        with Source.x11(display, cursor=False) as source:
            codes = [read_pattern(source.snapshot()[:, :, 1]) for _ in range(50)]
        painted = painter.stop()
    assert None not in codes
    numbers = [code.frame for code in codes]
    assert numbers == sorted(numbers)
    assert numbers[-1] <= painted["frames"]


def test_the_drain_counts_datagrams_also_when_they_come_together():
    drain, port = start_drain()
    with drain:
        with start_tool("kernels", to=port, ms=1) as tool:
            found = tool.result(60)
        drained = drain.stop()
    assert drained["packets"] == found["sent"]


def test_the_encoder_alone_keeps_to_its_rate():
    with start_tool(
        "encoder_alone", width=320, height=180, fps=30, bitrate=600_000, content="game", seconds=2
    ) as encoder:
        found = encoder.result(60)
    assert len(found["frames"]) == 60
    assert found["cpu_s"] > 0
    bits = sum(frame[1] for frame in found["frames"]) * 8 / 2
    assert 300_000 < bits < 900_000


@needs_xvfb
def test_pipeline(report):
    result = pipeline.run_sender(report, TINY, "game", "FRAME", 1.0)
    assert report.errors == []
    assert result.cpu > 0
    for frame in result.frames:
        until_slice = frame.at[Stage.CAPTURE_START : Stage.FIRST_SLICE + 1]
        assert list(until_slice) == sorted(until_slice)
        assert frame.at[Stage.FIRST_SLICE] <= frame.at[Stage.FIRST_SENT]
        assert frame.at[Stage.FIRST_SENT] <= frame.at[Stage.LAST_SENT]


@needs_xvfb
def test_latency_at_the_headless_receiver(report):
    decoded = latency.run_headless(report, TINY, 1.0)
    assert report.errors == []
    assert len(decoded.latencies_ms) >= 10
    assert min(decoded.latencies_ms) > 0


def test_fanout():
    step = fanout.run_step(3, 0.5)
    assert step.seen == 1.0
    assert len(step.sent.peer_frames) == 3
    assert min(step.sent.peer_frames) > 0
    assert 0 < step.io_share < 1


async def test_soak(report, monkeypatch):
    for name, seconds in (("SAMPLE_S", 0.1), ("STAY_S", 0.1), ("AWAY_S", 0.1)):
        monkeypatch.setattr(soak, name, seconds)
    await soak.run_soak(report, 6.0, 1.0)
    assert value(report, "soak.joins") >= 1
    assert value(report, "soak.rss_mib") > 10
    assert value(report, "soak.growth_threads") <= 0


def test_kernels_as_a_person_runs_it(tmp_path):
    out = tmp_path / "kernels.json"
    command = [sys.executable, "-m", "bench.kernels", "--quick", "--runs", "1", "--json", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    metrics = json.loads(out.read_text())["metrics"]
    assert metrics["kernels.protect.gcm_ns"]["value"] > 10
    assert metrics["kernels.send.gso_ns"]["value"] < metrics["kernels.send.sendto_ns"]["value"]
    assert kernels.PROFILES == ("gcm", "gcm256", "cm")
