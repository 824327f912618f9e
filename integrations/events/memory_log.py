"""A :class:`.log.EventLog` inside one process."""

from __future__ import annotations

import asyncio
import bisect
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .log import (
    NEWEST,
    Appended,
    Backlog,
    DeadLetter,
    Delivery,
    Entry,
    EventsUnavailable,
    Retention,
)

_SWEEP = 1024
"""Trimmed entries are let go of so many at a time: taking one off a list's head costs a copy."""


def order(position: str) -> tuple[int, int]:
    """A position as numbers. Raises :class:`ValueError` for what is none."""
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number or 0)


@dataclass(slots=True)
class _Pending:
    entry: Entry
    consumer: str
    since: float
    attempts: int


@dataclass(slots=True)
class _Group:
    next: int
    """The number, among all entries ever, of the first that nobody has fetched."""

    lost: int = 0
    pending: dict[str, _Pending] = field(default_factory=dict)
    dead: dict[str, DeadLetter] = field(default_factory=dict)


class MemoryLog:
    """Keeps events as long as the process lives."""

    def __init__(
        self, retention: Retention | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.retention = retention or Retention()
        self._clock = clock
        self._entries: list[Entry] = []
        self._orders: list[tuple[int, int]] = []
        self._trimmed = 0
        """How many of :attr:`_entries`, from its head, are trimmed and not let go of yet."""

        self._dropped = 0
        """How many entries there were before the first of :attr:`_entries`."""

        self._last = (0, 0)
        self._keys: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._groups: dict[str, _Group] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def append(self, events: Sequence[Appended]) -> list[str]:
        self._check_open()
        now = self._clock()
        self._forget_keys(now)
        positions = []
        for event in events:
            known = self._keys.get(event.key)
            if known is None:
                known = self._keys[event.key] = (self._add(now, event.body), now)
            positions.append(known[0])
        self._trim(now)
        self._wake()
        return positions

    async def read(self, after: str, limit: int, wait_s: float = 0.0) -> list[Entry]:
        start = self._last if after == NEWEST else order(after)
        first = self._after(start)
        if first == len(self._entries) and wait_s > 0:
            await self._wait(wait_s)
            first = self._after(start)
        self._check_open()
        return self._entries[first : first + limit]

    async def open_group(self, group: str, start: str) -> bool:
        self._check_open()
        if group not in self._groups:
            index = len(self._entries) if start == NEWEST else self._after(order(start))
            self._groups[group] = _Group(self._dropped + index)
        return True

    async def fetch(self, group: str, consumer: str, limit: int, wait_s: float) -> list[Delivery]:
        state = self._group(group)
        if state.next >= self._dropped + len(self._entries) and wait_s > 0:
            await self._wait(wait_s)
        self._check_open()
        first = max(state.next - self._dropped, self._trimmed)
        entries = self._entries[first : first + limit]
        state.next = self._dropped + first + len(entries)
        now = self._clock()
        for entry in entries:
            state.pending[entry.position] = _Pending(entry, consumer, now, 1)
        return [Delivery(entry, 1) for entry in entries]

    async def take_over(
        self, group: str, consumer: str, limit: int, idle_s: float
    ) -> list[Delivery]:
        now = self._clock()
        idle = [p for p in self._group(group).pending.values() if now - p.since >= idle_s]
        return [self._attempt(pending, consumer, now) for pending in idle[:limit]]

    async def again(self, group: str, consumer: str, position: str) -> Delivery | None:
        now = self._clock()
        pending = self._group(group).pending.get(position)
        if pending is None or pending.consumer != consumer:
            return None
        return self._attempt(pending, consumer, now)

    async def hold(self, group: str, consumer: str, positions: Sequence[str]) -> None:
        now = self._clock()
        for pending in self._had(group, consumer, positions):
            pending.since = now

    async def give_back(self, group: str, consumer: str, tried: Mapping[str, int]) -> None:
        for pending in self._had(group, consumer, tried):
            pending.since = float("-inf")
            pending.attempts = tried[pending.entry.position]

    async def settle(self, group: str, positions: Sequence[str]) -> None:
        pending = self._group(group).pending
        for position in positions:
            pending.pop(position, None)

    async def bury(self, group: str, delivery: Delivery, reason: str) -> None:
        state, now = self._group(group), self._clock()
        if state.pending.pop(delivery.entry.position, None) is None:
            return
        letter = DeadLetter(
            self._next_position(now), delivery.entry.body, reason, delivery.attempt, now
        )
        state.dead[letter.id] = letter
        while len(state.dead) > self.retention.dead_letters:
            del state.dead[next(iter(state.dead))]

    async def dead_letters(self, group: str, limit: int, after: str = "0-0") -> list[DeadLetter]:
        start = order(after)
        letters = [d for d in self._group(group).dead.values() if order(d.id) > start]
        return letters[:limit]

    async def redrive(self, group: str, ids: Sequence[str]) -> int:
        now, letters = self._clock(), self._take_dead(group, ids)
        for letter in letters:
            self._add(now, letter.body, group)
        self._wake()
        return len(letters)

    async def discard(self, group: str, ids: Sequence[str]) -> int:
        return len(self._take_dead(group, ids))

    async def backlog(self, group: str) -> Backlog:
        state = self._group(group)
        end = self._dropped + len(self._entries)
        return Backlog(max(0, end - state.next), len(state.pending), state.lost)

    async def close(self) -> None:
        self._closed = True
        self._wake()

    def _check_open(self) -> None:
        if self._closed:
            raise EventsUnavailable("the event log is closed")

    def _group(self, name: str) -> _Group:
        self._check_open()
        if name not in self._groups:
            raise ValueError(f"group: {name!r} was not opened")
        return self._groups[name]

    def _had(self, group: str, consumer: str, positions: Iterable[str]) -> Iterable[_Pending]:
        known = self._group(group).pending
        found = (known.get(position) for position in positions)
        return [p for p in found if p is not None and p.consumer == consumer]

    @staticmethod
    def _attempt(pending: _Pending, consumer: str, now: float) -> Delivery:
        pending.consumer, pending.since = consumer, now
        pending.attempts += 1
        return Delivery(pending.entry, pending.attempts)

    def _take_dead(self, group: str, ids: Sequence[str]) -> list[DeadLetter]:
        dead = self._group(group).dead
        return [dead.pop(id) for id in dict.fromkeys(ids) if id in dead]

    def _next_position(self, now: float) -> str:
        # Never behind the last one, even where the clock is set back.
        milliseconds, number = int(now * 1000), 0
        if milliseconds <= self._last[0]:
            milliseconds, number = self._last[0], self._last[1] + 1
        self._last = (milliseconds, number)
        return f"{milliseconds}-{number}"

    def _add(self, now: float, body: bytes, group: str = "") -> str:
        position = self._next_position(now)
        self._entries.append(Entry(position, body, group))
        self._orders.append(self._last)
        return position

    def _after(self, start: tuple[int, int]) -> int:
        return max(self._trimmed, bisect.bisect_right(self._orders, start))

    def _trim(self, now: float) -> None:
        kept_since = (int((now - self.retention.seconds) * 1000), 0)
        by_age = bisect.bisect_left(self._orders, kept_since)
        self._trimmed = max(self._trimmed, len(self._entries) - self.retention.events, by_age)
        for group in self._groups.values():
            gone = self._dropped + self._trimmed - group.next
            if gone > 0:
                group.lost += gone
                group.next += gone
        if self._trimmed >= _SWEEP:
            del self._entries[: self._trimmed], self._orders[: self._trimmed]
            self._dropped += self._trimmed
            self._trimmed = 0

    def _forget_keys(self, now: float) -> None:
        while self._keys:
            _, since = next(iter(self._keys.values()))
            few = len(self._keys) <= self.retention.events
            if few and now - since < self.retention.dedupe_s:
                return
            self._keys.popitem(last=False)

    async def _wait(self, seconds: float) -> None:
        self._check_open()
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(woken)
        try:
            await asyncio.wait([woken], timeout=seconds)
        finally:
            if woken in self._waiters:
                self._waiters.remove(woken)

    def _wake(self) -> None:
        while self._waiters:
            woken = self._waiters.popleft()
            if not woken.done():
                woken.set_result(None)
