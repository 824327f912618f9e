"""The event bus: publishers on one side, groups of subscribers on the other, a log between them.

::

    bus = EventBus(MemoryLog())          # or RedisLog: the same, for many processes
    await bus.publish(Event.of(StreamStarted(room="den"), source="/signalling/a"))

    async def announce(event: Event) -> None: ...
    bus.subscribe("announcer", announce, Route(("stream.*",)))

What :meth:`EventBus.publish` returned from is kept: every group gets it at least once, and, while
its consumers live, once (:mod:`.subscription` says when not).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from .envelope import Event, EventError, decode_event, encode_event, validate
from .log import (
    NEWEST,
    OLDEST,
    Appended,
    Backlog,
    DeadLetter,
    EventLog,
    EventsUnavailable,
)
from .middleware import Handler, Middleware, Outgoing
from .routing import Route
from .subscription import Subscription, SubscriptionSettings, check_group

log = logging.getLogger(__name__)

_READ = 256
_BACKOFF_S = (0.05, 0.5)

A = TypeVar("A")


@dataclass(frozen=True, kw_only=True)
class BusSettings:
    """Raises :class:`ValueError` naming the wrong field."""

    patience_s: float = 5.0
    """How long publishing goes on trying while the log is away, in seconds."""

    publishing: int = 64
    """How many calls of :meth:`EventBus.publish` are under way; others wait for their turn."""

    def __post_init__(self) -> None:
        if not self.patience_s >= 0:
            raise ValueError("patience_s: must not be negative")
        if self.publishing < 1:
            raise ValueError("publishing: takes 1 or more")


class EventBus:
    """Publishes to a log, and has handlers called for what is in it. Owns the log."""

    def __init__(
        self,
        log: EventLog,
        settings: BusSettings | None = None,
        *,
        outgoing: Sequence[Outgoing] = (validate,),
        incoming: Sequence[Middleware] = (),
    ) -> None:
        self.log = log
        self.settings = settings or BusSettings()
        self._outgoing = tuple(outgoing)
        self._incoming = tuple(incoming)
        self._turns = asyncio.Semaphore(self.settings.publishing)
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def publish(self, *events: Event) -> list[str]:
        """Keep the events; their positions in the log.

        Raises :class:`.envelope.EventError` for what may not be published (nothing is kept then),
        and :class:`.log.EventsUnavailable` when the log is away for longer than ``patience_s``:
        the events may have been kept all the same, and publishing them again is harmless.
        """
        bodies = [self._encode(event) for event in events]
        if not bodies:
            return []
        async with self._turns:
            return await self._patiently(lambda: self.log.append(bodies))

    def subscribe(
        self,
        group: str,
        handler: Handler,
        route: Route | None = None,
        settings: SubscriptionSettings | None = None,
    ) -> Subscription:
        """Have ``handler`` called for the group's events, of which each of its consumers gets some.

        All consumers of a group should have the same route: what one passes over is passed over.
        The subscription is closed with the bus. Needs a running loop.
        """
        subscription = Subscription(
            self.log, group, handler, route or Route(), settings, self._incoming
        )
        self._subscriptions.append(subscription)
        subscription.start()
        return subscription

    async def replay(
        self,
        *,
        since: datetime | float | None = None,
        after: str = "",
        route: Route | None = None,
        follow: bool = False,
    ) -> AsyncIterator[tuple[str, Event]]:
        """Read the log without being of a group: what was kept at or after ``since`` (by the log's
        clock; seconds of Unix time, or a moment), or what follows the position ``after``; the
        oldest first. With ``follow`` it goes on with what comes.

        What is no event is passed over. Raises :class:`.log.EventsUnavailable` as publishing does.
        """
        route = route or Route()
        position = after or _position_before(since)
        while True:
            wait_s = 0.25 if follow else 0.0
            entries = await self._patiently(lambda: self.log.read(position, _READ, wait_s))  # noqa: B023
            for entry in entries:
                position = entry.position
                with contextlib.suppress(EventError):
                    event = decode_event(entry.body)
                    if not entry.group and route.takes(event):
                        yield position, event
            if not entries and not follow:
                return

    async def dead_letters(
        self, group: str, limit: int = 100, after: str = OLDEST
    ) -> list[DeadLetter]:
        """What the group could not handle, the oldest first."""
        await self.log.open_group(check_group(group), NEWEST)
        return await self.log.dead_letters(group, limit, after)

    async def redrive(self, group: str, ids: Sequence[str]) -> int:
        """Deliver dead letters to the group once more. How many of them there were."""
        await self.log.open_group(check_group(group), NEWEST)
        return await self.log.redrive(group, ids)

    async def discard(self, group: str, ids: Sequence[str]) -> int:
        """Forget dead letters. How many of them there were."""
        await self.log.open_group(check_group(group), NEWEST)
        return await self.log.discard(group, ids)

    async def backlog(self, group: str) -> Backlog:
        """How far behind a group is."""
        await self.log.open_group(check_group(group), NEWEST)
        return await self.log.backlog(group)

    async def close(self) -> None:
        """Let handlers that run come to their end, then close the log. May be called again."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(subscription.close() for subscription in subscriptions))
        await self.log.close()

    def _encode(self, event: Event) -> Appended:
        for change in self._outgoing:
            event = change(event)
        return Appended(event.key, encode_event(event))

    async def _patiently(self, attempt: Callable[[], Awaitable[A]]) -> A:
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + self.settings.patience_s, _BACKOFF_S[0]
        while True:
            try:
                return await attempt()
            except EventsUnavailable:
                if loop.time() + pause_s > deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _BACKOFF_S[1])


def _position_before(since: datetime | float | None) -> str:
    """What comes right before everything that was kept from then on."""
    if since is None:
        return OLDEST
    moment = since.timestamp() if isinstance(since, datetime) else since
    milliseconds = int(moment * 1000)
    return f"{milliseconds - 1}-{2**63 - 1}" if milliseconds > 0 else OLDEST
