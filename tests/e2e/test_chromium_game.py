"""Chromium plays a real game from a real X display: it moves, and the pixels are the display's."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest

from native import Source
from peer.display import VirtualDisplay, freedoom

from .chromium import Chromium, Page
from .picture import decoded_rgb, luma_of, rgb_of_bgrx, ssim
from .playcast_process import PlaycastProcess, children_named

pytestmark = pytest.mark.e2e

WIDTH, HEIGHT = 1280, 720
LONG = 30.0

STILL = """
new Promise((resolve) => {
  let timer;
  const again = () => {
    clearTimeout(timer);
    timer = setTimeout(() => resolve(true), 250);
    video.requestVideoFrameCallback(again);
  };
  again();
})
"""
"""No frame for a quarter of a second: nothing moves, and keep-alives come one a second."""

DECODED = "video.getVideoPlaybackQuality().totalVideoFrames"


async def more_frames(page: Page, count: int) -> None:
    """Wait until ``count`` more frames have been decoded."""
    shown = await page.evaluate(DECODED)
    await page.wait_for(f"{DECODED} >= {shown + count}", LONG)


async def the_game_moves(page: Page, source: Source) -> None:
    """Wait until the demo is well under way.

    Before, there is a title, drawn again and again, that melts away within a second.
    """
    async with asyncio.timeout(2 * LONG):
        moved = 0
        last = luma_of(rgb_of_bgrx(source.snapshot()))
        while moved < 20:
            await more_frames(page, 5)
            now = luma_of(rgb_of_bgrx(source.snapshot()))
            moved += bool(np.abs(now - last).mean() > 3)
            last = now


async def test_the_game_moves_and_matches_the_display(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SSIM ≥ 0.9 at 8 Mbit/s between the display and the decoded picture.

    The game is stopped (SIGSTOP) amid its motion, so that the display stands still and both sides
    can be looked at: as it was sent while it moved, and after keep-alive frames, which refine it.
    """
    async with VirtualDisplay(WIDTH, HEIGHT, freedoom(WIDTH, HEIGHT)) as display:
        [game] = children_named(os.getpid(), "chocolate-doom")
        options = ("--display", display.name, "--bitrate", "8M", "--fps", "60")
        async with Chromium() as browser, PlaycastProcess(*options) as host:
            page = await browser.open(host.link)
            await page.wait_for("playcast.stats?.fps > 20", LONG)
            report = await host.report(lambda report: report["fps"] > 20)
            with Source.x11(display.name) as source:
                await the_game_moves(page, source)
                os.kill(game, signal.SIGSTOP)
                await page.wait_for(STILL, LONG)
                before = rgb_of_bgrx(source.snapshot())
                moving = ssim(luma_of(before), luma_of(await decoded_rgb(page)))
                await more_frames(page, 2)
                still = ssim(luma_of(before), luma_of(await decoded_rgb(page)))
                assert (rgb_of_bgrx(source.snapshot()) == before).all(), "the game did not stop"
            os.kill(game, signal.SIGCONT)
            await more_frames(page, 60)
            stats = await page.evaluate("playcast.stats")

    assert (report["width"], report["height"], report["codec"]) == (WIDTH, HEIGHT, "H264")
    assert np.ptp(before) > 100, "there is no picture on the display"
    with capsys.disabled():
        print(f"\ngame at 720p, 8 Mbit/s: SSIM {moving:.3f} moving, {still:.3f} still")
    assert still >= 0.9
    assert still >= moving >= 0.8, "where the demo moves most, 8 Mbit/s shows"
    assert (stats["framesDropped"], stats["plis"]) == (0, 0)
