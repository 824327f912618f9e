"""A page that plays the test pattern and reads its code out of each decoded frame.

The reading is done in the page by ``pages/pattern.js``; this is the end that tests look at.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path

from .chromium import Chromium, Page

SCRIPT = Path(__file__).with_name("pages").joinpath("pattern.js").read_text()

LONG = 20.0


@dataclass(frozen=True, slots=True)
class PatternFrame:
    """A decoded frame: its number, and when it was made at the host and read in the page."""

    number: int
    made_us: int
    """CLOCK_MONOTONIC, microseconds."""
    arrived_ms: float
    """The page's performance.now()."""


@dataclass(frozen=True, slots=True)
class PageClock:
    """What to add to a page's performance.now() to get CLOCK_MONOTONIC, in milliseconds.

    Chromium's clock on Linux is CLOCK_MONOTONIC, from another zero: the offset is constant.
    """

    offset_ms: float
    error_ms: float
    """The offset is right to within so much."""


async def open_pattern(browser: Chromium, link: str) -> Page:
    """Open a viewer on ``link`` whose frames are read. Returns when the first one has been."""
    page = await browser.open(link, init=[SCRIPT])
    await page.wait_for("pattern.frames.length > 0", LONG)
    return page


async def frames_of(page: Page, first: int = 0) -> list[PatternFrame]:
    """The frames decoded so far from the one at index ``first`` on; each has had a valid code."""
    rows = await page.evaluate(f"pattern.frames.slice({first})")
    assert await page.evaluate("pattern.unread") == 0, "frames without a valid code"
    return [PatternFrame(*row) for row in rows]


async def count_of(page: Page) -> int:
    """How many frames have been decoded."""
    count: int = await page.evaluate("pattern.frames.length")
    return count


async def more_frames(page: Page, count: int, timeout: float = LONG) -> None:
    """Wait until ``count`` more frames have been decoded."""
    start = await count_of(page)
    await page.wait_for(f"pattern.frames.length >= {start + count}", timeout)


def faults_in(frames: list[PatternFrame], given_up: int = 0) -> list[tuple[int, int]]:
    """Where a frame's number is not the one after the last: (last, number). Empty: all in order.

    A machine under load has two excuses. The host may have given up ``given_up`` frames itself
    (:meth:`.HostProcess.given_up`): so many may be missing, and not one more. And a browser may
    hand out a frame twice, which nobody sees; the host's time in it tells that from a picture that
    was sent twice.
    """
    faults = [
        (last.number, frame.number)
        for last, frame in itertools.pairwise(frames)
        if frame.number != last.number + 1
        and (frame.number, frame.made_us) != (last.number, last.made_us)
    ]
    in_order = all(number > last for last, number in faults)
    missing = sum(number - last - 1 for last, number in faults)
    return [] if in_order and missing <= given_up else faults


async def clock_of(page: Page, rounds: int = 200) -> PageClock:
    """Compare the page's clock with ours. Better while the page has nothing else to do.

    The page's clock is read between two readings of ours, so each round bounds the offset on both
    sides; what all rounds together leave is the answer.
    """
    low, high = -float("inf"), float("inf")
    for _ in range(rounds):
        before = time.monotonic_ns() / 1e6
        now = await page.evaluate("performance.now()")
        after = time.monotonic_ns() / 1e6
        low, high = max(low, before - now), min(high, after - now)
    return PageClock((low + high) / 2, abs(high - low) / 2)
