"""bench.network: what a session in virtual time says is so, and what is made of it."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from bench import network
from bench.common.network_cases import Case, Flow, all_cases
from bench.common.report import Report, parse_options
from bench.common.tools import ToolError
from bench.common.virtual_session import SessionRun, figures, jain, run_case
from bench.link.namespaces import may_make_namespaces
from bench.live.picture import CLIP_FRAMES, clip_index
from bench.live.session import LIVE_CASES, run_live

needs_root = pytest.mark.skipif(not may_make_namespaces(), reason="needs root and /dev/net/tun")

CASES = {case.name: case for case in all_cases()}


def case_of(forward: str, *flows: Flow, seconds: float = 15, **rest: object) -> Case:
    return Case(
        name="tiny",
        about="",
        duration_s=seconds,
        forward=forward,
        back="delay=10ms",
        flows=flows,
        **rest,  # type: ignore[arg-type]
    )


def options_of(tmp_path, *arguments: str):
    return parse_options(
        "network",
        "",
        contenders=("gcc", "aiortc", "chromium"),
        plots=True,
        arguments=["--json", str(tmp_path / "result.json"), "--runs", "1", *arguments],
    )


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_scenario(name):
    case = dataclasses.replace(CASES[name], duration_s=1)
    for controller in case.controllers:
        run = run_case(case, controller, seed=1)
        assert len(run.output["flows"]) == len(case.flows)


def test_the_rfcs_numbers_are_in_its_cases():
    case = CASES["rfc8867-5.1"]
    assert case.forward == "rate=1M delay=50ms queue=300ms"
    assert case.changes == ["40 forward rate=2.5M", "60 forward rate=0.6M", "80 forward rate=1M"]
    assert case.duration_s == 100
    starts = [re.search(r"start=(\d+)s", flow.options) for flow in CASES["rfc8867-5.5"].flows]
    assert [int(start[1]) for start in starts if start] == [0, 10, 20, 30, 40]


def test_a_seed_decides_everything():
    case = CASES["burst5-rtt30"]
    first, again, other = (run_case(case, "ours", seed).output for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_on_a_good_link_every_frame_comes_as_soon_as_it_can():
    case = case_of("rate=50M delay=10ms", Flow("media0", options="max=5M"), ceiling_bps=5e6)
    run = run_case(case, "ours", seed=1)
    summary = run.media[0]["summary"]
    assert summary["frames"] == summary["captured"] == 9 * 60  # from 5 s on, but for the last one
    assert summary["units_dropped"] == summary["skipped"] == summary["nacked"] == 0
    found = figures(run)
    # Encoded in 4 ms, 10 ms on the way; 12 kB take 2 ms, or one more where they are paced.
    assert 14 < found["frame_delay_p50_ms"] < 22
    assert found["queue_p95_ms"] < 5
    assert found["freezes_per_min"] == 0
    assert 0.9 < found["utilisation"] < 1.2  # of the encoder's rate, with headers


def test_what_arrives_is_bounded_by_the_capacity_and_told_by_bin():
    case = case_of(
        "rate=8M delay=10ms queue=300ms",
        Flow("media0", options="max=40M"),
        changes=["10 forward rate=4M"],
    )
    run = run_case(case, "ours", seed=1)
    assert run.capacity_bps("forward", 0, 9) == 8e6
    assert run.capacity_bps("forward", 11, 15) == 4e6
    received = run.media[0]["series"]["received_kbps"]
    assert max(received[10:99]) <= 8.3e3
    assert max(received[105:149]) <= 4.2e3
    assert sum(received[50:99]) / 49 > 0.7 * 8e3


def test_an_outage_is_one_freeze_of_its_length():
    case = case_of(
        "rate=20M delay=10ms",
        Flow("media0", options="max=5M"),
        changes=["8 both down=yes", "9 both down=no"],
    )
    summary = run_case(case, "ours", seed=1).media[0]["summary"]
    assert summary["freezes"] >= 1
    assert 1000 < summary["gap_ms"]["max"] < 2500


def test_a_pause_is_no_freeze():
    case = case_of("rate=20M delay=10ms", Flow("media0", options="max=5M pause=8s resume=11s"))
    summary = run_case(case, "ours", seed=1).media[0]["summary"]
    assert summary["freezes"] == 0
    assert summary["captured"] == pytest.approx(6 * 60, abs=3)


@pytest.mark.parametrize("algorithm", ["cubic", "reno"])
def test_the_models_of_tcp_fill_link_and_queue(algorithm):
    case = case_of(
        "rate=20M delay=15ms queue=100ms",
        Flow("media0", options="max=5M start=39s"),
        Flow("tcp0", "tcp", f"cc={algorithm}"),
        seconds=40,
    )
    tcp = run_case(case, "ours", seed=1).tcp[0]
    received = tcp["series"]["received_kbps"][50:380]
    assert sum(received) / len(received) > 0.95 * 20e3
    assert 90 < tcp["summary"]["queue_ms"]["max"] <= 100


def test_two_tcps_share():
    flows = (Flow(f"tcp{i}", "tcp", f"cc=reno start={2 * i}s") for i in range(2))
    media = Flow("media0", options="max=5M start=58s")
    case = case_of("rate=20M delay=15ms queue=100ms", media, *flows, seconds=60)
    rates = [
        sum(flow["series"]["received_kbps"][200:580]) for flow in run_case(case, "ours", 1).tcp
    ]
    assert jain(rates) > 0.9


def test_a_fixed_share_of_repair_is_a_fixed_share():
    case = dataclasses.replace(CASES["loss2-rtt30"], duration_s=20)
    overhead = figures(run_case(case, "fec20", seed=1))["overhead"]
    assert 0.17 < overhead < 0.27


@pytest.mark.parametrize(
    "line",
    ["flow video a", "flow media a max=fast", "link up rate=1M", "at 1 forward x=1", "hello"],
)
def test_a_scenario_that_makes_no_sense_is_refused(line):
    case = case_of("rate=1M", Flow("media0"))

    class Wrong(Case):
        def scenario(self, controller: str, seed: int) -> str:
            return super().scenario(controller, seed) + line + "\n"

    wrong = Wrong(**{field.name: getattr(case, field.name) for field in dataclasses.fields(case)})
    with pytest.raises(ToolError):
        run_case(wrong, "ours", seed=1)


@pytest.mark.parametrize(
    ("rates", "index"), [([1, 1, 1], 1.0), ([1, 0, 0], 1 / 3), ([0, 0], 0.0), ([3, 1], 0.8)]
)
def test_jains_index(rates, index):
    assert jain(rates) == pytest.approx(index)


def run_with_queue(queue_max_ms: list[float]) -> SessionRun:
    case = case_of("", Flow("media0"), step_s=1.0, figures=("drain",))
    series = {"bin_s": 0.1, "queue_max_ms": queue_max_ms, "target_kbps": [1.0] * 200}
    return SessionRun(case, "ours", {"links": {"forward": {"series": series}}, "flows": []})


@pytest.mark.parametrize(
    ("queue", "seconds"),
    [
        ([5] * 10 + [60, 80, 55] + [10] * 50, 0.3),
        ([5] * 63, 0.0),
        ([5] * 10 + [60] + [10] * 5 + [60] + [10] * 50, 0.7),  # it comes back within a second
        ([5] * 10 + [60] + [10] * 20 + [60] + [10] * 50, 0.1),  # … and later: not the step's doing
    ],
)
def test_the_queue_has_drained_when_it_stays_so(queue, seconds):
    from bench.common.virtual_session import _drain_s

    assert _drain_s(run_with_queue(queue)) == pytest.approx(seconds)


def test_a_run_prints_draws_and_reports(tmp_path, capsys):
    page = tmp_path / "report.html"
    options = options_of(tmp_path, "--only", "join", "--html", str(page))
    report, tables = Report("network", options, {}), network.Tables()
    network.run_virtual(options, report, tables)
    network.write_html(options, tables)
    assert report.finish(*network.printed(tables)) == 0
    assert "full_quality_s" in capsys.readouterr().out
    metrics = report.to_json()["metrics"]
    assert metrics["network.join.ours.full_quality_s"]["target"] == 1.0
    assert {"utilisation", "queue_p95_ms", "frame_delay_p95_ms", "freezes_per_min", "overhead"} <= {
        name.rsplit(".", 1)[1] for name in metrics
    }
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 1
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert (tmp_path / "report" / "join.png").read_bytes().startswith(b"\x89PNG")


def test_against_leaves_gcc_out_unless_it_is_named(tmp_path):
    assert network.wanted(options_of(tmp_path), "gcc")
    assert not network.wanted(options_of(tmp_path, "--against", "aiortc"), "gcc")
    assert network.wanted(options_of(tmp_path, "--against", "aiortc"), "fec20")


def test_a_clip_goes_forth_and_back_without_a_jump():
    indices = [clip_index(number) for number in range(4 * CLIP_FRAMES)]
    assert indices[:CLIP_FRAMES] == list(range(CLIP_FRAMES))
    assert {abs(a - b) for a, b in itertools.pairwise(indices)} == {1}


@needs_root
def test_a_live_run_measures_what_was_streamed():
    from bench.common.display import Scene

    case = dataclasses.replace(LIVE_CASES[0], schedule=[], duration_s=4, bitrate=2_000_000)
    run = run_live(case, "ours", Scene("tiny", 320, 180, 30, 0), seed=1)
    found = run.figures()
    assert 0.3 < found["mbps"] < 2.6
    assert 10 < found["frame_delay_p50_ms"] < 150
    assert found["fps"] > 15
    assert found["psnr_db"] > 25
    assert all(interval.rate_bps == 10e6 for interval in run.log.forward)
