"""The network goes away and comes back, or the viewer's address changes: the picture goes on.

Host and Chromium are in network namespaces of their own (see :mod:`.namespaces`), with a router in
between, so that what they meet is what they would meet elsewhere. Each test prints how long it took
from the moment that the network worked again to the next decoded frame, by one clock
(CLOCK_MONOTONIC), and asserts that it is the same page, peer connection and stream as before.

Without a permission for camera or microphone Chromium binds its sockets to no address, and what it
sends goes by whatever network there is: a new address is then met like a NAT's new port. With one
it binds to each address, and only an ICE restart finds another. Both are tested.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from signalling.dev import AUDIENCE, ISSUER, DevIssuer

from .chromium import Chromium, Page
from .host_process import ROOT, HostProcess
from .namespaces import HOST_ADDRESS, Internet, why_not
from .pattern_page import LONG, SCRIPT, PageClock, clock_of, frames_of, more_frames

WHY_NOT = why_not()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

ROOM = "den"
PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "3M")
AWAY_S = 5.0
RESUME_MS = 1000

WATCH = """
window.connections = [];
window.events = []; // [time, what], for what a page does about its network
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    connections.push(this);
    this.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.address) events.push([performance.now(), candidate.address]);
    });
  }
  setRemoteDescription(description) {
    events.push([performance.now(), "offer"]);
    return super.setRemoteDescription(description);
  }
};
document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver(() => events.push([performance.now(), document.body.dataset.state]))
    .observe(document.body, { attributeFilter: ["data-state"] });
});
"""


@dataclass(frozen=True)
class Scene:
    """A page in the viewer's space that plays the pattern of a host in the host's space."""

    internet: Internet
    host: HostProcess
    page: Page
    clock: PageClock

    def now(self) -> float:
        """The page's performance.now(), here."""
        return time.monotonic_ns() / 1e6 - self.clock.offset_ms

    async def resumed(self, since: float) -> float:
        """Milliseconds from `since` to the next decoded frame; returns once frames flow again."""
        later = f"pattern.frames.filter(([, , arrived]) => arrived > {since})"
        await self.page.wait_for(f"{later}.length > 30", LONG)
        first: float = await self.page.evaluate(f"{later}[0][2]")
        return first - since

    async def events(self, since: float) -> list[tuple[float, str]]:
        """What the page did after `since`, in milliseconds after it."""
        rows = await self.page.evaluate("events")
        return [(at - since, what) for at, what in rows if at > since]

    async def assert_goes_on(self) -> None:
        """One document, one peer connection, one track; each frame after the last; few IDRs."""
        await self.page.wait_for("playcast.state === 'playing'", LONG)
        await self.page.wait_for("document.getElementById('toast').hidden", LONG)
        assert await self.page.evaluate("[connections.length, pattern.tracks]") == [1, 1]
        numbers = [frame.number for frame in await frames_of(self.page)]
        assert numbers == sorted(set(numbers)), "the stream began anew"
        [viewer] = (await self.host.report(lambda report: report["viewers"] == 1))["peers"]
        assert viewer["state"] == "connected"
        stats = await self.page.evaluate("playcast.stats")
        assert stats["keyFrames"] <= 6, stats


@asynccontextmanager
async def server_in(internet: Internet, issuer: DevIssuer, folder: Path) -> AsyncIterator[str]:
    """A signalling server in the host's space; yields its page's address."""
    keys = folder / "jwks.json"
    keys.write_text(json.dumps(issuer.jwks()))
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *internet.command("host"),
        *(sys.executable, "-P", "-m", "signalling", "serve", "--ready-fd", str(write_end)),
        *("--host", HOST_ADDRESS, "--port", "0"),
        *("--issuer", ISSUER, "--jwks", str(keys), "--audience", AUDIENCE),
        pass_fds=(write_end,),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as ready:
            yield str(json.loads(await asyncio.to_thread(ready.readline))["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def playing(folder: Path, *, bound_sockets: bool = False) -> AsyncIterator[Scene]:
    """A scene, with frames flowing. `bound_sockets`: see above."""
    issuer = DevIssuer.generate()
    with Internet() as internet:
        async with server_in(internet, issuer, folder) as url:
            origin = url.rstrip("/")
            where = ("--signalling", url.replace("http:", "ws:") + "ws", "--room", ROOM)
            token = ("--token", issuer.mint("host", ROOM, "host"))
            room = {"room": ROOM, "token": issuer.mint("ann", ROOM, "viewer")}
            # Only a secure origin may read frames.
            secure = f"--unsafely-treat-insecure-origin-as-secure={origin}"
            async with (
                HostProcess(*PATTERN, *where, *token, prefix=internet.command("host")) as host,
                Chromium(secure, space=internet.name("viewer")) as browser,
            ):
                if bound_sockets:
                    permissions = ["audioCapture", "videoCapture"]
                    await browser.command(
                        "Browser.grantPermissions", origin=origin, permissions=permissions
                    )
                page = await browser.open(f"{url}#{urlencode(room)}", init=[SCRIPT, WATCH])
                await page.wait_for("pattern.frames.length > 30", LONG)
                yield Scene(internet, host, page, await clock_of(page))


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
    found = next(at for at, what in events if what == "10.77.2.2")
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
