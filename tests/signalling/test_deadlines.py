"""A connection's deadlines: which comes first, and what a token leaves room for."""

import asyncio
import gc
import math
import weakref

import pytest

from signalling.deadlines import LEAST_NOTICE_S, Deadlines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def woken() -> asyncio.Queue[float]:
    return asyncio.Queue()


async def test_the_earliest_wakes(woken: asyncio.Queue[float]) -> None:
    clock = Clock()
    deadlines = Deadlines(clock, lambda: woken.put_nowait(asyncio.get_running_loop().time()))
    deadlines.pong = clock.now + 3600
    deadlines.arm()
    deadlines.ping = clock.now + 0.01
    deadlines.arm()
    async with asyncio.timeout(5):
        await woken.get()
    deadlines.close()


async def test_a_deadline_that_has_passed_wakes_at_once(woken: asyncio.Queue[float]) -> None:
    clock = Clock()
    deadlines = Deadlines(clock, lambda: woken.put_nowait(0.0))
    deadlines.stalled = clock.now - 1
    deadlines.arm()
    async with asyncio.timeout(5):
        await woken.get()
    deadlines.close()


@pytest.mark.parametrize(
    ("left_s", "notice_s", "told_after_s"),
    [
        (60.0, 20.0, 40.0),
        (20.0, 20.0, 10.0),
        (2 * LEAST_NOTICE_S, 20.0, LEAST_NOTICE_S),
        (1.9 * LEAST_NOTICE_S, 20.0, math.inf),
        (0.0, 20.0, math.inf),
    ],
)
def test_a_token_is_told_of_half_way_at_the_latest(
    left_s: float, notice_s: float, told_after_s: float
) -> None:
    clock = Clock()
    deadlines = Deadlines(clock, lambda: None)
    deadlines.expect_token_end(left_s, notice_s)
    assert deadlines.token == clock.now + left_s
    assert deadlines.notice == clock.now + told_after_s
    clock.now += left_s + 1
    assert deadlines.token_left_s() == 0.0


async def test_what_is_closed_wakes_nobody_and_holds_nobody() -> None:
    class Owner:
        def wake(self) -> None:
            raise AssertionError("nobody is there")

    owner = Owner()
    deadlines = Deadlines(Clock(), owner.wake)
    deadlines.ping = 0.0
    deadlines.arm()
    deadlines.close()
    gone = weakref.ref(owner)
    gc.disable()
    try:
        del owner
        assert gone() is None
    finally:
        gc.enable()
    await asyncio.sleep(0)
