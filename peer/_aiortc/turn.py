"""aioice's TURN clients (RFC 8656), on sockets of the hub, or on a stream of their own."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, cast

from aioice import stun, turn

from peer.hub import DatagramPort, ServerTransport, SockAddr, SocketPort

logger = logging.getLogger(__name__)

ALLOCATION_MISMATCH = 437
"""TURN: this client address has an allocation already (RFC 8656 section 7.2)."""

MISMATCH_PAUSE = 0.25
"""Seconds between attempts to replace such an allocation. Servers keep it for a moment."""

MAX_RELAY_BACKLOG = 256 * 1024
"""Bytes that may wait in a TCP connection to a TURN server before media is dropped."""


class RelayPort(DatagramPort, asyncio.DatagramProtocol):
    """An allocation on a TURN server, as a port: made by `open_relay` and `open_stream_relay`."""

    def __init__(self, socket: SocketPort) -> None:
        super().__init__(socket.stats)
        self.socket = socket
        """The hub's socket whose media goes through this relay."""
        self.server: SockAddr | None = None
        """The TURN server's address, when media can go there straight from the hub."""
        self.lost = False
        self.media: dict[SockAddr, Callable[[bytes], None]] = {}
        """Takes what comes from a viewer as media; only where the hub cannot see it."""
        self._client: turn.TurnClientMixin | None = None
        self._relay: turn.TurnTransport | None = None

    @property
    def relayed_address(self) -> SockAddr:
        """What viewers send to."""
        assert self._client is not None
        assert self._client.relayed_address is not None
        return self._client.relayed_address

    @property
    def mapped_address(self) -> SockAddr:
        """Our address as the server sees it."""
        assert self._client is not None
        assert self._client.mapped_address is not None
        return self._client.mapped_address

    def channel_of(self, address: SockAddr) -> int | None:
        """The channel bound to a viewer's address; None before the first datagram got through."""
        return None if self._client is None else self._client.peer_to_channel.get(address)

    def send(self, data: bytes, address: SockAddr) -> None:
        if self._relay is not None:
            self._relay.sendto(data, address)

    def send_media(self, data: bytes, address: SockAddr) -> bool:
        """Send through the bound channel at once. False: dropped, no channel or TCP is stuck.

        `TurnTransport.sendto` starts a task for every datagram and never drops.
        """
        channel = self.channel_of(address)
        client = self._client
        if channel is None or client is None:
            return False
        transport = cast(Any, client).transport
        if transport.is_closing() or transport.get_write_buffer_size() > MAX_RELAY_BACKLOG:
            return False
        client._send(struct.pack("!HH", channel, len(data)) + data)
        return True

    async def close(self) -> None:
        """Give the allocation back; ends when the server knows, or stays silent."""
        assert self._relay is not None
        self._relay.close()
        # TurnTransport has no way to wait for the end of its closing.
        await asyncio.wait([cast(Any, self._relay)._TurnTransport__close_task])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        address = (addr[0], addr[1])
        take_media = self.media.get(address) if data and 128 <= data[0] < 192 else None
        if take_media is None:
            self.dispatch(data, address)
        else:
            take_media(data)

    def error_received(self, exc: Exception) -> None:
        self.stats.send_failed += 1
        logger.debug("the TURN server refuses to relay: %s", exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.lose(exc)


async def open_relay(
    socket: SocketPort, server: SockAddr, username: str, password: str
) -> RelayPort:
    """Allocate at a TURN server over UDP, through a socket of the hub.

    ConnectionError or stun.TransactionError when the server refuses or stays silent. It may take
    as long as the caller lets it.
    """
    deleted = False
    while True:
        port = RelayPort(socket)
        client = turn.TurnClientUdpProtocol(
            server,
            username=username,
            password=password,
            lifetime=turn.DEFAULT_ALLOCATION_LIFETIME,
            channel_refresh_time=turn.DEFAULT_CHANNEL_REFRESH_TIME,
        )
        transport: ServerTransport = socket.serve(server, client)
        client.connection_made(transport)
        relay = turn.TurnTransport(client)
        try:
            # create_turn_endpoint() insists on a socket of its own.
            await relay._connect(port)
        except BaseException as error:
            mismatch = _is_mismatch(error)
            if mismatch and not deleted:
                # Ours, from a process that held this port and did not end cleanly. Once: coturn
                # keeps what is deleted for a second, and counts anew with each deletion.
                deleted = True
                await _delete_allocation(client)
            transport.close()
            if not mismatch:
                raise
            await asyncio.sleep(MISMATCH_PAUSE)
        else:
            port.server = server
            port._client, port._relay = client, relay
            return port


def _is_mismatch(error: BaseException) -> bool:
    return (
        isinstance(error, stun.TransactionFailed)
        and error.response.error_code == ALLOCATION_MISMATCH
    )


async def _delete_allocation(client: turn.TurnClientUdpProtocol) -> None:
    request = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
    request.attributes["LIFETIME"] = 0
    try:
        await client.request_with_retry(request)
    except stun.TransactionFailed as error:
        if not _is_mismatch(error):  # it is gone already
            raise


async def open_stream_relay(
    socket: SocketPort,
    server: tuple[str, int],
    username: str,
    password: str,
    *,
    tls: SSLContext | bool,
) -> RelayPort:
    """Allocate at a TURN server over TCP or TLS. OSError when the server cannot be reached."""
    relay, port = await turn.create_turn_endpoint(
        lambda: RelayPort(socket),
        server_addr=server,
        username=username,
        password=password,
        ssl=tls or None,
        transport="tcp",
    )
    port._relay = relay
    # The client knows the channels; TurnTransport keeps it to itself.
    port._client = cast(turn.TurnClientMixin, cast(Any, relay)._TurnTransport__inner_protocol)
    return port
