"""The hub on the asyncio side: one UDP port for every connection of the process.

How a datagram travels (RFC 7983 says which kind it is, by its first byte)::

    socket ─▶ native hub ─ SRTP, SRTCP ─▶ stays in C
                  │ eventfd
                  ▼
              MediaHub ─▶ SocketPort (one a socket) ─ STUN request ──▶ by USERNAME's local part
                               │                    ─ STUN response ─▶ by transaction id
                               │                    ─ DTLS ──────────▶ by learned address
                               └ from a TURN server ─▶ TURN client ─▶ RelayPort: the same again

A *port* is a place where datagrams of several connections arrive: a socket of the hub, or an
allocation on a TURN server (a server gives one allocation to one client address, so connections
share it as they share the socket). Each connection attaches one endpoint to each port it uses.
Addresses are learned only from STUN that passed its integrity check; what belongs to nobody is
counted and dropped. Sending to a full socket drops, as a network would.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aioice import stun

from native import (
    Address,
    Datagram,
    Event,
    FirstReport,
    Hub,
    HubStats,
    NativeError,
    Peer,
    PeerBye,
    SourceLost,
    SourceResized,
    StreamFailed,
)

__all__ = [
    "ControlStats",
    "DatagramPort",
    "Endpoint",
    "HubSettings",
    "MediaHub",
    "PortTransport",
    "SockAddr",
    "SocketPort",
]

logger = logging.getLogger(__name__)

SockAddr = tuple[str, int]
"""Host and UDP port, as asyncio's datagram protocols call them."""

MAX_EVENTS_AT_ONCE = 64
"""Events that one wake-up of the loop handles; the rest waits for the next."""

_COOKIE = struct.pack("!I", stun.COOKIE)


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the process's media sockets are, and how the world reaches them."""

    bind: tuple[str, ...] = ()
    """Addresses to bind, at most 16; () = every IPv4 and, where there is IPv6, every IPv6 one."""
    port: int = 0
    """UDP port of all of them; 0 = any free one."""
    announced: tuple[str, ...] = ()
    """Addresses as others see them (behind a 1:1 NAT, in a container): "203.0.113.5",
    "203.0.113.5:40000", "2001:db8::5", "[2001:db8::5]:40000"."""
    announce_bound: bool = True
    """Offer the bound addresses too when there are announced ones."""
    loopback: bool = False
    """Offer 127.0.0.1 and ::1 for sockets bound to every address. Without any other address to
    offer they are offered all the same."""
    gso: bool = True
    """Send in batches by UDP_SEGMENT where the kernel takes it."""
    dscp: int = 0
    """Mark of what is sent, 0..63; 0 = leave it."""
    realtime: bool = False
    """Ask for a higher priority of the I/O, media and encoder threads; a refusal is no error."""


@dataclass(slots=True)
class ControlStats:
    """What happened to STUN, DTLS and TURN datagrams. Counters only grow."""

    received: int = 0
    malformed: int = 0
    """Dropped: not what its first byte said."""
    unknown_user: int = 0
    """Dropped: a STUN request whose USERNAME is no connection's."""
    unknown_source: int = 0
    """Dropped: a STUN response nobody waits for, or DTLS from an address that nobody learned."""
    send_full: int = 0
    """Not sent: the kernel's buffer was full."""
    send_failed: int = 0
    """Not sent: no route, or not allowed."""


class Endpoint(Protocol):
    """What a connection attaches to a port."""

    def request_received(self, message: stun.Message, address: SockAddr) -> None:
        """A STUN request that names this connection; its integrity is not yet checked."""

    def dtls_received(self, data: bytes) -> None:
        """A DTLS datagram from an address that this endpoint learned."""

    def connection_lost(self, error: Exception | None) -> None:
        """The endpoint was closed, or its port is gone. Called once."""


Responder = Callable[[stun.Message, SockAddr], None]


