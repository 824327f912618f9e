"""Several viewers of one host, and what each sees when others, or the host, come and go.

The first viewer reads every frame's number, so that a frame lost to somebody else's doings shows.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .chromium import Chromium, Page
from .pattern_page import LONG, SCRIPT, count_of, faults_in, frames_of, more_frames, open_pattern
from .playcast_process import PlaycastProcess

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "3M")

GONE_TIMEOUT = 10.0
"""Until a path that has gone silent no longer counts as watched."""


RETURN_TIMEOUT = 40.0
"""A page that looks for its server does so at least every 15 s."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as browser:
        yield browser


async def words(page: Page) -> str:
    """What a person reads as the page's title."""
    text: str = await page.evaluate("document.getElementById('title').innerText")
    return text


async def test_a_second_viewer_comes_and_goes(browser: Chromium) -> None:
    """The first loses nothing; it shares at most the IDR that the second begins with."""
    async with PlaycastProcess(*PATTERN) as host:
        first = await open_pattern(browser, host.link)
        await host.report(lambda report: report["viewers"] == 1)
        await more_frames(first, 30)

        second = await open_pattern(browser, host.link)
        await host.report(lambda report: report["viewers"] == 2)
        await more_frames(second, 30)
        both = await frames_of(second)
        report = await host.report(lambda report: report["viewers"] == 2)
        asked = sum(peer["idr_requests"] for peer in report["peers"])
        second_given_up = await host.given_up()
        await second.close()
        await host.report(lambda report: report["viewers"] == 1)

        await more_frames(first, 60)
        frames = await frames_of(first)
        await first.wait_for(f"playcast.stats.framesDecoded >= {len(frames)}", LONG)
        stats = await first.evaluate("playcast.stats")
        given_up = await host.given_up()
        await first.close()

    assert faults_in(frames, given_up) == []
    assert faults_in(both, second_given_up) == []
    assert frames[0].number == 0
    # One encode for both: what the second saw is a part of what the first saw.
    not_seen = {(f.number, f.made_us) for f in both} - {(f.number, f.made_us) for f in frames}
    assert len(not_seen) <= given_up
    # A browser that is slow to begin asks for another one (PLI).
    assert stats["keyFrames"] <= 2 + asked
    assert (stats["framesDropped"], stats["plis"]) == (0, 0)


async def test_a_viewer_that_vanishes_disturbs_nobody(browser: Chromium) -> None:
    """Its browser is killed: no goodbye, and a socket that answers the host's packets no more."""
    async with PlaycastProcess(*PATTERN) as host:
        first = await open_pattern(browser, host.link)
        async with Chromium() as doomed:
            await open_pattern(doomed, host.link)
            await host.report(lambda report: report["viewers"] == 2)
            os.killpg(doomed.pid, signal.SIGKILL)
            before = await count_of(first)
            report = await host.report(lambda report: report["viewers"] == 1, GONE_TIMEOUT)
            # It may come back: its place is kept for as long as ICE's consent lasts.
            assert sorted(peer["state"] for peer in report["peers"]) == ["connected", "silent"]
        await more_frames(first, 30)
        frames = await frames_of(first)
        state = await first.evaluate("playcast.state")
        given_up = await host.given_up()
        await first.close()

    assert len(frames) > before
    assert faults_in(frames, given_up) == []
    assert state == "playing"


async def test_who_finds_no_place_reads_why_and_gets_the_next_one(browser: Chromium) -> None:
    async with PlaycastProcess(*PATTERN, "--max-viewers", "1") as host:
        first = await open_pattern(browser, host.link)
        second = await browser.open(host.link, init=[SCRIPT])
        await second.wait_for("playcast.state === 'full'", LONG)
        assert await words(second) == "Every place is taken"
        detail = await second.evaluate("document.getElementById('detail').innerText")
        assert detail == "The host says: Every place is taken: the host lets 1 watch at a time."
        assert (await host.report(lambda _: True))["waiting"] == 1
        await first.close()
        await second.wait_for("playcast.state === 'playing'", LONG)
        await more_frames(second, 10)
        await second.close()


async def test_ctrl_c_is_told_in_words_and_a_restart_plays_again(browser: Chromium) -> None:
    """The words stay when the server is gone too, and the page comes back by itself."""
    async with PlaycastProcess(*PATTERN) as host:
        page = await open_pattern(browser, host.link)
        await page.wait_for("playcast.state === 'playing'", LONG)
        port = host.port
    await page.wait_for("playcast.state === 'host-left'", LONG)
    async with asyncio.timeout(LONG):
        while not any("ERR_CONNECTION_REFUSED" in line for line in page.console):
            await page.evaluate("new Promise(requestAnimationFrame)")
    assert await words(page) == "The host has ended the stream"
    assert await page.evaluate("playcast.state") == "host-left"
    before = await count_of(page)

    async with PlaycastProcess(*PATTERN, "--port", str(port)) as host:
        await page.wait_for("playcast.state === 'playing'", RETURN_TIMEOUT)
        await more_frames(page, 30)
        frames = await frames_of(page, before)
        assert await page.evaluate("pattern.tracks") == 2
        given_up = await host.given_up()
        await page.close()
    assert frames[0].number == 0
    assert faults_in(frames, given_up) == []


async def test_a_bad_token_is_told_in_words(browser: Chromium) -> None:
    """One character of the signature is another one."""
    async with PlaycastProcess(*PATTERN) as host:
        at = len(host.link) - 20
        other = "A" if host.link[at] != "A" else "B"
        page = await browser.open(host.link[:at] + other + host.link[at + 1 :])
        await page.wait_for("playcast.state === 'bad-token'", LONG)
        assert await words(page) == "This link is not valid"
        checks = await page.evaluate("document.getElementById('check-list').innerText")
        assert "The whole link was copied" in checks
        assert host.reports == [] or host.reports[-1]["viewers"] == 0
        await page.close()
