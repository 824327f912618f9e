"""Chromium as the viewer: the real ``playcast host``, the real web viewer, headless.

Frames are taken from the track as the browser decodes them (MediaStreamTrackProcessor) while the
page plays them as ever. Chromium's clock is CLOCK_MONOTONIC from another zero; the offset is
bounded from both sides by many readings, and its error is reported.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.common.decoded import Decoded, DecodedFrames
from bench.common.display import Scene
from bench.common.machine import tree_cpu_seconds
from tests.e2e.chromium import Chromium, Page
from tests.e2e.host_process import HostProcess
from tests.e2e.pattern_page import clock_of, open_pattern

JOIN_SCRIPT = (Path(__file__).parents[1] / "pages" / "join.js").read_text()
SETTLE_S = 3.0
JOIN_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class ChromiumRun:
    """One run's window in the browser."""

    decoded: Decoded
    clock_error_ms: float
    host_cpu: float
    """CPU s/s of ``playcast host``, its signalling server included."""
    browser_cpu: float
    join_ms: list[float]
    """Offer at the page → first decoded frame, for each join."""


class _Host(HostProcess):
    @property
    def pid(self) -> int:
        return self._process.pid


def _host_options(scene: Scene, display: str) -> tuple[str, ...]:
    return ("--display", display, "--fps", str(scene.fps), "--bitrate", str(scene.bitrate))


async def run_chromium(scene: Scene, display: str, seconds: float, joins: int) -> ChromiumRun:
    """Stream a painted display to one page for a window, then join ``joins`` times anew."""
    async with Chromium() as browser, _Host(*_host_options(scene, display)) as host:
        page = await open_pattern(browser, host.link)
        await asyncio.sleep(SETTLE_S)
        start_ns = time.monotonic_ns()
        cpu, browser_cpu = tree_cpu_seconds(host.pid), tree_cpu_seconds(browser.pid)
        await asyncio.sleep(seconds)
        elapsed = (time.monotonic_ns() - start_ns) / 1e9
        cpu = tree_cpu_seconds(host.pid) - cpu
        browser_cpu = tree_cpu_seconds(browser.pid) - browser_cpu
        rows = await page.evaluate("pattern.frames")
        await page.evaluate("document.querySelector('video').srcObject = null")
        clock = await clock_of(page)
        await page.close()
        join_ms = [await _join(browser, host.link) for _ in range(joins)]
    frames = DecodedFrames.of(
        (number, drawn_us, round((arrived_ms + clock.offset_ms) * 1e6))
        for number, drawn_us, arrived_ms in rows
    )
    return ChromiumRun(
        decoded=frames.window(start_ns, elapsed),
        clock_error_ms=clock.error_ms,
        host_cpu=cpu / elapsed,
        browser_cpu=browser_cpu / elapsed,
        join_ms=join_ms,
    )


async def _join(browser: Chromium, link: str) -> float:
    page = await _open_joining(browser, link)
    taken = await page.evaluate("join.first - join.offer")
    await page.close()
    return float(taken)


async def _open_joining(browser: Chromium, link: str) -> Page:
    page = await browser.open(link, init=[JOIN_SCRIPT])
    await page.wait_for("join.first !== null", JOIN_TIMEOUT_S)
    return page


async def first_frame_s() -> float:
    """Start ``playcast host`` with its own game → the first frame is decoded, in seconds.

    The browser runs already, and opens the link as soon as it is printed.
    """
    display = os.environ.pop("DISPLAY", None)
    try:
        async with Chromium() as browser:
            start_ns = time.monotonic_ns()
            async with _Host("--source", "game") as host:
                page = await _open_joining(browser, host.link)
                first_ms = await page.evaluate("join.first")
                clock = await clock_of(page)
    finally:
        if display is not None:
            os.environ["DISPLAY"] = display
    return float(first_ms + clock.offset_ms) / 1e3 - start_ns / 1e9