class DatagramPort:
    """A place where datagrams of several connections arrive and are told apart."""

    def __init__(self, stats: ControlStats) -> None:
        self.stats = stats
        self._by_user: dict[str, Endpoint] = {}
        self._by_address: dict[SockAddr, Endpoint] = {}
        self._transactions: dict[bytes, Responder] = {}

    def send(self, data: bytes, address: SockAddr) -> None:
        """Send a datagram, or drop and count it."""
        raise NotImplementedError

    def attach(self, ufrag: str, endpoint: Endpoint) -> PortTransport:
        """Give the endpoint what arrives for that local ufrag. Detached by closing the result."""
        if ufrag in self._by_user:
            raise ValueError(f"ufrag {ufrag} is taken")
        self._by_user[ufrag] = endpoint
        return PortTransport(self, ufrag, endpoint)

    def detach(self, ufrag: str, endpoint: Endpoint) -> None:
        """Forget an endpoint and what it learned."""
        if self._by_user.get(ufrag) is endpoint:
            del self._by_user[ufrag]
        for address in [a for a, e in self._by_address.items() if e is endpoint]:
            del self._by_address[address]

    def learn(self, address: SockAddr, endpoint: Endpoint) -> None:
        """DTLS from that address is the endpoint's: it proved so by authentic STUN."""
        self._by_address[address] = endpoint

    def expect(self, transaction_id: bytes, responder: Responder) -> None:
        """Give the response of that transaction to `responder`, until `forget`."""
        self._transactions[transaction_id] = responder

    def forget(self, transaction_id: bytes) -> None:
        """The transaction is over."""
        self._transactions.pop(transaction_id, None)

    def lose(self, error: Exception | None) -> None:
        """The port is gone: tell every endpoint."""
        endpoints = list(self._by_user.values())
        self._by_user.clear()
        self._by_address.clear()
        for endpoint in endpoints:
            endpoint.connection_lost(error)

    def dispatch(self, data: bytes, address: SockAddr) -> None:
        """Give a datagram to the connection it belongs to, or count and drop it."""
        self.stats.received += 1
        first = data[0] if data else 255
        if first < 4:
            self._dispatch_stun(data, address)
        elif 20 <= first < 64:
            endpoint = self._by_address.get(address)
            if endpoint is None:
                self.stats.unknown_source += 1
            else:
                endpoint.dtls_received(data)
        else:
            self.stats.malformed += 1

    def _dispatch_stun(self, data: bytes, address: SockAddr) -> None:
        message = parse_stun(data)
        if message is None:
            self.stats.malformed += 1
        elif message.message_class == stun.Class.REQUEST:
            user = message.attributes.get("USERNAME", "").partition(":")[0]
            endpoint = self._by_user.get(user)
            if endpoint is None:
                self.stats.unknown_user += 1
            elif "PRIORITY" not in message.attributes:  # RFC 8445 section 7.1.1
                self.stats.malformed += 1
            else:
                endpoint.request_received(message, address)
        elif message.message_class in (stun.Class.RESPONSE, stun.Class.ERROR):
            responder = self._transactions.get(message.transaction_id)
            if responder is None:
                self.stats.unknown_source += 1
            else:
                responder(message, address)
        # Indications keep NAT bindings open (RFC 8445 section 11) and ask for nothing.


class SocketPort(DatagramPort):
    """One of the hub's UDP sockets."""

    def __init__(self, stats: ControlStats, native: Hub, index: int, address: Address) -> None:
        super().__init__(stats)
        self.index = index
        """What the native hub calls this socket."""
        self.address = address
        """What it is bound to."""
        self._native = native
        self._servers: dict[SockAddr, asyncio.DatagramProtocol] = {}

    def native_address(self, address: SockAddr) -> Address:
        """An address as the native hub takes it, when sent to from this socket."""
        host, port = address
        scope = self.address.scope if host.startswith("fe80:") else 0
        return Address(host, port, scope)

    def send(self, data: bytes, address: SockAddr) -> None:
        if self._native.closed:
            return
        try:
            if not self._native.send(self.index, self.native_address(address), data):
                self.stats.send_full += 1
        except NativeError as error:
            self.stats.send_failed += 1
            logger.debug("cannot send to %s: %s", address, error)

    def serve(self, server: SockAddr, client: asyncio.DatagramProtocol) -> ServerTransport:
        """Give what a TURN server sends to its client. Ended by closing the result."""
        if server in self._servers:
            raise ValueError(f"TURN server {server} has a client already")
        self._servers[server] = client
        return ServerTransport(self, server, client)

    def unserve(self, server: SockAddr) -> None:
        """The TURN client is gone."""
        self._servers.pop(server, None)

    def received(self, datagram: Datagram) -> None:
        """A datagram event of this socket."""
        address = datagram.source.sockaddr
        # ChannelData comes up whole: the native hub keeps only the media in it.
        data = datagram.data
        client = self._servers.get(address)
        is_stun = bool(data) and data[0] < 4
        if is_stun and data[8:20] in self._transactions:
            self.dispatch(data, address)
        elif client is not None and (is_stun or (data and 64 <= data[0] < 80)):
            self.stats.received += 1
            if is_stun and parse_stun(data) is None:
                self.stats.malformed += 1
            else:
                client.datagram_received(data, address)
        else:
            self.dispatch(data, address)


