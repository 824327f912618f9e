"""Results: medians and spread, targets, validity, and the JSON that compare reads."""

import json
import math

import pytest

from bench.common.report import Report, alternate, format_figure, parse_options, percentile
from bench.common.targets import TARGETS


@pytest.fixture
def report(tmp_path):
    options = parse_options(
        "kernels", "", arguments=["--quick", "--json", str(tmp_path / "r.json")]
    )
    return Report("kernels", options, {"packet_bytes": 1200})


def test_value_is_the_median_over_the_runs(report):
    for value in (900.0, 700.0, 800.0):
        report.add("kernels.send.gcm.kpps", value, "kpps", better="higher")
    metric = report.to_json()["metrics"]["kernels.send.gcm.kpps"]
    assert metric == {
        "value": 800.0,
        "unit": "kpps",
        "min": 700.0,
        "max": 900.0,
        "runs": 3,
        "target": TARGETS["kernels.send.gcm.kpps"],
        "better": "higher",
    }


def test_a_valid_run_writes_the_whole_convention_and_exits_with_0(report, capsys):
    report.add("kernels.packetize_ns", 1e9, "ns")  # slow is no failure
    assert report.finish() == 0
    written = json.loads(report.options.json_path.read_text())
    assert written.keys() >= {"bench", "when", "commit", "machine", "settings", "metrics"}
    assert written["bench"] == "kernels"
    assert written["settings"]["quick"] is True
    assert written["machine"]["cores"] >= 1
    assert 0.0 <= written["machine"]["foreign_cpu"] <= 1.0
    assert "kernels.packetize_ns" in capsys.readouterr().out


def test_an_invalid_run_exits_with_1_and_says_why(report, capsys):
    report.add("kernels.packetize_ns", 30.0, "ns")
    report.invalid("the drain saw nothing")
    assert report.finish() == 1
    assert "the drain saw nothing" in capsys.readouterr().out
    assert json.loads(report.options.json_path.read_text())["valid"] is False


def test_a_run_without_a_figure_is_not_valid(report):
    assert report.finish() == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_makes_the_run_invalid(report, value):
    report.add("kernels.packetize_ns", value, "ns")
    assert report.to_json()["valid"] is False
    assert report.to_json()["metrics"] == {}


def test_one_metric_has_one_unit(report):
    report.add("kernels.packetize_ns", 30.0, "ns")
    with pytest.raises(ValueError, match="packetize"):
        report.add("kernels.packetize_ns", 0.03, "us")


def test_contenders_alternate():
    order = []

    def run(name):
        order.append(name)
        return name

    pairs = list(alternate(3, lambda: run("a"), lambda: run("b")))
    assert order == ["a", "b"] * 3
    assert pairs == [("a", "b")] * 3


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_is_a_value_that_occurred(share, expected):
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_nothing_is_no_number():
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0123, "0.0123"), (1.2345, "1.23"), (1234.5, "1,234")]
)
def test_figures_are_short(value, text):
    assert format_figure(value) == text


def test_unknown_contenders_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse_options("kernels", "", contenders=("aiortc",), arguments=["--against", "magic"])
    assert "aiortc" in capsys.readouterr().err
