"""Where a host can be reached: host, server-reflexive and relayed candidates (RFC 8445 5.1.1).

Connections share the hub's sockets, so they share this too: the address that a STUN server sees
and the allocation on a TURN server are asked for once, and a later viewer finds them ready.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import ifaddr
from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc.rtcicetransport import parse_stun_turn_uri

from peer._aiortc import RelayPort, open_relay, open_stream_relay
from peer.hub import DatagramPort, MediaHub, SockAddr, SocketPort

logger = logging.getLogger(__name__)

REFLEXIVE_LIFETIME = 30.0
"""Seconds that an answer of a STUN server is believed: NATs forget idle bindings after that."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server by its URL (RFC 7064, RFC 7065), as "turn:host:3478?transport=udp".

    ValueError names a URL that is malformed.
    """

    url: str
    username: str = ""
    credential: str = ""

    def __post_init__(self) -> None:
        self.parse()

    def parse(self) -> dict[str, Any]:
        """Its `scheme`, `host`, `port` and, of TURN, `transport`."""
        try:
            return parse_stun_turn_uri(self.url)
        except ValueError as error:
            raise ValueError(f"url takes a STUN or TURN URL, not {self.url!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A candidate to offer; with a `port`, connections check from there too."""

    candidate: Candidate
    port: DatagramPort | None = None


class Gatherer:
    """The hub's candidates. Get it by `gatherer_of`: there is one for each hub."""

    def __init__(self, hub: MediaHub) -> None:
        self._hub = hub
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}
        hub.closing.append(self._close)

    def bases(self) -> Iterator[LocalCandidate]:
        """One candidate for each socket, to check from; what is offered is `hosts`."""
        for port in self._hub.ports:
            address = port.address
            yield LocalCandidate(_host_candidate(address.host, address.port, port.index), port)

    def hosts(self) -> list[Candidate]:
        """What to offer of the host itself, best first. Never blocks."""
        settings = self._hub.settings
        found: list[SockAddr] = [_split(text, self._hub.port) for text in settings.announced]
        if not found or settings.announce_bound:
            found += self._bound()
        unique = list(dict.fromkeys(found))
        return [_host_candidate(host, port, i) for i, (host, port) in enumerate(unique)]

    def server(self, server: IceServer, timeout: float) -> Awaitable[list[LocalCandidate]]:
        """What a STUN or TURN server adds. OSError, ConnectionError, TimeoutError or
        stun.TransactionError when it adds nothing."""
        url = server.parse()
        address = (url["host"], url["port"])
        if url["scheme"] in ("stun", "stuns"):
            return self._reflexive(address, timeout)
        return self._relayed(server, address, timeout)

    def _bound(self) -> list[SockAddr]:
        addresses = [port.address for port in self._hub.ports]
        found: list[SockAddr] = []
        local: list[SockAddr] = []
        for address in addresses:
            if not ipaddress.ip_address(address.host).is_unspecified:
                found.append(address.sockaddr)
                continue
            for host in _interface_addresses(address.family):
                loopback = ipaddress.ip_address(host).is_loopback
                (local if loopback else found).append((host, address.port))
        return found + local if self._hub.settings.loopback or not found else found

    async def _reflexive(self, server: SockAddr, timeout: float) -> list[LocalCandidate]:
        resolved = await _resolve(server)
        tasks = [
            self._share(
                ("stun", port.index, address),
                partial(_mapped_address, port, address, timeout),
                REFLEXIVE_LIFETIME,
            )
            for port, address in self._routes(resolved)
        ]
        if not tasks:
            raise OSError(f"no socket of the hub has the family of {server[0]}")
        return [await task for task in tasks]

    async def _relayed(
        self, server: IceServer, address: SockAddr, timeout: float
    ) -> list[LocalCandidate]:
        url = server.parse()
        routes = self._routes(await _resolve(address))
        if not routes:
            raise OSError(f"no socket of the hub has the family of {address[0]}")
        port, resolved = routes[0]
        stream = url["transport"] == "tcp"

        async def allocate() -> RelayPort:
            if stream:
                tls: bool | SSLContext = url["scheme"] == "turns"
                return await open_stream_relay(
                    port, address, server.username, server.credential, tls=tls
                )
            return await open_relay(port, resolved, server.username, server.credential)

        async def allocate_in_time() -> RelayPort:
            return await asyncio.wait_for(allocate(), timeout)

        key = ("turn", port.index, resolved, url["scheme"], stream)
        known = self._shared.get(key)
        if known is not None and known.done() and known.result().lost:
            del self._shared[key]
        relay = await self._share(key, allocate_in_time)
        return [LocalCandidate(_relay_candidate(relay), relay)]

    def _routes(self, servers: list[SockAddr]) -> list[tuple[SocketPort, SockAddr]]:
        """From which sockets a server can be reached, at the first of its addresses that can."""
        for server in servers:
            ip = ipaddress.ip_address(server[0])
            routes = []
            for port in self._hub.ports:
                bound = ipaddress.ip_address(port.address.host)
                if bound.version == ip.version and (not bound.is_loopback or ip.is_loopback):
                    routes.append((port, server))
            if routes:
                return routes
        return []

    def _share(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[_Result]],
        lifetime: float | None = None,
    ) -> asyncio.Future[_Result]:
        """One attempt for all who ask while it runs, or while its result is good."""
        task = self._shared.get(key)
        if task is None:
            task = asyncio.ensure_future(_await(make))
            self._shared[key] = task

            def done(finished: asyncio.Task[_Result]) -> None:
                if finished.cancelled() or finished.exception() is not None:
                    self._shared.pop(key, None)
                elif lifetime is not None:
                    asyncio.get_running_loop().call_later(lifetime, self._shared.pop, key, None)

            task.add_done_callback(done)
        return asyncio.shield(task)

    async def _close(self) -> None:
        tasks = list(self._shared.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if task.cancelled() or task.exception() is not None:
                continue
            result = task.result()
            if isinstance(result, RelayPort):
                await result.close()


_gatherers: WeakKeyDictionary[MediaHub, Gatherer] = WeakKeyDictionary()


def gatherer_of(hub: MediaHub) -> Gatherer:
    """The hub's gatherer, made when it is first asked for."""
    if hub not in _gatherers:
        _gatherers[hub] = Gatherer(hub)
    return _gatherers[hub]


async def _await(make: Callable[[], Awaitable[_Result]]) -> _Result:
    return await make()


async def _resolve(server: tuple[str, int]) -> list[SockAddr]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*server, type=socket.SOCK_DGRAM)
    return [(str(info[4][0]), int(info[4][1])) for info in found]


