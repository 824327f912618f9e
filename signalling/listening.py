"""The listening sockets: who knocks is let in a few at a time, and counted before anything else.

asyncio's own servers take in whoever waits, up to the whole backlog, before those that are in get
their turn, and tell of a connection over TLS only when its handshake is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from typing import Any

from .http_connection import HttpConnection, Peer
from .limits import parse_address
from .site import Site

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that the kernel keeps while the event loop is busy."""

ACCEPTS_PER_TURN = 4
"""Connections that are taken in at once: who is in shall not wait for a crowd at the door."""

SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel keeps for one client that does not read; it would grow to megabytes."""

OUT_OF_FILES_S = 0.5
"""How long nobody is taken in when no more files can be opened, in seconds."""


class Listener:
    """Takes connections in for a :class:`.site.Site`, until :meth:`close`."""

    def __init__(
        self, site: Site, *, tls: ssl.SSLContext | None, handshake_s: float, shutdown_s: float
    ) -> None:
        """``handshake_s`` and ``shutdown_s``: how long TLS may take to begin and to end."""
        self._site = site
        self._tls = tls
        self._handshake_s = handshake_s
        self._shutdown_s = shutdown_s
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._arriving: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Listen on all addresses of ``host`` ("": of this machine). Raises :class:`OSError`."""
        found = await self._loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        failure = OSError(errno.EADDRNOTAVAIL, "it has no address")
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # Any free port is the same one for all addresses.
            where = (address[0], self.port if self._sockets else port, *address[2:])
            try:
                self._sockets.append(_listen(family, kind, protocol, where))
            except OSError as error:
                failure = error
                if error.errno not in _NOT_HERE:
                    self.close()
                    raise
        if not self._sockets:
            raise failure
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._take_in, listening)

    def close(self) -> None:
        """Take nobody in any more, those included whose handshake is not done."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
        if self._tls is not None:
            for task in tuple(self._arriving):
                task.cancel()

    def _take_in(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("nobody can be taken in: %s", os.strerror(error.errno or 0))  # noqa: TRY400
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(OUT_OF_FILES_S, self._go_on, listening)
                return
            peer = Peer(parse_address(address[0]), tls=self._tls is not None)
            if not self._site.opened(peer):
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._arrive(connection, peer))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._take_in, listening)

    async def _arrive(self, connection: socket.socket, peer: Peer) -> None:
        tls = self._tls
        arrived = HttpConnection(self._site, peer)
        try:
            await self._loop.connect_accepted_socket(
                lambda: arrived,
                connection,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self._handshake_s,
                ssl_shutdown_timeout=None if tls is None else self._shutdown_s,
            )
            if not self._sockets:
                arrived.abort()
        except OSError as error:  # TLS's errors and deadlines too
            log.debug("a connection did not come about: %s", error)
        finally:
            if not arrived.came:
                self._site.closed(peer)
                with contextlib.suppress(OSError):
                    connection.close()


_NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""A machine without IPv6 has addresses of it all the same, in its tables."""


def _listen(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # What is accepted inherits it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening
