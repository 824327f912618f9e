"""Pages and host on two server processes that share a Redis; one of them is killed.

What is between the pages and the servers, as a load balancer is, then leads to the other one.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from peer.host import Host
from signalling.dev import DevIssuer
from signalling.messages import Configure

from ..signalling.redis.server import RedisServer, single
from ..signalling.redis.test_processes import Server
from .chromium import Chromium
from .room_scene import (
    COUNT_CONNECTIONS,
    ROOM,
    Guest,
    called,
    cast,
    open_page,
)
from .tcp_relay import LOOPBACK, TcpRelay

pytestmark = [pytest.mark.e2e]


MOMENT_MS = 2000

NOTE_TOASTS = """
{
  const toast = document.getElementById("toast");
  let since = null;
  let total = 0;
  new MutationObserver(() => {
    if (!toast.hidden) since ??= performance.now();
    else if (since !== null) [total, since] = [total + performance.now() - since, null];
  }).observe(toast, { attributes: true });
  window.shownFor = () => total + (since === null ? 0 : performance.now() - since);
}
"""
"""How long it is told, in all, that the server is out of reach."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with single(tmp_path / "redis") as server:
        yield server


@pytest_asyncio.fixture
async def servers(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Server]]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    servers = [Server(redis.url), Server(redis.url)]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def two_players(servers: list[Server]) -> AsyncIterator[tuple[Host, Guest, Guest, TcpRelay]]:
    """Ann, who has pad 1, by way of the balancer on the first server; Ben and host on the other.

    Afterwards both have lost nothing, whatever has become of the first server.
    """
    first, second = servers
    issuer = DevIssuer.load_or_create()

    async def visit(browser: Chromium, port: int, name: str) -> Guest:
        token = issuer.mint(name, ROOM, "player")
        link = f"http://{LOOPBACK}:{port}/#room={ROOM}&token={token}"
        guest = await open_page(browser, link, called(name), COUNT_CONNECTIONS)
        await guest.state("playing")
        return guest

    free = Configure(control_policy="free")
    async with (
        Chromium() as browser,
        TcpRelay(first.port) as balancer,
        cast(second.url, issuer.mint("host", ROOM, "host"), free) as host,
    ):
        ann = await visit(browser, balancer.port, "ann")
        ben = await visit(browser, second.port, "ben")
        await ann.page.press("p")
        await ann.press("Ask: pad 1")
        await ann.reads("#play-button", "You play · Pad 1")
        await ben.hears("Ann has pad 1.")
        peer = await ann.peer()
        assert host.allows(peer, "pad:1")
        for guest in (ann, ben):
            await guest.page.press("c")
        await ann.say("before")
        await ben.reads("#chat-log", "before")
        yield host, ann, ben, balancer
        assert await ann.peer() == peer
        await ann.reads("#play-button", "You play · Pad 1")
        assert host.allows(peer, "pad:1")
        assert await ann.page.evaluate("connections.length") == 1
        frames = "video.getVideoPlaybackQuality().totalVideoFrames"
        shown = await ann.page.evaluate(frames)
        await ann.see(f"{frames} > {shown}")
        for guest in (ann, ben):
            assert guest.page.exceptions == []
            await guest.page.close()


async def test_a_killed_server_costs_no_seat_no_picture_and_no_word(servers: list[Server]) -> None:
    first, second = servers
    async with two_players(servers) as (_, ann, ben, balancer):
        balancer.cut()
        await first.end(signal.SIGKILL)
        await ben.say("meanwhile")
        await ann.see("document.getElementById('toast').checkVisibility()")
        await ann.say("and so")
        balancer.target = second.port
        balancer.mend()
        await ann.reads("#chat-log", "and so")
        await ben.reads("#chat-log", "and so")
        said = ["before", "meanwhile", "and so"]
        assert await ann.lines() == said
        assert await ben.lines() == said


async def test_a_server_that_shuts_down_sends_its_pages_to_the_other(servers: list[Server]) -> None:
    first, second = servers
    async with two_players(servers) as (_, ann, ben, balancer):
        balancer.target = second.port
        await ann.page.evaluate(NOTE_TOASTS)
        assert await first.end(signal.SIGTERM) == 0
        await ben.say("are you still there?")
        await ann.reads("#chat-log", "are you still there?")
        await ann.say("where else?")
        await ben.reads("#chat-log", "where else?")
        said = ["before", "are you still there?", "where else?"]
        assert await ann.lines() == said
        # Nobody was made to wait for it: what was shown, if anything, was over in a moment.
        assert await ann.page.evaluate("shownFor()") < MOMENT_MS
