import time

from native import FrameTimes, Stage, clock_ns, library_versions


def test_the_clock_is_pythons_monotonic_one():
    before = time.monotonic_ns()
    now = clock_ns()
    assert before <= now <= time.monotonic_ns()


def test_a_duration_needs_both_stages():
    times = FrameTimes(1, (100, 110, 150, 0, 0, 0, 0, 0), 900)
    assert times.between(Stage.CAPTURE_START, Stage.CAPTURED) == 40
    assert times.between(Stage.DAMAGE, Stage.ENCODED) is None
    assert times.between(Stage.ENCODED, Stage.LAST_SENT) is None


def test_the_libraries_are_named():
    assert library_versions().startswith("x264 1")