async def _mapped_address(port: SocketPort, server: SockAddr, timeout: float) -> LocalCandidate:
    """Ask a STUN server, from a socket of the hub, where it sees us (RFC 8489)."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    transaction = stun.Transaction(request, server, _Sender(port))
    port.expect(request.transaction_id, transaction.response_received)
    try:
        response, _ = await asyncio.wait_for(transaction.run(), timeout)
    finally:
        port.forget(request.transaction_id)
    mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
    if mapped is None:
        raise ConnectionError("the STUN server's response has no XOR-MAPPED-ADDRESS")
    base = port.address
    return LocalCandidate(
        Candidate(
            foundation=candidate_foundation("srflx", "udp", base.host),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "srflx", 65535 - port.index),
            host=mapped[0],
            port=mapped[1],
            type="srflx",
            related_address=base.host,
            related_port=base.port,
        )
    )


class _Sender:
    """A port as aioice's transactions want it."""

    def __init__(self, port: DatagramPort) -> None:
        self._port = port

    def send_stun(self, message: stun.Message, addr: SockAddr) -> None:
        self._port.send(bytes(message), addr)


def _host_candidate(host: str, port: int, rank: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "host", 65535 - rank),
        host=host,
        port=port,
        type="host",
    )


def _relay_candidate(relay: RelayPort) -> Candidate:
    (host, port), mapped = relay.relayed_address, relay.mapped_address
    # Where media goes to the server in a stream, a direct datagram is the better way.
    preference = 65535 if relay.server is not None else 0
    return Candidate(
        foundation=candidate_foundation("relay", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "relay", preference),
        host=host,
        port=port,
        type="relay",
        related_address=mapped[0],
        related_port=mapped[1],
    )


def _interface_addresses(family: int) -> list[str]:
    """This machine's addresses of that family (4 or 6), without link-local IPv6."""
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                if family == 4:
                    found.append(ip.ip)
            elif family == 6 and ip.ip[2] == 0:
                found.append(ip.ip[0])
    return found


def _split(text: str, default_port: int) -> SockAddr:
    """ "203.0.113.5", "203.0.113.5:40000", "2001:db8::5" or "[2001:db8::5]:40000"."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(text)), default_port
    host, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port)
    except ValueError:
        address, number = "", 0
    if not 1 <= number <= 65535:
        raise ValueError(f"announced takes IP addresses, each with or without a port, not {text!r}")
    return address, number
