"""One consumer of a group: fetches, calls the handler, settles, tries again, gives up.

::

    fetch ─▶ route ─▶ handler ─┬▶ settled
      ▲        └ not for us ───┤
      │                        └ raised ─▶ pause ─▶ again … ─▶ after ``attempts``: dead letter
    take over what a dead consumer left

It fetches ``prefetch`` events at most and runs ``concurrency`` handlers at a time, so that a slow
handler makes the log longer and nothing else. With a concurrency of 1 events are handled in the
log's order, and one that fails holds up those behind it until it is done or given up.

An event is handled twice when this process, or the log, dies between the handler's end and the
settling; and when a handler is stuck for so long that this process no longer says that it holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .envelope import Event, EventError, decode_event
from .log import NEWEST, Delivery, EventLog, EventsUnavailable
from .middleware import Deduplicate, Handler, Middleware, wrapped
from .routing import Route

log = logging.getLogger(__name__)

_BACKOFF_S = (0.05, 0.5)
_WAIT_S = 0.25
_GROUP = re.compile(r"[A-Za-z0-9_.-]{1,64}")

A = TypeVar("A")


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """Raises :class:`ValueError` naming the wrong field."""

    start: str = NEWEST
    """Where a group that is not there yet begins: a position, NEWEST or OLDEST of :mod:`.log`."""

    consumer: str = ""
    """The consumer's name; empty: a new one."""

    prefetch: int = 64
    """How many events are fetched at a time."""

    concurrency: int = 1
    """How many handlers run at a time."""

    attempts: int = 5
    """How often an event is tried before it becomes a dead letter."""

    retry_s: float = 0.5
    """The pause after the first failure, in seconds; it doubles with each."""

    retry_most_s: float = 10.0
    """The longest pause, in seconds."""

    take_over_s: float = 30.0
    """How long a consumer must not be heard of before others take what it has, in seconds."""

    drain_s: float = 10.0
    """How long closing waits for handlers that run, in seconds."""

    def __post_init__(self) -> None:
        for name in ("prefetch", "concurrency", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: takes 1 or more")
        for name in ("retry_s", "retry_most_s", "take_over_s", "drain_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")
        if self.consumer and not _GROUP.fullmatch(self.consumer):
            raise ValueError("consumer: takes 1 to 64 letters, digits and _ . -")


def check_group(name: str) -> str:
    """The name. Raises :class:`ValueError` when it is none for a group."""
    if not _GROUP.fullmatch(name):
        raise ValueError("group: takes 1 to 64 letters, digits and _ . -")
    return name


class Subscription:
    """Made by :meth:`.bus.EventBus.subscribe`."""

    def __init__(
        self,
        log: EventLog,
        group: str,
        handler: Handler,
        route: Route,
        settings: SubscriptionSettings | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.group = check_group(group)
        self.settings = settings or SubscriptionSettings()
        self.consumer = self.settings.consumer or secrets.token_hex(8)
        self.handled = 0
        self.passed_over = 0
        """Events that the route did not take."""

        self.failures = 0
        """Attempts that raised."""

        self.dead = 0
        """Events given up."""

        self._log = log
        self._route = route
        self._once = Deduplicate()
        self._handler = wrapped(handler, [self._once, *middleware])
        self._slots = asyncio.Semaphore(self.settings.concurrency)
        self._held: dict[str, int] = {}
        """By position: how often it has been tried so far."""

        self._running: set[asyncio.Task[None]] = set()
        self._settled: list[str] = []
        self._to_settle = asyncio.Event()
        self._closing = asyncio.Event()
        self._away = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def duplicates(self) -> int:
        """Events that this process had handled before."""
        return self._once.duplicates

    def start(self) -> None:
        """Begin. Needs a running loop."""
        for work in (self._fetch(), self._settle(), self._hold()):
            self._tasks.append(asyncio.create_task(work, name=f"events-{self.group}"))

    async def close(self) -> None:
        """Fetch nothing more, wait for the handlers that run, settle, give back what is left."""
        if self._closing.is_set():
            await asyncio.gather(*self._tasks, return_exceptions=True)
            return
        self._closing.set()
        fetching, settling, holding = self._tasks
        await asyncio.wait([fetching], timeout=self.settings.drain_s)
        if self._running:
            await asyncio.wait(self._running, timeout=self.settings.drain_s)
        for task in (fetching, holding, *self._running):
            task.cancel()
        await asyncio.gather(fetching, holding, *self._running, return_exceptions=True)
        self._to_settle.set()
        await asyncio.wait([settling], timeout=self.settings.drain_s)
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
        with contextlib.suppress(EventsUnavailable):
            await self._log.give_back(self.group, self.consumer, self._held)

    async def _fetch(self) -> None:
        settings, loop = self.settings, asyncio.get_running_loop()
        while not self._closing.is_set():
            if await self._once_there(self._log.open_group(self.group, settings.start)):
                break
        next_look = loop.time()
        while not self._closing.is_set():
            deliveries: list[Delivery] | None = None
            if loop.time() >= next_look:
                next_look = loop.time() + settings.take_over_s / 3
                deliveries = await self._once_there(
                    self._log.take_over(
                        self.group, self.consumer, settings.prefetch, settings.take_over_s
                    )
                )
            if not deliveries:
                deliveries = await self._once_there(
                    self._log.fetch(self.group, self.consumer, settings.prefetch, _WAIT_S)
                )
            await self._hand_out(deliveries or [])

    async def _hand_out(self, deliveries: list[Delivery]) -> None:
        # What is taken over may be our own, when the log has not heard of us for a while.
        ours = [delivery for delivery in deliveries if delivery.entry.position not in self._held]
        # Held from now on: those that wait for a slot must not be taken over either.
        self._held.update((delivery.entry.position, delivery.attempt - 1) for delivery in ours)
        for delivery in ours:
            await self._slots.acquire()
            if self._closing.is_set():
                self._slots.release()
                return
            task = asyncio.create_task(self._deliver(delivery))
            self._running.add(task)
            task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Group %s: a delivery ended: %r", self.group, error)

    async def _deliver(self, delivery: Delivery) -> None:
        """Until it is settled, buried, or another consumer's."""
        if delivery.entry.group not in ("", self.group):
            self._done(delivery)
            return
        try:
            event = decode_event(delivery.entry.body)
        except EventError as error:
            await self._bury(delivery, f"no event: {error}")
            return
        attempt: Delivery | None = delivery
        while attempt is not None:
            if attempt.attempt > self.settings.attempts:
                await self._bury(attempt, "the consumers that had it died, or closed, every time")
                return
            self._held[attempt.entry.position] = attempt.attempt
            reason = await self._try(event)
            if not reason:
                self._done(attempt)
                return
            if attempt.attempt >= self.settings.attempts:
                await self._bury(attempt, reason)
                return
            attempt = await self._again(attempt)
        self._held.pop(delivery.entry.position, None)

    async def _try(self, event: Event) -> str:
        """Why it failed; empty when it did not."""
        try:
            if not self._route.takes(event):
                self.passed_over += 1
                return ""
            await self._handler(event)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its failure
            self.failures += 1
            log.warning(
                "Group %s could not handle %s %s: %r", self.group, event.type, event.id, error
            )
            return f"{type(error).__name__}: {error}"
        self.handled += 1
        return ""

    async def _again(self, failed: Delivery) -> Delivery | None:
        settings = self.settings
        pause_s = min(settings.retry_most_s, settings.retry_s * 2 ** (failed.attempt - 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause_s)
        if self._closing.is_set():
            raise asyncio.CancelledError
        return await self._until_done(
            lambda: self._log.again(self.group, self.consumer, failed.entry.position)
        )

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._until_done(lambda: self._log.bury(self.group, delivery, reason[:500]))
        self.dead += 1
        self._held.pop(delivery.entry.position, None)
        log.error(
            "Group %s gave up an event after %d attempts: %s", self.group, delivery.attempt, reason
        )

    def _done(self, delivery: Delivery) -> None:
        self._settled.append(delivery.entry.position)
        self._to_settle.set()

    async def _settle(self) -> None:
        """Tell the log what is done, together what was done while it was being told."""
        while True:
            await self._to_settle.wait()
            self._to_settle.clear()
            while self._settled:
                positions = self._settled[:1024]
                await self._until_done(lambda: self._log.settle(self.group, positions))  # noqa: B023
                del self._settled[: len(positions)]
                for position in positions:
                    self._held.pop(position, None)
            if self._closing.is_set() and not self._running and self._tasks[0].done():
                return

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(self.settings.take_over_s / 4)
            if self._held:
                await self._once_there(self._log.hold(self.group, self.consumer, list(self._held)))

    async def _until_done(self, attempt: Callable[[], Awaitable[A]]) -> A:
        """Try until the log is there."""
        pause_s = _BACKOFF_S[0]
        while True:
            try:
                result = await attempt()
            except EventsUnavailable as error:
                self._is_away(error)
            else:
                self._is_there()
                return result
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _BACKOFF_S[1])

    async def _once_there(self, attempt: Coroutine[Any, Any, A]) -> A | None:
        """Try once. Where the log is away: a pause, and None."""
        try:
            result = await attempt
        except EventsUnavailable as error:
            self._is_away(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _BACKOFF_S[1] / 2)
            return None
        self._is_there()
        return result

    def _is_away(self, error: EventsUnavailable) -> None:
        if not self._away:
            log.warning("Group %s waits for the event log: %s", self.group, error)
        self._away = True

    def _is_there(self) -> None:
        if self._away:
            log.info("Group %s has the event log again", self.group)
        self._away = False
