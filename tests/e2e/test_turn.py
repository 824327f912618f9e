"""The stream through a real coturn: both sides may use nothing but relayed candidates.

Everything is on loopback, so what keeps them from the direct path is only that neither offers it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from native import Address, StreamSettings
from peer.connection import (
    Connection,
    ConnectionEvents,
    ConnectionSettings,
    ConnectionStats,
)
from peer.dtls import Certificate
from peer.host import Host, HostSettings
from peer.hub import HubSettings, MediaHub
from peer.ice import IceSettings, IceTiming
from peer.signalling_client import SignallingClient, SignallingClientSettings
from peer.tracks import PatternTrack
from signalling.dev import DevIssuer
from signalling.ice_servers import IceServerSource, StaticIceServers
from signalling.messages import IceServer
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from signalling.turn import TurnCredentials, TurnRegion

from ..peer.turn_server import PASSWORD, USER, TurnServer
from .chromium import Chromium, Page
from .host_process import HostProcess
from .pattern_page import SCRIPT, faults_in, frames_of, more_frames
from .view_process import ViewProcess

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ROOM = "den"
SECRET = "a secret of the server and its TURN servers"
FRAMES = 60

RELAY_ONLY = """
window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({ ...configuration, iceTransportPolicy: "relay" });
    connections.push(this);
  }
};
"""

HURRY = """
{
  const real = window.setTimeout;
  window.setTimeout = (f, ms, ...args) => real(f, ms >= 2000 ? ms / 10 : ms, ...args);
}
"""
"""Makes the page's long patience short: what it does after 20 s it does after 2 s."""

SELECTED_PAIR = """
(async () => {
  const report = await connections[0].getStats();
  const transport = [...report.values()].find((entry) => entry.type === "transport");
  const pair = report.get(transport.selectedCandidatePairId);
  return [pair.localCandidateId, pair.remoteCandidateId].map((id) => report.get(id).candidateType);
})()
"""


class RelayedHost:
    """A host in a room, relay-only, and what becomes of its connections."""

    def __init__(self, issuer: DevIssuer, server: SignallingServer) -> None:
        self._issuer = issuer
        self._server = server
        self.connections: list[Connection] = []

    @property
    def link(self) -> str:
        """What a viewer opens."""
        return f"{self._server.url}#room={ROOM}&token={self._issuer.mint('guest', ROOM, 'viewer')}"

    def make_connection(
        self,
        hub: MediaHub,
        events: ConnectionEvents,
        settings: ConnectionSettings,
        certificate: Certificate,
    ) -> Connection:
        connection = Connection(hub, events, settings, certificate)
        self.connections.append(connection)
        return connection

    def stats(self) -> ConnectionStats:
        (connection,) = self.connections
        return connection.stats()

    async def given_up(self) -> int:
        """As :meth:`.HostProcess.given_up`."""
        media = self.stats().media
        assert media is not None
        return media.frames_dropped


class Words(logging.Handler):
    """What the library tells its operator."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._said.put_nowait(record.getMessage())

    async def until(self, part: str, timeout: float = 20.0) -> str:
        """The next words, from the last that were asked for on, that have this part."""
        async with asyncio.timeout(timeout):
            while part not in (words := await self._said.get()):
                pass
        return words


@contextlib.asynccontextmanager
async def relayed_host(
    turn: IceServerSource, *, connect_timeout: float = 30.0
) -> AsyncIterator[RelayedHost]:
    """A host of the pattern whose room, and so both sides, has these TURN servers and no others."""
    issuer = DevIssuer.generate()
    settings = SignallingSettings(verifier=issuer.verifier(), port=0, ice_servers=turn)
    ice = IceSettings(relay_only=True, timing=IceTiming(connect=connect_timeout))
    async with contextlib.AsyncExitStack() as stack:
        hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
        stack.push_async_callback(hub.close)
        server = await stack.enter_async_context(SignallingServer(settings))
        host = RelayedHost(issuer, server)
        client = SignallingClientSettings(
            url=server.websocket_url, token=issuer.mint("host", ROOM, "host"), room=ROOM
        )
        running = Host(
            PatternTrack(640, 360, settings=StreamSettings(fps=30, bitrate=2_000_000)),
            hub,
            SignallingClient(client),
            HostSettings(connection=ConnectionSettings(ice=ice)),
            make_connection=host.make_connection,
        )
        task = asyncio.create_task(running.run())
        stack.push_async_callback(asyncio.wait, [task])
        stack.push_async_callback(running.close)
        yield host
    await task


def fixed(url: str, password: str = PASSWORD) -> IceServerSource:
    """A server whose login is everybody's."""
    return StaticIceServers([IceServer([url], USER, password)])


def made_for_each(url: str, secret: str = SECRET, lifetime_s: float = 60.0) -> IceServerSource:
    """A server for which each peer gets credentials of its own."""
    region = TurnRegion(name="here", urls=(url,), secret=lambda: secret)
    return TurnCredentials([region], lifetime_s=lifetime_s)


class Expired:
    """Credentials that were good a minute ago."""

    def __init__(self, url: str) -> None:
        self._source = made_for_each(url)

    def ice_servers(self, *, room: str, peer: str, now: float, region: str = "") -> list[IceServer]:
        return self._source.ice_servers(room=room, peer=peer, now=now - 120, region=region)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def turn_server(tmp_path: Path) -> AsyncIterator[TurnServer]:
    async with TurnServer(tmp_path) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def secret_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TurnServer]:
    """One that takes the credentials that are made for each peer, over TLS too."""
    async with TurnServer(tmp_path, secret=SECRET, tls=True) as server:
        # Whom OpenSSL trusts: ours, and the viewer's process.
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        yield server


@contextlib.asynccontextmanager
async def playing(browser: Chromium, host: RelayedHost | HostProcess) -> AsyncIterator[Page]:
    """A relay-only viewer that has decoded some of the pattern, each frame in its turn."""
    page = await browser.open(host.link, init=[RELAY_ONLY, SCRIPT])
    try:
        await page.wait_for("pattern.frames.length > 0", 20)
        await more_frames(page, FRAMES)
        frames = await frames_of(page)
        assert faults_in(frames, await host.given_up()) == []
        yield page
    finally:
        await page.close()


async def test_plays_through_turn_over_udp(browser: Chromium, turn_server: TurnServer) -> None:
    async with (
        relayed_host(fixed(turn_server.url("udp"))) as host,
        playing(browser, host) as page,
    ):
        assert await page.evaluate(SELECTED_PAIR) == ["relay", "relay"]
        stats = host.stats()
        assert stats.relayed
        # The hub itself sends to the server: no Python is on the way.
        assert stats.path == Address("127.0.0.1", turn_server.port)
        assert stats.media is not None
        assert stats.media.frames >= FRAMES


async def test_plays_through_turn_over_tcp(browser: Chromium, turn_server: TurnServer) -> None:
    async with (
        relayed_host(fixed(turn_server.url("tcp"))) as host,
        playing(browser, host) as page,
    ):
        assert await page.evaluate(SELECTED_PAIR) == ["relay", "relay"]
        stats = host.stats()
        assert stats.relayed
        # The hub sends datagrams to the bridge, which has the TCP connection.
        assert stats.path is not None
        assert stats.path.host == "127.0.0.1"
        assert stats.path.port != turn_server.port
        assert stats.media is not None
        assert stats.media.frames >= FRAMES


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_both_ends_relay_with_credentials_of_their_own(
    secret_server: TurnServer, transport: str
) -> None:
    """Our host and our viewer: neither has another way to the other."""
    async with (
        relayed_host(made_for_each(secret_server.url(transport))) as host,
        ViewProcess(host.link, "--relay-only") as view,
    ):
        report = await view.report(lambda report: report["frames"] >= FRAMES)
        assert (report["state"], report["pattern"]["missing"]) == ("connected", 0)
        stats = host.stats()
        assert stats.relayed
        # Over UDP the hub itself sends to the server, else to the bridge that has the connection.
        assert (stats.path == Address("127.0.0.1", secret_server.port)) == (transport == "udp")
        assert await view.interrupt() == 0


async def test_a_browser_relays_with_credentials_of_its_own(
    browser: Chromium, secret_server: TurnServer
) -> None:
    async with (
        relayed_host(made_for_each(secret_server.url("udp"))) as host,
        playing(browser, host) as page,
    ):
        assert await page.evaluate(SELECTED_PAIR) == ["relay", "relay"]
        assert host.stats().relayed


@pytest.mark.parametrize("what", ["another secret", "expired"])
async def test_credentials_that_are_not_good_relay_nothing(
    secret_server: TurnServer, words: Words, what: str
) -> None:
    url = secret_server.url("udp")
    source = made_for_each(url, "guessed") if what == "another secret" else Expired(url)
    async with relayed_host(source, connect_timeout=1.0) as host:
        async with ViewProcess(host.link, "--relay-only", "--wait", "3") as view:
            refusal = await words.until("gives no candidate")
            assert refusal.startswith(url)
            assert "401" in refusal
            assert await view.end() == 1
        assert all(connection.failure for connection in host.connections)


async def test_the_commands_turn_server_reaches_the_viewer(
    browser: Chromium, turn_server: TurnServer
) -> None:
    """Only the viewer insists on the relay: the host's end is its own socket."""
    server = f"turn:{USER}:{PASSWORD}@127.0.0.1:{turn_server.port}"
    options = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")
    async with (
        HostProcess(*options, "--turn", server) as host,
        playing(browser, host) as page,
    ):
        local, remote = await page.evaluate(SELECTED_PAIR)
        assert (local, remote) == ("relay", "host")


@pytest.fixture
def words() -> Iterator[Words]:
    logger, handler = logging.getLogger("peer"), Words()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_wrong_credentials_are_told_in_words(
    browser: Chromium, turn_server: TurnServer, words: Words, transport: str
) -> None:
    url = turn_server.url(transport)
    async with relayed_host(fixed(url, "wrong"), connect_timeout=1.0) as host:
        page = await browser.open(host.link, init=[RELAY_ONLY, HURRY])
        try:
            refusal = await words.until("gives no candidate")
            assert refusal.startswith(url)
            assert "401" in refusal
            await words.until("is gone: no candidate pair works")
            assert await page.wait_for("playcast.state === 'ice-failed'", 20)
        finally:
            await page.close()
    (connection,) = host.connections
    assert connection.failure == "no candidate pair works"
