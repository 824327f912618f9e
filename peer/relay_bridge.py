"""Media through a TURN server that is reached over TCP or TLS.

The hub sends media in UDP datagrams and knows no streams. So its path ends at a loopback socket
in this process, and from there it goes through the stream: slower, but it flows::

    hub ══ UDP on loopback ══▶ RelayBridge ── ChannelData over TCP/TLS ──▶ TURN server ─▶ viewer

STUN and DTLS do not take the bridge: they are Python's anyway.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, Self, cast

from native import Address
from peer._aiortc import RelayPort
from peer.hub import SockAddr


class RelayBridge(asyncio.DatagramProtocol):
    """One viewer's bridge. Made by `open`; `close` it."""

    def __init__(self, relay: RelayPort, viewer: SockAddr) -> None:
        self.dropped = 0
        """Datagrams of media that the stream had no room for."""
        self._relay = relay
        self._viewer = viewer
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, relay: RelayPort, viewer: SockAddr) -> Self:
        """A bridge from the relay's socket of the hub to a viewer that the relay reaches."""
        hub = relay.socket.address
        loopback = "127.0.0.1" if hub.family == 4 else "::1"
        host = loopback if ipaddress.ip_address(hub.host).is_unspecified else hub.host
        loop = asyncio.get_running_loop()
        # Connected: the kernel lets nothing in but what the hub's socket sends.
        _, bridge = await loop.create_datagram_endpoint(
            lambda: cls(relay, viewer), local_addr=(loopback, 0), remote_addr=(host, hub.port)
        )
        relay.media[viewer] = bridge._to_hub
        return bridge

    @property
    def address(self) -> Address:
        """The hub's path."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return Address(host, port)

    def close(self) -> None:
        """Stop. Closing twice is fine."""
        if self._relay.media.get(self._viewer) == self._to_hub:
            del self._relay.media[self._viewer]
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if not self._relay.send_media(data, self._viewer):
            self.dropped += 1

    def error_received(self, exc: Exception) -> None:
        # ECONNREFUSED once the hub's socket is gone; the bridge is closed with its connection.
        self.dropped += 1

    def _to_hub(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data)
