"""The signalling server: the web viewer over HTTP and the WebSocket at ``/ws``, on one port.

::

    async with SignallingServer(SignallingSettings(verifier=verifier, port=8080)) as server:
        print(server.url)
        await stop.wait()
        await server.drain()

:mod:`.site` says what is where, :mod:`.http_connection` and :mod:`.websocket` speak the protocols,
:mod:`.connection` is the life of one client.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import time
from types import TracebackType
from typing import Self

from .bus import Bus, MemoryBus
from .dev import require_development, require_loopback
from .health import Health
from .identity import KeyHolder
from .listening import Listener
from .messages import Error
from .metrics import Population
from .net import url_host
from .records import Record, RecordType
from .services import Services
from .settings import SignallingSettings
from .site import WEBSOCKET_PATH, Site
from .static import StaticFiles
from .switchboard import Switchboard
from .tls import TlsError

log = logging.getLogger(__name__)

LOOK_AFTER_S = 1.0
DRAIN_STEP_S = 0.05

_SHUTTING_DOWN = Error("shutting-down", "the server is shutting down", retry=True)


GC_THRESHOLDS = (2_000, 10, 100)
"""See :mod:`gc`."""


def calm_garbage_collector() -> None:
    """For a program that is this server: look through all objects far less often.

    With ten thousand clients that takes a tenth of a second, in which nothing else happens, and it
    would come again with every quarter more of them. Little of what a server throws away needs it:
    a connection that has ended is in no cycle, but for a transport of asyncio's.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


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
        self._switchboard = Switchboard(
            self._bus, records=settings.records, resume_window_s=settings.resume_window_s
        )
        self._files = StaticFiles(settings.web_root)
        self._listener: Listener | None = None
        self._port: int | None = None
        self._looking_after: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, once started (with host "localhost", the first of two)."""
        assert self._port is not None, "the server is not started"
        return self._port

    @property
    def url(self) -> str:
        """The web viewer's address, for a browser on this machine. Ends with a slash."""
        scheme = "http" if self._settings.tls is None else "https"
        return f"{scheme}://{url_host(self._settings.host)}:{self.port}/"

    @property
    def websocket_url(self) -> str:
        """The WebSocket's address, for a client on this machine."""
        scheme = "ws" if self._settings.tls is None else "wss"
        return f"{scheme}://{url_host(self._settings.host)}:{self.port}{WEBSOCKET_PATH}"

    async def start(self) -> None:
        """Bind and serve. Raises :class:`AddressInUse` or another :class:`BindError`."""
        settings = self._settings
        self._services = Services(settings, self._bus, self._switchboard)
        self._health = Health(self._services, self._bus)
        self._site = site = Site(self._services, self._health, self._files)
        listener = Listener(
            site,
            tls=None if settings.tls is None else settings.tls.context,
            handshake_s=settings.hello_timeout_s,
            shutdown_s=settings.close_timeout_s,
        )
        try:
            await listener.open(settings.host, settings.port)
        except OSError as error:
            raise _bind_error(settings, error) from error
        self._listener = listener
        self._port = listener.port
        if isinstance(settings.verifier, KeyHolder):
            settings.verifier.fetch_keys()
        settings.metrics.watch(self._population)
        self._look_after(time.monotonic())
        self._record("server.started")
        log.info("listening on %s", self.url)

    async def drain(self) -> None:
        """Send all clients elsewhere, not all at once. Nobody new is let in from now on, and
        ``/readyz`` says so; members keep their seats, for whichever server they come to.

        Cancelling it leaves the rest to :meth:`close`.
        """
        if self._listener is None or self._health.draining:
            return
        self._health.draining = True
        self._settings.metrics.draining(True)
        self._record("server.draining")
        clients = list(self._services.connections)
        log.info("draining: %d clients", len(clients))
        per_s = max(self._settings.drain_per_s, len(clients) / self._settings.drain_s)
        step = max(1, round(per_s * DRAIN_STEP_S))
        for first in range(0, len(clients), step):
            if first:
                await asyncio.sleep(step / per_s)
            for connection in clients[first : first + step]:
                connection.close(_SHUTTING_DOWN)
        # Each ends within its close_timeout_s.
        await self._services.emptied()

    async def close(self) -> None:
        """Tell the clients, close their connections and wait until all have ended."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        self._health.draining = True
        listener.close()
        if self._looking_after is not None:
            self._looking_after.cancel()
        for connection in tuple(self._services.connections):
            connection.close(_SHUTTING_DOWN)
        for requesting in tuple(self._site.requesting):
            # Browsers open connections in advance; without a request these would be waited for.
            requesting.abort()
        # Each ends within its close_timeout_s.
        await self._services.emptied()
        await self._services.finish()
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

    def _look_after(self, due: float) -> None:
        """What has to be looked at from time to time."""
        now = time.monotonic()
        metrics, tls = self._settings.metrics, self._settings.tls
        metrics.loop_lag(now - due)
        metrics.bus_available(self._bus.available)
        if tls is not None:
            try:
                tls.reload()
            except TlsError as error:
                log.error("the certificate that was there before stays in use: %s", error)  # noqa: TRY400
        self._looking_after = asyncio.get_running_loop().call_later(
            LOOK_AFTER_S, self._look_after, now + LOOK_AFTER_S
        )

    def _population(self) -> Population:
        members: dict[str, int] = {}
        for connection in self._services.connections:
            if connection.is_member:
                members[connection.role] = members.get(connection.role, 0) + 1
        rooms = self._switchboard.rooms.values()
        away = sum(
            member.away_since is not None
            for room in rooms
            for member in room.state.members.values()
        )
        return Population(rooms=len(rooms), members=members, away=away)

    def _record(self, kind: RecordType) -> None:
        self._settings.records.put(Record(type=kind, at=time.time()))


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