class PortTransport(asyncio.DatagramTransport):
    """The transport of one connection's endpoint at one port."""

    def __init__(self, port: DatagramPort, ufrag: str, endpoint: Endpoint) -> None:
        super().__init__()
        self._port = port
        self._ufrag = ufrag
        self._endpoint = endpoint
        self._closing = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closing:
            self._port.send(data, addr)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._port.detach(self._ufrag, self._endpoint)
            asyncio.get_running_loop().call_soon(self._endpoint.connection_lost, None)

    def abort(self) -> None:
        self.close()


class ServerTransport(asyncio.DatagramTransport):
    """The transport of a TURN client: everything goes to its server."""

    def __init__(
        self, port: SocketPort, server: SockAddr, client: asyncio.DatagramProtocol
    ) -> None:
        super().__init__()
        self._port = port
        self._server = server
        self._client = client
        self._closing = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closing:
            self._port.send(data, self._server)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._port.unserve(self._server)
            asyncio.get_running_loop().call_soon(self._client.connection_lost, None)

    def abort(self) -> None:
        self.close()


PeerEvent = PeerBye | FirstReport
StreamEvent = SourceLost | SourceResized | StreamFailed


class MediaHub:
    """The process's native hub, watched by the running event loop, until `close()`.

    OSError as bind(2) when an address or the port is not to be had.
    """

    def __init__(self, settings: HubSettings | None = None) -> None:
        self.settings = settings or HubSettings()
        self.stats = ControlStats()
        self.native = Hub(
            self.settings.bind or _every_address(),
            self.settings.port,
            gso=self.settings.gso,
            dscp=self.settings.dscp,
            realtime=self.settings.realtime,
        )
        self.ports = tuple(
            SocketPort(self.stats, self.native, index, address)
            for index, address in enumerate(self.native.addresses)
        )
        self.closing: list[Callable[[], Awaitable[None]]] = []
        """Awaited by `close()` before the sockets go."""
        self._on_peer: dict[int, Callable[[PeerEvent], None]] = {}
        self._on_stream: dict[int, Callable[[StreamEvent], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.native.fileno(), self._drain)

    @property
    def port(self) -> int:
        """The UDP port of every socket (of the first, should they differ)."""
        return self.ports[0].address.port

    def native_stats(self) -> HubStats:
        """Traffic of all sockets."""
        return self.native.stats()

    def open_peer(self, on_event: Callable[[PeerEvent], None]) -> Peer:
        """A new native peer, whose events go to `on_event` until `close_peer`."""
        peer = self.native.open_peer()
        self._on_peer[peer.id] = on_event
        return peer

    def close_peer(self, peer: Peer) -> None:
        """Say BYE where media ran, and forget the peer."""
        self._on_peer.pop(peer.id, None)
        peer.close()

    def watch_stream(self, stream_id: int, on_event: Callable[[StreamEvent], None]) -> None:
        """Give a stream's events to `on_event`, until `unwatch_stream`."""
        self._on_stream[stream_id] = on_event

    def unwatch_stream(self, stream_id: int) -> None:
        """Nobody listens to the stream any more."""
        self._on_stream.pop(stream_id, None)

    async def close(self) -> None:
        """Give TURN allocations back, close the sockets. Closing twice is fine."""
        callbacks, self.closing = self.closing, []
        for callback in callbacks:
            await callback()
        if self.native.closed:
            return
        self._loop.remove_reader(self.native.fileno())
        self.native.close()
        for port in self.ports:
            port.lose(None)

    def _drain(self) -> None:
        for _ in range(MAX_EVENTS_AT_ONCE):
            # A callback may close the hub.
            event = None if self.native.closed else self.native.next_event()
            if event is None:
                return
            self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case Datagram():
                self.ports[event.socket].received(event)
            case PeerBye() | FirstReport():
                if on_peer := self._on_peer.get(event.peer):
                    on_peer(event)
            case SourceLost() | SourceResized() | StreamFailed():
                if on_stream := self._on_stream.get(event.stream):
                    on_stream(event)


def parse_stun(data: bytes) -> stun.Message | None:
    """A STUN message; None when it is malformed."""
    if data[4:8] != _COOKIE:
        return None
    try:
        return stun.parse_message(data)
    except (ValueError, struct.error):  # aioice lets struct.error through for short attributes
        return None


def _every_address() -> list[str]:
    addresses = ["0.0.0.0"]
    if socket.has_ipv6:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                return addresses
        addresses.append("::")
    return addresses
