"""The hub tells connections apart by their STUN, and survives everything else."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from aioice import stun

from native import Address
from peer.hub import (
    MAX_EVENTS_AT_ONCE,
    HubSettings,
    MediaHub,
    PortTransport,
    SockAddr,
    parse_stun,
)


class Recorder:
    """An endpoint that remembers."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[stun.Message, SockAddr]] = asyncio.Queue()
        self.dtls: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()

    def request_received(self, message: stun.Message, address: SockAddr) -> None:
        self.requests.put_nowait((message, address))

    def dtls_received(self, data: bytes) -> None:
        self.dtls.put_nowait(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


class Remote:
    """Somebody's UDP socket."""

    def __init__(self, hub: MediaHub, index: int = 0) -> None:
        self.to = hub.ports[index].address.sockaddr
        family = socket.AF_INET if ":" not in self.to[0] else socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((self.to[0], 0))
        self.socket.setblocking(False)
        self.address: SockAddr = self.socket.getsockname()[:2]

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.to)

    async def receive(self) -> bytes:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self.socket, 2048), 5)


def record(payload: bytes) -> bytes:
    """A DTLS 1.2 handshake record (RFC 6347 section 4.1)."""
    return struct.pack("!BHQH", 22, 0xFEFD, 0, len(payload)) + payload


def request(username: str, priority: int | None = 1) -> stun.Message:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username
    if priority is not None:
        message.attributes["PRIORITY"] = priority
    message.add_message_integrity(b"password")
    return message


@pytest.fixture
async def hub() -> AsyncIterator[MediaHub]:
    hub = MediaHub(HubSettings(bind=("127.0.0.1", "::1")))
    yield hub
    await hub.close()


@pytest.fixture
async def remotes(hub: MediaHub) -> AsyncIterator[list[Remote]]:
    remotes = [Remote(hub), Remote(hub), Remote(hub, 1)]
    yield remotes
    for remote in remotes:
        remote.socket.close()


async def settle(hub: MediaHub, remote: Remote, index: int = 0) -> None:
    """Until everything that `remote` sent before was handled."""
    marker = Recorder()
    transport = hub.ports[index].attach("settle", marker)
    remote.send(bytes(request("settle:x")))
    await asyncio.wait_for(marker.requests.get(), 5)
    transport.close()


async def test_all_sockets_have_one_port(hub: MediaHub) -> None:
    assert {port.address.port for port in hub.ports} == {hub.port}
    assert [port.address.host for port in hub.ports] == ["127.0.0.1", "::1"]


async def test_a_taken_port_is_an_oserror(hub: MediaHub) -> None:
    with pytest.raises(OSError, match=r"in use") as caught:
        MediaHub(HubSettings(bind=("127.0.0.1",), port=hub.port))
    assert caught.value.errno == errno.EADDRINUSE


async def test_requests_go_to_whom_they_name(hub: MediaHub, remotes: list[Remote]) -> None:
    one, two = Recorder(), Recorder()
    hub.ports[0].attach("one", one)
    hub.ports[0].attach("two", two)
    remotes[0].send(bytes(request("two:abc")))
    message, address = await asyncio.wait_for(two.requests.get(), 5)
    assert message.attributes["USERNAME"] == "two:abc"
    assert address == remotes[0].address
    assert one.requests.empty()


async def test_a_ufrag_is_taken_once(hub: MediaHub) -> None:
    hub.ports[0].attach("one", Recorder())
    with pytest.raises(ValueError, match="ufrag one is taken"):
        hub.ports[0].attach("one", Recorder())
    hub.ports[1].attach("one", Recorder())


async def test_dtls_goes_to_who_learned_the_address(hub: MediaHub, remotes: list[Remote]) -> None:
    one, two = Recorder(), Recorder()
    hub.ports[0].attach("one", one)
    transport = hub.ports[0].attach("two", two)
    hub.ports[0].learn(remotes[0].address, one)
    hub.ports[0].learn(remotes[1].address, two)
    remotes[1].send(record(b"for two"))
    assert await asyncio.wait_for(two.dtls.get(), 5) == record(b"for two")
    remotes[0].send(record(b"for one"))
    assert await asyncio.wait_for(one.dtls.get(), 5) == record(b"for one")
    transport.close()
    await asyncio.wait_for(two.lost.wait(), 5)
    remotes[1].send(record(b"for nobody"))
    await settle(hub, remotes[1])
    assert two.dtls.empty()
    assert hub.stats.unknown_source == 1


