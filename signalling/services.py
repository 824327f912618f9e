"""What the connections of one server share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .bus import Bus, MemoryBus
from .identity import TokenVerifier
from .limits import Backoff, Occupancy, RateLimiter, TokenBuckets
from .metrics import Metrics
from .settings import SignallingSettings
from .switchboard import Switchboard

if TYPE_CHECKING:
    from .connection import Connection

log = logging.getLogger(__name__)


class Services:
    """Made once the event loop runs."""

    def __init__(self, settings: SignallingSettings, bus: Bus, switchboard: Switchboard) -> None:
        limits = settings.limits
        self.settings = settings
        self.switchboard = switchboard
        self.verifier: TokenVerifier = settings.admission
        self.metrics: Metrics = settings.metrics
        self.limiter: RateLimiter = settings.rate_limiter or TokenBuckets(
            limits.rates, limits.max_keys
        )
        self.backoff = Backoff(limits)
        self.users = Occupancy(limits.max_connections_per_user)
        self.rooms = Occupancy(limits.max_connections)
        """Who is in each room; their number is :attr:`.limits.Limits.max_rooms`."""

        self.connections: set[Connection] = set()
        self._emptied = asyncio.Event()
        self.publishes_at_once = isinstance(bus, MemoryBus)
        """Whether publishing on the bus never waits."""

        self.now: Callable[[], float] = time.monotonic
        """The clock of limits, deadlines and round trips, in seconds. Not every event loop's own is
        as fine."""

        self.unix_time: Callable[[], float] = time.time
        self._tasks: set[asyncio.Task[None]] = set()

    def came(self, connection: Connection) -> None:
        """A WebSocket is open."""
        self.connections.add(connection)
        self.metrics.connection_opened()

    def went(self, connection: Connection, code: int) -> None:
        """It has ended."""
        self.connections.discard(connection)
        self.metrics.connection_closed(code)
        if not self.connections:
            self._emptied.set()

    async def emptied(self) -> None:
        """Wait until no WebSocket is open."""
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it as a task, which :meth:`finish` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def finish(self) -> None:
        """Wait until nothing runs any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the server failed", exc_info=error)
            self.metrics.internal_error()
