"""Latency, losses and repeats as they are read from decoded pictures."""

import pytest

from bench.common.decoded import DecodedFrames

MS = 1_000_000


def rows(numbers, latency_ms):
    """Pictures drawn every 10 ms, number 0 at 1 s."""
    return [
        (n, 1_000_000 + n * 10_000, 1000 * MS + n * 10 * MS + round(latency_ms * MS))
        for n in numbers
    ]


def test_latency_is_decoded_less_drawn():
    decoded = DecodedFrames.of(rows(range(10), 5.5)).window(1000 * MS, 0.1)
    assert decoded.latencies_ms == pytest.approx([5.5] * 10)
    assert decoded.fps == pytest.approx(100.0)
    assert (decoded.missing, decoded.repeated) == (0, 0)


def test_missing_numbers_and_repeats_are_counted_once():
    decoded = DecodedFrames.of(rows([0, 1, 1, 4, 5], 5)).window(1000 * MS, 0.1)
    assert len(decoded.latencies_ms) == 4
    assert (decoded.missing, decoded.repeated) == (2, 1)


def test_only_what_was_drawn_in_the_window_counts():
    decoded = DecodedFrames.of(rows(range(100), 5)).window(1100 * MS, 0.2)
    assert len(decoded.latencies_ms) == 20


def test_an_empty_window_is_empty():
    decoded = DecodedFrames.of([]).window(0, 1.0)
    assert (decoded.latencies_ms, decoded.missing, decoded.fps) == ([], 0, 0.0)
