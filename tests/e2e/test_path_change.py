"""The network goes away and comes back, or the viewer's address changes: the picture goes on.

Host and Chromium are in network namespaces of their own (see :mod:`.namespaces`), with a router in
between, so that what they meet is what they would meet elsewhere. Each test prints how long it took
from the moment that the network worked again to the next decoded frame, by one clock
(CLOCK_MONOTONIC), and asserts that it is the same page, peer connection and stream as before.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .internet_scene import MOBILE_ADDRESS, playing
from .namespaces import why_not
from .pattern_page import more_frames

WHY_NOT = why_not()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

AWAY_S = 5.0
RESUME_MS = 1000


def tell(capsys: pytest.CaptureFixture[str], what: str, took_ms: float, more: str = "") -> None:
    with capsys.disabled():
        print(f"\n{what}: the next frame was decoded {took_ms:.0f} ms after{more}")


async def test_silence_of_five_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing comes through, and nobody is told so: ICE's checks notice the end of it."""
    async with playing(tmp_path) as scene:
        cut = scene.now()
        scene.internet.forward(on=False)
        await scene.page.wait_for("playcast.state === 'resuming'", AWAY_S)
        noticed = scene.now() - cut
        toast = await scene.page.evaluate("document.getElementById('toast').innerText")
        silent = await scene.host.report(lambda report: report["peers"][0]["state"] == "silent")
        assert scene.now() - cut < 1000 * AWAY_S
        await asyncio.sleep(AWAY_S - (scene.now() - cut) / 1000)
        scene.internet.forward(on=True)
        back = scene.now()
        took = await scene.resumed(back)
        await more_frames(scene.page, 30)
        await scene.assert_goes_on()
    tell(capsys, "5 s of silence", took, f"; the page noticed after {noticed:.0f} ms")
    assert took < RESUME_MS
    assert noticed < 3000
    assert toast == "Reconnecting… The last picture stays."
    assert silent["viewers"] == 0, "who is silent does not watch"


async def test_an_unplugged_cable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The viewer's interface goes down, and comes up with the same address after 5 s."""
    async with playing(tmp_path) as scene:
        scene.internet.unplug("wifi")
        await asyncio.sleep(AWAY_S)
        scene.internet.plug("wifi")
        took = await scene.resumed(scene.now())
        await more_frames(scene.page, 30)
        await scene.assert_goes_on()
    tell(capsys, "5 s without an interface", took)
    assert took < RESUME_MS


async def test_another_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the Wi-Fi to the mobile network, with two seconds of neither in between."""
    async with playing(tmp_path) as scene:
        scene.internet.unplug("wifi")
        await asyncio.sleep(2)
        scene.internet.plug("mobile")
        took = await scene.resumed(scene.now())
        await more_frames(scene.page, 30)
        await scene.assert_goes_on()
    tell(capsys, "another address", took)
    assert took < RESUME_MS


async def test_another_address_for_sockets_that_are_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an ICE restart helps, and only once Chromium has noticed its new network itself."""
    async with playing(tmp_path, bound_sockets=True) as scene:
        scene.internet.unplug("wifi")
        await asyncio.sleep(2)
        scene.internet.plug("mobile")
        back = scene.now()
        took = await scene.resumed(back)
        await more_frames(scene.page, 30)
        await scene.assert_goes_on()
        events = await scene.events(back)
    offered = next(at for at, what in events if what == "offer")
    found = next(at for at, what in events if what == MOBILE_ADDRESS)
    tell(
        capsys,
        "another address, sockets bound",
        took,
        f"; an offer was there after {offered:.0f} ms, Chromium's first candidate of the new"
        f" address after {found:.0f} ms",
    )
    assert offered < RESUME_MS
    assert took - found < RESUME_MS


async def test_one_network_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both networks are there when the one in use goes away: no browser event tells of it."""
    async with playing(tmp_path, bound_sockets=True) as scene:
        scene.internet.plug("mobile")
        scene.internet.route("wifi")
        await asyncio.sleep(3)  # Chromium knows the second one by then: that is not measured
        await more_frames(scene.page, 1)
        scene.internet.unplug("wifi")
        gone = scene.now()
        scene.internet.route("mobile")
        took = await scene.resumed(gone)
        await more_frames(scene.page, 30)
        await scene.assert_goes_on()
        events = await scene.events(gone)
    noticed = next(at for at, what in events if what == "resuming")
    offered = next(at for at, what in events if what == "offer")
    tell(
        capsys,
        "the other network, sockets bound",
        took,
        f"; the page noticed after {noticed:.0f} ms, an offer was there after {offered:.0f} ms",
    )
    assert took - noticed < RESUME_MS