async def test_responses_go_to_who_expects_them(hub: MediaHub, remotes: list[Remote]) -> None:
    received: asyncio.Queue[SockAddr] = asyncio.Queue()
    response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
    hub.ports[0].expect(response.transaction_id, lambda m, a: received.put_nowait(a))
    remotes[0].send(bytes(response))
    assert await asyncio.wait_for(received.get(), 5) == remotes[0].address
    hub.ports[0].forget(response.transaction_id)
    remotes[0].send(bytes(response))
    await settle(hub, remotes[0])
    assert received.empty()
    assert hub.stats.unknown_source == 1


async def test_ipv6_datagrams_both_ways(hub: MediaHub, remotes: list[Remote]) -> None:
    recorder = Recorder()
    transport = hub.ports[1].attach("six", recorder)
    remotes[2].send(bytes(request("six:x")))
    _, address = await asyncio.wait_for(recorder.requests.get(), 5)
    assert address[0] == "::1"
    transport.sendto(record(b"hello"), address)
    assert await remotes[2].receive() == record(b"hello")


async def test_strangers_are_counted(hub: MediaHub, remotes: list[Remote]) -> None:
    remote = remotes[0]
    remote.send(bytes(request("nobody:x")))
    remote.send(bytes(request("")))
    remote.send(bytes(request("other", priority=None)))
    remote.send(record(b"from nowhere"))
    remote.send(b"\x00" * 20)
    indication = stun.Message(stun.Method.BINDING, stun.Class.INDICATION)
    remote.send(bytes(indication))
    await settle(hub, remote)
    assert (hub.stats.unknown_user, hub.stats.unknown_source) == (3, 1)
    # The one of zeros has no magic cookie: the native hub stops it, or we do.
    assert hub.stats.malformed + hub.native_stats().dropped_malformed == 1


async def test_a_request_without_priority_is_malformed(
    hub: MediaHub, remotes: list[Remote]
) -> None:
    recorder = Recorder()
    hub.ports[0].attach("one", recorder)
    remotes[0].send(bytes(request("one:x", priority=None)))
    await settle(hub, remotes[0])
    assert recorder.requests.empty()
    assert hub.stats.malformed == 1


def test_mutated_stun_is_read_or_refused() -> None:
    rng = random.Random(11)
    good = bytes(request("one:x"))
    parsed = 0
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(len(data)) if rng.random() < 0.2 else len(data) :]
        message = parse_stun(bytes(data))
        if message is not None:
            parsed += 1
            assert isinstance(message.attributes.get("USERNAME", ""), str)
    assert parsed > 100
    # aioice answers a short attribute with struct.error, which is no ValueError.
    short = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    raw = bytes(short)[:2] + b"\x00\x04" + bytes(short)[4:] + b"\x00\x24\x00\x00"
    assert parse_stun(raw) is None


async def test_more_events_than_one_batch_all_arrive(hub: MediaHub, remotes: list[Remote]) -> None:
    recorder = Recorder()
    hub.ports[0].attach("one", recorder)
    count = 2 * MAX_EVENTS_AT_ONCE
    for _ in range(count):
        remotes[0].send(bytes(request("one:x")))
    for _ in range(count):
        await asyncio.wait_for(recorder.requests.get(), 5)


async def test_what_cannot_be_sent_is_counted(hub: MediaHub) -> None:
    transport = hub.ports[0].attach("one", Recorder())
    assert isinstance(transport, PortTransport)
    transport.sendto(b"x", ("::1", 9))  # an IPv6 address through an IPv4 socket
    assert hub.stats.send_failed == 1
    transport.close()
    transport.sendto(b"x", ("127.0.0.1", 9))
    assert transport.is_closing()


async def test_closing_the_hub_loses_every_endpoint_once(hub: MediaHub) -> None:
    recorder = Recorder()
    transport = hub.ports[0].attach("one", recorder)
    peer = hub.open_peer(lambda event: None)
    await hub.close()
    await hub.close()
    assert recorder.lost.is_set()
    transport.sendto(b"late", ("127.0.0.1", 9))
    hub.close_peer(peer)


async def test_link_local_addresses_get_the_sockets_scope(hub: MediaHub) -> None:
    port = hub.ports[1]
    port.address = Address("fe80::1", 5000, scope=3)
    assert port.native_address(("fe80::2", 6000)).scope == 3
    assert port.native_address(("2001:db8::2", 6000)).scope == 0
