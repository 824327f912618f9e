"""Comparing two results: what moved, by how much, and whether the spread allows to say so."""

import json

import pytest

from bench.compare import compare, differences, main


def metric(value, low, high, runs=3, better="lower"):
    return {
        "value": value,
        "unit": "ms",
        "min": low,
        "max": high,
        "runs": runs,
        "target": None,
        "better": better,
    }


def result(metrics, *, bench="latency", cpu="A", foreign=0.0):
    return {
        "bench": bench,
        "when": "2025-01-01T00:00:00+00:00",
        "commit": "abc",
        "machine": {"cpu": cpu, "foreign_cpu": foreign},
        "settings": {"quick": True, "runs": 3},
        "metrics": metrics,
        "notes": [],
        "valid": True,
        "errors": [],
    }


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (metric(10, 9, 11), metric(5, 4, 6), "better"),
        (metric(10, 9, 11), metric(20, 19, 21), "worse"),
        (metric(10, 9, 11, better="higher"), metric(20, 19, 21, better="higher"), "better"),
        (metric(10, 9, 11), metric(10.5, 9, 12), "same"),
        (metric(10, 9, 14), metric(15, 13, 16), "likely worse"),
        (metric(10, 10, 10, runs=1), metric(5, 5, 5, runs=1), "one run"),
        (metric(0, 0, 0, runs=1), metric(0, 0, 0, runs=1), "same"),
    ],
)
def test_verdict_follows_the_spread(old, new, verdict):
    (change,) = compare(result({"x": old}), result({"x": new}))
    assert change.verdict == verdict


def test_ratio_is_new_over_old_where_there_is_one():
    old = result({"x": metric(10, 9, 11), "zero": metric(0, 0, 0)})
    new = result({"x": metric(15, 14, 16), "zero": metric(3, 2, 4)})
    assert [change.ratio for change in compare(old, new)] == [1.5, None]


def test_results_of_different_benchmarks_do_not_compare():
    with pytest.raises(ValueError, match="soak"):
        compare(result({}), result({}, bench="soak"))


def test_another_machine_and_a_busy_one_are_told():
    words = differences(result({}), result({}, cpu="B", foreign=0.5))
    assert any("A → B" in word for word in words)
    assert any("50%" in word for word in words)


def test_command_prints_what_moved_and_what_is_new(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(result({"x": metric(10, 9, 11), "gone": metric(1, 1, 1)})))
    new.write_text(json.dumps(result({"x": metric(5, 4, 6), "fresh": metric(1, 1, 1)})))
    assert main([str(old), str(new)]) == 0
    out = capsys.readouterr().out
    assert "-50.0%" in out
    assert "better" in out
    assert "new: fresh" in out
    assert "gone: gone" in out


def test_files_that_are_no_results_end_with_2(tmp_path, capsys):
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    assert main([str(broken), str(broken)]) == 2
    assert main([str(tmp_path / "none"), str(broken)]) == 2
