"""Chromium in the viewer's space plays the pattern of a host in the host's space.

::

    async with playing(folder) as scene:
        scene.internet.unplug("wifi")
        …
        scene.internet.plug("mobile")
        took_ms = await scene.resumed(scene.now())

Without a permission for camera or microphone Chromium binds its sockets to no address, and what it
sends goes by whatever network there is: a new address is then met like a NAT's new port. With one
it binds to each address, and only an ICE restart finds another.
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

from signalling.dev import AUDIENCE, ISSUER, DevIssuer

from .chromium import Chromium, Page
from .host_process import ROOT, HostProcess
from .namespaces import HOST_ADDRESS, Internet
from .pattern_page import LONG, SCRIPT, PageClock, clock_of, frames_of

MOBILE_ADDRESS = "10.77.2.2"
ROOM = "den"
PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "3M")

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
