"""Chromium plays the test pattern: each frame arrives, in order, and how late it is."""

from __future__ import annotations

import numpy as np
import pytest

from .chromium import Chromium
from .pattern_page import clock_of, faults_in, frames_of, open_pattern
from .playcast_process import PlaycastProcess

pytestmark = pytest.mark.e2e

SECONDS = 30


async def test_no_frame_is_lost_in_30_s_at_720p60(capsys: pytest.CaptureFixture[str]) -> None:
    """Every number from the first to the last, once, in order: nothing lost, nothing twice.

    The pattern counts the pictures that were taken. A busy machine takes fewer (which the host
    counts as late or skipped); what is taken must arrive. Only what a host that got no processor
    for 150 ms gave up itself may be missing: it says so, and an IDR follows.
    """
    async with Chromium() as browser:
        options = ("--source", "pattern", "--size", "1280x720", "--fps", "60")
        async with PlaycastProcess(*options) as host:
            page = await open_pattern(browser, host.link)
            span_us = "pattern.frames.at(-1)[1] - pattern.frames[0][1]"
            await page.wait_for(f"{span_us} >= {SECONDS * 1_000_000}", timeout=SECONDS + 20)
            stats = await page.evaluate("playcast.stats")
            frames = await frames_of(page)
            report = await host.report(lambda _: True)
        clock = await clock_of(page)

    [peer] = report["peers"]
    faults = faults_in(frames)
    assert frames[0].number == 0
    assert all(number > last for last, number in faults)
    assert faults == [] or 0 < peer["frames_dropped"] < len(frames) / 100, (faults, stats, report)
    assert (stats["width"], stats["height"], stats["codec"]) == (1280, 720, "H264")
    assert (stats["framesDropped"], stats["plis"]) == (0, 0)
    assert stats["keyFrames"] == 1 + len(faults)

    latencies = np.array([f.arrived_ms + clock.offset_ms - f.made_us / 1000 for f in frames])
    assert latencies.min() > -clock.error_ms, "decoded before it was made: the clocks are wrong"
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    seconds = (frames[-1].made_us - frames[0].made_us) / 1e6
    with capsys.disabled():
        print(
            f"\n720p60 pattern, capture → decoded in Chromium: p50 {p50:.1f} ms, p95 {p95:.1f} ms, "
            f"p99 {p99:.1f} ms (± {clock.error_ms:.2f}); {len(frames)} frames in "
            f"{seconds:.1f} s, {report['drops']['late']} slots late, "
            f"{report['drops']['skipped']} skipped, {peer['frames_dropped']} given up, "
            f"{peer['resent_packets']} packets sent again"
        )
    assert clock.error_ms < 1
    # Loose, for a machine that does much else; a queue that only grows is noticed all the same.
    assert p50 < 100
