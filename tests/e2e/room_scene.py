"""A room with a real host, and the pages of those who come: what the page's tests stand on.

::

    async with RoomScene(browser) as scene:
        ann = await scene.visit("ann", "player")
        await ann.press("Ask: pad 1")
        assert scene.host.allows(ann.peer, "pad:1")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from peer.connection import ConnectionSettings
from peer.host import Host, HostSettings
from peer.hub import HubSettings, MediaHub
from peer.signalling_client import SignallingClient
from peer.signalling_settings import SignallingClientSettings
from peer.tracks import PatternTrack, StreamSettings
from signalling.dev import DevIssuer
from signalling.messages import Configure, Role
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings

from .chromium import Chromium, Page
from .tcp_relay import LOOPBACK, TcpRelay

ROOM = "den"
LONG = 20.0
BITRATE = 500_000

COUNT_CONNECTIONS = """
window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) { super(...args); connections.push(this); }
};
"""

BUTTON = """
(() => {
  const wanted = %s;
  const all = [...document.querySelectorAll("button, summary")];
  const shown = all.filter((b) => b.checkVisibility());
  const named = (b) => b.ariaLabel ?? b.innerText.trim();
  return shown.find((b) => !b.disabled && (named(b) === wanted || b.innerText.trim() === wanted));
})()
"""
"""The visible button, or summary, of that name."""


class Guest:
    """Someone with the page open."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def see(self, expression: str, timeout: float = LONG) -> Any:
        """Wait until this JavaScript is truthy; its value."""
        return await self.page.wait_for(expression, timeout)

    async def state(self, name: str) -> None:
        await self.see(f"playcast.state === {json.dumps(name)}")

    async def reads(self, selector: str, words: str) -> None:
        """Wait until these words are visible in an element."""
        await self.see(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".some(e => e.checkVisibility() && e.innerText.includes({json.dumps(words)}))"
        )

    async def hears(self, words: str) -> None:
        """Wait until a screen reader is given these words."""
        await self.see(f"document.getElementById('news').textContent.includes({json.dumps(words)})")

    async def press(self, name: str) -> None:
        """Wait for the visible button of this name, and press it."""
        button = BUTTON % json.dumps(name)
        await self.see(button + " !== undefined")
        await self.page.evaluate(button + ".click()", gesture=True)

    async def press_is_gone(self, name: str) -> None:
        """Wait until there is no button of this name that could be pressed."""
        await self.see(BUTTON % json.dumps(name) + " === undefined")

    async def choose(self, label: str, value: str) -> None:
        """Choose an option of the visible <select> of this label."""
        await self.page.evaluate(
            f"(() => {{ const select = [...document.querySelectorAll('select')].find("
            f"s => s.checkVisibility() && (s.ariaLabel === {json.dumps(label)}));"
            f"select.value = {json.dumps(value)};"
            f"select.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
        )

    async def say(self, text: str) -> None:
        """Write into the chat, which is open."""
        await self.page.evaluate(
            f"(t => {{ t.value = {json.dumps(text)}; t.form.requestSubmit(); }})"
            f"(document.getElementById('chat-text'))"
        )

    async def lines(self) -> list[str]:
        """What the chat shows, oldest first."""
        lines: list[str] = await self.page.evaluate(
            "[...document.querySelectorAll('#chat-log .said')].map(e => e.textContent)"
        )
        return lines

    async def peer(self) -> str:
        peer: str = await self.page.evaluate("playcast.room.peer")
        return peer


async def open_page(browser: Chromium, url: str, *init: str) -> Guest:
    """Open the page; ``init`` runs before its own scripts."""
    page = await browser.open(init=init)
    # All pages are looked at at once: none is to be treated as hidden.
    await page.command("Emulation.setFocusEmulationEnabled", enabled=True)
    await page.goto(url)
    return Guest(page)


def called(name: str) -> str:
    """The script by which a page knows what its person wants to be called."""
    return f"localStorage['playcast.name'] = {json.dumps(name.title())};"


@contextlib.asynccontextmanager
async def cast(url: str, token: str, configure: Configure) -> AsyncIterator[Host]:
    """A host in the room by the WebSocket ``url``, for as long as the context lasts."""
    async with contextlib.AsyncExitStack() as stack:
        hub = MediaHub(HubSettings(bind=(LOOPBACK,)))
        stack.push_async_callback(hub.close)
        welcomed = asyncio.Event()
        host = Host(
            PatternTrack(320, 180, settings=StreamSettings(fps=15, bitrate=BITRATE, rungs=1)),
            hub,
            SignallingClient(SignallingClientSettings(url=url, token=token, room=ROOM)),
            HostSettings(
                connection=ConnectionSettings(min_bitrate=BITRATE, start_bitrate=BITRATE),
                room=configure,
            ),
            on_welcome=lambda _: welcomed.set(),
        )
        task = asyncio.create_task(host.run())
        stack.push_async_callback(asyncio.wait, [task])
        stack.push_async_callback(host.close)
        async with asyncio.timeout(LONG):
            await welcomed.wait()
        yield host


class RoomScene:
    """Server, host and pages of one room; ``configure`` is how the host wants it run.

    The pages reach the server by way of :attr:`relay`. At the end no page may have thrown, nor
    broken the content security policy.
    """

    def __init__(
        self,
        browser: Chromium,
        configure: Configure | None = None,
        *,
        with_host: bool = True,
        **settings: Any,
    ) -> None:
        self._browser = browser
        self._configure = configure or Configure()
        self._with_host = with_host
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self._pages: list[Page] = []
        self.issuer = DevIssuer.generate()
        self.server: SignallingServer
        self.relay: TcpRelay
        self.host: Host

    async def __aenter__(self) -> Self:
        settings = SignallingSettings(verifier=self.issuer.verifier(), port=0, **self._settings)
        enter = self._stack.enter_async_context
        self.server = await enter(SignallingServer(settings))
        self.relay = await enter(TcpRelay(self.server.port))
        if self._with_host:
            token = self.token("host", "host")
            self.host = await enter(cast(self.server.websocket_url, token, self._configure))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for page in self._pages:
            await page.close()
        await self._stack.aclose()
        if kind is None:
            for page in self._pages:
                assert page.exceptions == []
                assert not [line for line in page.console if "Content Security Policy" in line]

    def token(self, subject: str, role: Role, lifetime_s: float = 600.0) -> str:
        return self.issuer.mint(subject, ROOM, role, lifetime_s)

    def link(self, token: str) -> str:
        return f"http://{LOOPBACK}:{self.relay.port}/#room={ROOM}&token={token}"

    async def open(self, url: str, *init: str) -> Guest:
        guest = await open_page(self._browser, url, *init)
        self._pages.append(guest.page)
        return guest

    async def knock(self, name: str, role: Role = "viewer", *init: str) -> Guest:
        """Someone of this name opens the page with a token for this role."""
        return await self.open(self.link(self.token(name, role)), called(name), *init)

    async def visit(self, name: str, role: Role = "viewer", *init: str) -> Guest:
        """… and comes in, and sees the picture."""
        guest = await self.knock(name, role, *init)
        await guest.state("playing")
        return guest
