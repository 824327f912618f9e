"""The signalling server: the web viewer over HTTP and the WebSocket at ``/ws``, on one port.

::

    async with SignallingServer(SignallingSettings(verifier=verifier, port=8080)) as server:
        print(server.url)
        await stop.wait()
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from .bus import Bus, MemoryBus
from .connection import Connection
from .dev import require_development, require_loopback
from .messages import MAX_MESSAGE_BYTES, SUBPROTOCOL, Error
from .net import url_host
from .settings import SignallingSettings
from .static import StaticFiles, refuse
from .switchboard import Switchboard

log = logging.getLogger(__name__)

WEBSOCKET_PATH = "/ws"

_SHUTTING_DOWN = Error("shutting-down", "the server is shutting down", retry=True)

# At DEBUG the library logs every frame: tokens, session descriptions, addresses.
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)


class BindError(Exception):
    """The server cannot listen where it was told to. Says what to do."""


class AddressInUse(BindError):
    """Another program has the port."""


class SignallingServer:
    """One server. Start it once, with ``async with`` or :meth:`start` and :meth:`close`."""

    def __init__(self, settings: SignallingSettings, *, bus: Bus | None = None) -> None:
        """``bus`` connects this server with others and stays the caller's; ``None``: no others.

        Raises :class:`.dev.DevModeError` when a dev verifier is to serve more than loopback,
        or in production.
        """
        if settings.verifier.loopback_only:
            require_development()
            require_loopback(settings.host)
        self._settings = settings
        self._bus = bus or MemoryBus()
        self._owns_bus = bus is None
        self._switchboard = Switchboard(self._bus)
        self._files = StaticFiles(settings.web_root)
        self._connections: set[Connection] = set()
        self._sockets: set[_Socket] = set()
        self._closing = False
        self._server: Server | None = None
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, once started (with host "localhost", the first of two)."""
        assert self._port is not None, "the server is not started"
        return self._port

    @property
    def url(self) -> str:
        """The web viewer's address, for a browser on this machine. Ends with a slash."""
        return f"http://{url_host(self._settings.host)}:{self.port}/"

    @property
    def websocket_url(self) -> str:
        """The WebSocket's address, for a client on this machine."""
        return f"ws://{url_host(self._settings.host)}:{self.port}{WEBSOCKET_PATH}"

    async def start(self) -> None:
        """Bind and serve. Raises :class:`AddressInUse` or another :class:`BindError`."""
        settings = self._settings
        try:
            self._server = await serve(
                self._handle,
                settings.host or None,
                settings.port,
                process_request=self._process_request,
                select_subprotocol=_select_subprotocol,
                compression=None,
                server_header=None,
                open_timeout=settings.hello_timeout_s,
                ping_interval=settings.ping_interval_s,
                ping_timeout=settings.ping_timeout_s,
                close_timeout=settings.close_timeout_s,
                # What is a little too long is refused in words, the rest by the library (1009).
                max_size=2 * MAX_MESSAGE_BYTES,
                logger=_library_log,
                create_connection=self._create_socket,  # type: ignore[arg-type]  # any factory will do
            )
        except OSError as error:
            raise _bind_error(settings, error) from error
        self._port = self._server.sockets[0].getsockname()[1]
        log.info("listening on %s", self.url)

    async def close(self) -> None:
        """Tell the clients, close their connections and wait until all have ended."""
        if self._server is None:
            return
        self._closing = True
        self._server.close(close_connections=False)
        for connection in tuple(self._connections):
            connection.close(_SHUTTING_DOWN)
        for socket in tuple(self._sockets):
            # Browsers open connections in advance; without a request these would be waited for.
            if socket.state is State.CONNECTING:
                socket.transport.abort()
        await self._server.wait_closed()
        await self._switchboard.close()
        if self._owns_bus:
            await self._bus.close()
        log.info("closed")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _create_socket(self, protocol: ServerProtocol, server: Server, **options: Any) -> _Socket:
        socket = _Socket(protocol, server, **options)
        socket.registry = self._sockets
        return socket

    async def _handle(self, socket: ServerConnection) -> None:
        connection = Connection(socket, self._settings, self._switchboard)
        self._connections.add(connection)
        try:
            if self._closing:
                connection.close(_SHUTTING_DOWN)
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        if request.path.partition("?")[0] != WEBSOCKET_PATH:
            return self._files.respond(request)
        if not self._origin_allowed(request):
            log.warning("refused a WebSocket from a page of another origin")
            text = "This page's origin may not connect here: see the setting 'origins'."
            return refuse(request, HTTPStatus.FORBIDDEN, text)
        return None

    def _origin_allowed(self, request: Request) -> bool:
        """Whether the page that opens this WebSocket is ours (RFC 6455 section 10.2)."""
        origins = request.headers.get_all("Origin")
        if not origins:
            return True  # not a browser
        if len(origins) > 1:
            return False
        if origins[0] in self._settings.origins:
            return True
        scheme, _, authority = origins[0].partition("://")
        hosts = request.headers.get_all("Host")
        return len(hosts) == 1 and _authority(scheme, authority) == _authority(scheme, hosts[0])


class _Socket(ServerConnection):
    """Keeps itself in ``registry`` while its TCP connection is there."""

    registry: set[_Socket]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.registry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.discard(self)
        super().connection_lost(exc)


def _select_subprotocol(
    socket: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Ours when it is offered; a client that offers none, or others, is let in all the same."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def _authority(scheme: str, authority: str) -> str:
    default_port = {"http": ":80", "https": ":443"}.get(scheme, "")
    return authority.lower().removesuffix(default_port)


def _bind_error(settings: SignallingSettings, error: OSError) -> BindError:
    where = f"{settings.host or 'all addresses'}, port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"another program listens on {where}: stop it, or choose another port with --port"
            " (0 takes any free one)"
        )
    if error.errno == errno.EACCES:
        return BindError(f"not allowed to listen on {where}: choose a port above 1023 with --port")
    return BindError(f"cannot listen on {where}: {error.strerror or error}; see --host")
