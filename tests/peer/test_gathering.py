"""What a host offers of itself, and what STUN and TURN servers add."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice import stun

from native import Address
from peer.gathering import Gatherer, IceServer, gatherer_of
from peer.hub import HubSettings, MediaHub

from .turn_server import PASSWORD, USER, TurnServer


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests as if a NAT were between."""

    def __init__(self) -> None:
        self.requests = 0
        self.asked = asyncio.Event()
        self.silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests += 1
        self.asked.set()
        if self.silent:
            return
        request = stun.parse_message(data)
        response = stun.Message(
            stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=request.transaction_id
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.5", 61000)
        self.transport.sendto(bytes(response), addr)  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"stun:127.0.0.1:{self.transport.get_extra_info('sockname')[1]}"


@pytest.fixture
async def stun_server() -> AsyncIterator[StunServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        StunServer, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


def hosts(settings: HubSettings, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What a hub with these settings would offer, on a machine with three addresses."""

    class FakePort:
        def __init__(self, host: str) -> None:
            self.address = Address(host, 5000)

    class FakeHub:
        def __init__(self) -> None:
            self.settings = settings
            self.ports = [FakePort(host) for host in settings.bind]
            self.port = 5000
            self.closing: list[object] = []

    machine = {4: ["127.0.0.1", "192.0.2.1"], 6: ["::1"]}
    monkeypatch.setattr("peer.gathering._interface_addresses", machine.__getitem__)
    found = Gatherer(FakeHub()).hosts()  # type: ignore[arg-type]
    assert [c.priority for c in found] == sorted((c.priority for c in found), reverse=True)
    assert len({c.priority for c in found}) == len(found)
    return [(c.host, c.port) for c in found]


@pytest.mark.parametrize(
    ("settings", "offered"),
    [
        (HubSettings(bind=("127.0.0.1",)), [("127.0.0.1", 5000)]),
        (HubSettings(bind=("0.0.0.0",)), [("192.0.2.1", 5000)]),
        (HubSettings(bind=("::",)), [("::1", 5000)]),
        (
            HubSettings(bind=("0.0.0.0", "::"), loopback=True),
            [("192.0.2.1", 5000), ("127.0.0.1", 5000), ("::1", 5000)],
        ),
        (
            HubSettings(bind=("0.0.0.0",), announced=("203.0.113.5", "203.0.113.6:70")),
            [("203.0.113.5", 5000), ("203.0.113.6", 70), ("192.0.2.1", 5000)],
        ),
        (
            HubSettings(
                bind=("0.0.0.0",),
                announced=("2001:db8::5", "[2001:db8::6]:70"),
                announce_bound=False,
            ),
            [("2001:db8::5", 5000), ("2001:db8::6", 70)],
        ),
    ],
)
def test_hosts(
    settings: HubSettings, offered: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hosts(settings, monkeypatch) == offered


@pytest.mark.parametrize("text", ["example.com", "203.0.113.5:0", "203.0.113.5:x", "", "[::1]:"])
def test_announced_takes_addresses(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="announced takes IP addresses"):
        hosts(HubSettings(bind=("0.0.0.0",), announced=(text,)), monkeypatch)


@pytest.mark.parametrize("url", ["http://example.com", "stun:", "turn:host:port", "stun:h?x=y"])
def test_server_urls_are_checked(url: str) -> None:
    with pytest.raises(ValueError, match="url takes a STUN or TURN URL"):
        IceServer(url)


@pytest.fixture
async def hub() -> AsyncIterator[MediaHub]:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    yield hub
    await hub.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stun_server_is_asked_once_for_all(hub: MediaHub, stun_server: StunServer) -> None:
    gatherer = gatherer_of(hub)
    assert gatherer_of(hub) is gatherer
    server = IceServer(stun_server.url)
    results = await asyncio.gather(*(gatherer.server(server, 5) for _ in range(3)))
    assert stun_server.requests == 1
    for [local] in results:
        candidate = local.candidate
        assert (candidate.host, candidate.port, candidate.type) == ("203.0.113.5", 61000, "srflx")
        assert (candidate.related_address, candidate.related_port) == ("127.0.0.1", hub.port)
        assert local.port is None
    assert hub.ports[0]._transactions == {}


async def test_a_silent_stun_server_is_given_up(hub: MediaHub, stun_server: StunServer) -> None:
    stun_server.silent = True
    gatherer = gatherer_of(hub)
    with pytest.raises(TimeoutError):
        await gatherer.server(IceServer(stun_server.url), 0.02)
    assert hub.ports[0]._transactions == {}
    stun_server.silent = False
    assert await gatherer.server(IceServer(stun_server.url), 5)


async def test_closing_while_gathering_ends_it(hub: MediaHub, stun_server: StunServer) -> None:
    stun_server.silent = True
    waiting = asyncio.ensure_future(gatherer_of(hub).server(IceServer(stun_server.url), 60))
    await asyncio.wait_for(stun_server.asked.wait(), 5)
    await hub.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.e2e
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_turn_allocation_is_shared_and_given_back(
    hub: MediaHub, tmp_path: Path, transport: str
) -> None:
    async with TurnServer(tmp_path) as turn:
        gatherer = gatherer_of(hub)
        server = IceServer(turn.url(transport), USER, PASSWORD)
        [first], [second] = await asyncio.gather(*(gatherer.server(server, 5) for _ in range(2)))
        assert first.port is second.port
        assert first.candidate.type == "relay"
        assert first.candidate.host == "127.0.0.1"
        with pytest.raises((ConnectionError, stun.TransactionError)):
            await gatherer_of(hub).server(
                IceServer(turn.url("tcp" if transport == "udp" else "udp"), USER, "wrong"), 5
            )
        port = hub.port
        await hub.close()
        # Had the allocation stayed, the server would refuse the same address another one.
        again = MediaHub(HubSettings(bind=("127.0.0.1",), port=port))
        [third] = await gatherer_of(again).server(server, 5)
        assert third.candidate.type == "relay"
        await again.close()


@pytest.mark.e2e
async def test_an_allocation_of_a_crashed_process_is_replaced(tmp_path: Path) -> None:
    async with TurnServer(tmp_path) as turn:
        server = IceServer(turn.url("udp"), USER, PASSWORD)
        crashed = MediaHub(HubSettings(bind=("127.0.0.1",)))
        port = crashed.port
        [local] = await gatherer_of(crashed).server(server, 5)
        # The sockets go without a word to the server.
        relay = local.port
        crashed.closing.clear()
        await crashed.close()
        hub = MediaHub(HubSettings(bind=("127.0.0.1",), port=port))
        [again] = await gatherer_of(hub).server(server, 5)
        assert again.candidate.type == "relay"
        await hub.close()
        relay._client.refresh_task.cancel()  # type: ignore[union-attr]
