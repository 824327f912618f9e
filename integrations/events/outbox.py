"""A way to publish that never waits: a bounded queue, and one task that empties it into the bus."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice

from .bus import EventBus
from .envelope import Event, EventError
from .log import EventsUnavailable

log = logging.getLogger(__name__)

_TOGETHER = 256
_PAUSE_S = 0.5


class Outbox:
    """Publishes what :meth:`put` takes, in order. Use from one event loop.

    The bus stays the caller's: close it afterwards.
    """

    def __init__(self, bus: EventBus, *, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError("capacity: takes 1 or more")
        self.published = 0
        self.dropped = 0
        """Events that came while the queue was full, or were left in it at the end."""

        self.refused = 0
        """Events that may not be published."""

        self._bus = bus
        self._capacity = capacity
        self._waiting: deque[Event] = deque()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Events that are not published yet."""
        return len(self._waiting)

    def put(self, event: Event) -> bool:
        """Publish it soon. False, and counted: the queue is full, or closed."""
        if self._closed or len(self._waiting) >= self._capacity:
            if not self.dropped:
                log.error("Events are dropped: %d wait to be published", len(self._waiting))
            self.dropped += 1
            return False
        self._waiting.append(event)
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._publish(), name="events-outbox")
        return True

    async def close(self, patience_s: float = 5.0) -> None:
        """Publish what waits, for so long; what is left then is dropped. May be called again."""
        self._closed = True
        self._more.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=patience_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting:
            log.error("%d events were not published", len(self._waiting))
            self.dropped += len(self._waiting)
            self._waiting.clear()

    async def _publish(self) -> None:
        away, together = False, _TOGETHER
        while self._waiting or not self._closed:
            batch = list(islice(self._waiting, together))
            if not batch:
                self._more.clear()
                await self._more.wait()
                continue
            try:
                await self._bus.publish(*batch)
            except EventsUnavailable as error:
                if not away:
                    log.warning("Events wait to be published: %s", error)
                away = True
                await asyncio.sleep(_PAUSE_S)
                continue
            except EventError as error:
                if len(batch) > 1:  # one of them: which one is found by itself
                    together = 1
                    continue
                log.warning("An event is refused: %s", error)
                self.refused += 1
            else:
                self.published += len(batch)
                together = min(_TOGETHER, 2 * together)
            if away:
                log.info("Events are published again")
            away = False
            for _ in batch:
                self._waiting.popleft()
