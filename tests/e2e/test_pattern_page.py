"""What counts as a fault in the frames that a page read."""

import pytest

from .pattern_page import PatternFrame, faults_in


def frames(*numbers: int) -> list[PatternFrame]:
    return [PatternFrame(number, number * 1000, 0.0) for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "given_up", "faults"),
    [
        ((1, 2, 3), 0, []),
        ((1, 2, 4), 0, [(2, 4)]),
        ((1, 2, 4), 1, []),
        ((1, 2, 4, 7), 2, [(2, 4), (4, 7)]),
        ((1, 2, 4, 3), 9, [(2, 4), (4, 3)]),
        ((1, 2, 2, 3), 0, []),
    ],
    ids=["whole", "lost", "given up", "more than was given up", "out of order", "handed out twice"],
)
def test_a_fault_is_what_has_no_excuse(
    numbers: tuple[int, ...], given_up: int, faults: list[tuple[int, int]]
) -> None:
    assert faults_in(frames(*numbers), given_up) == faults


def test_a_picture_that_was_sent_twice_is_a_fault() -> None:
    again = PatternFrame(2, 2500, 0.0)
    assert faults_in([*frames(1, 2), again]) == [(2, 2)]
    assert faults_in([*frames(1, 2), again], 9) == [(2, 2)]
