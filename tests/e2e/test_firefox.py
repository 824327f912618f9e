"""The printed link in Debian's Firefox, which has no H.264 offline: the pattern plays, in VP8."""

from __future__ import annotations

import numpy as np
import pytest

from native import read_pattern

from .firefox import Firefox
from .host_process import HostProcess

pytestmark = pytest.mark.e2e

FRAMES = 60

WATCH = """
{
  // The middles of the code's 32 x 3 blocks, in each frame that is shown.
  window.shown = [];
  const video = document.querySelector("video");
  const canvas = new OffscreenCanvas(0, 0);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const look = () => {
    const edge = Math.floor(video.videoWidth / 80) * 2;
    canvas.width = 32 * edge;
    canvas.height = 3 * edge;
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const green = (column, row) =>
      data[4 * ((row + 0.5) * edge * canvas.width + (column + 0.5) * edge) + 1];
    shown.push([...Array(96)].map((_, i) => green(i % 32, Math.floor(i / 32))));
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}
"""


def number_of(middles: list[int]) -> int | None:
    """The frame number of the code whose blocks have these middles."""
    blocks = np.array(middles, np.uint8).reshape(3, 32)
    picture = np.zeros((6, 80), np.uint8)
    picture[:, :64] = blocks.repeat(2, axis=0).repeat(2, axis=1)
    code = read_pattern(picture)
    return None if code is None else code.frame


async def test_firefox_plays_the_pattern_in_vp8() -> None:
    options = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")
    async with HostProcess(*options) as host, Firefox() as browser:
        await browser.open(host.link)
        await browser.wait_for("document.querySelector('video').videoWidth > 0", 20)
        await browser.evaluate(WATCH)
        await browser.wait_for(f"shown.length >= {FRAMES}", 20)
        report = await host.report(lambda r: r["viewers"] == 1 and r["fps"] > 0)
        # What the page makes of its getStats() every second.
        stats = await browser.wait_for(
            f"playcast.stats.framesDecoded >= {FRAMES} && playcast.stats"
        )
        shown = await browser.evaluate("shown")

    assert (report["codec"], report["encoder"]) == ("VP8", "libvpx")
    assert [peer["codec"] for peer in report["peers"]] == ["VP8"]
    assert (stats["codec"], stats["width"], stats["height"]) == ("VP8", 640, 360)
    assert stats["lost"] == 0
    numbers = [number_of(middles) for middles in shown]
    read = [number for number in numbers if number is not None]
    assert read == numbers, "a frame was shown whose code cannot be read"
    assert read == sorted(read)
    assert len(set(read)) > 0.9 * len(read), "Firefox told of the same frame again and again"
    assert read[-1] - read[0] < 2 * len(read), "half of the frames were not shown"
