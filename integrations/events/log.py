"""What the event bus needs of a place that keeps events: one log, read by groups.

A *position* is where an event is in the log; positions grow, and begin with the log's own clock in
milliseconds (``1700000000000-0``). A *group* reads the log once between all its consumers: what one
has fetched is that one's until it is settled, buried, or taken over because nothing was heard of it
for a while. A group outlives its consumers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

NEWEST = "$"
"""A group that begins with what comes after it was opened."""

OLDEST = "0-0"
"""A group, or a reader, that begins with the oldest event that is still kept."""


class EventsUnavailable(Exception):
    """The log cannot be reached, or takes nothing, now. Trying again later may help."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What is to be kept: an encoded event, and the key that no other one has."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is kept."""

    position: str
    body: bytes
    group: str = ""
    """Not empty: for this group alone, which had it among its dead letters."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a consumer has to settle."""

    entry: Entry
    attempt: int
    """1 for the first time."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a group could not handle."""

    id: str
    body: bytes
    reason: str
    attempts: int
    at: float
    """When it was given up, in seconds of Unix time."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far behind a group is."""

    waiting: int
    """Events that nobody of the group has fetched."""

    pending: int
    """Events fetched and not settled."""

    lost: int
    """Events that were trimmed before the group fetched them."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What a log keeps. Raises :class:`ValueError` naming the wrong field."""

    events: int = 100_000
    """About how many events, at most."""

    seconds: float = 7 * 24 * 3600.0
    """For how long, in seconds."""

    dedupe_s: float = 120.0
    """How long a key is remembered, so that publishing it again changes nothing, in seconds."""

    dead_letters: int = 10_000
    """How many dead letters of a group."""

    def __post_init__(self) -> None:
        for name in ("events", "seconds", "dedupe_s", "dead_letters"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")


class EventLog(Protocol):
    """A place that keeps events. Any method may raise :class:`EventsUnavailable`."""

    async def append(self, events: Sequence[Appended]) -> list[str]:
        """Keep events, in order; their positions. A key that is remembered is not kept twice."""

    async def read(self, after: str, limit: int, wait_s: float = 0.0) -> list[Entry]:
        """What follows a position. With nothing there, waits up to ``wait_s`` seconds for it."""

    async def open_group(self, group: str, start: str) -> bool:
        """Make a group that begins after ``start``. One that is there stays as it is. True."""

    async def fetch(self, group: str, consumer: str, limit: int, wait_s: float) -> list[Delivery]:
        """Give the consumer what nobody of its group has had. Waits as :meth:`read` does."""

    async def take_over(
        self, group: str, consumer: str, limit: int, idle_s: float
    ) -> list[Delivery]:
        """Give the consumer what others fetched and did not settle or hold for ``idle_s``."""

    async def again(self, group: str, consumer: str, position: str) -> Delivery | None:
        """Count one more attempt at what the consumer has.

        None: it is not there any more, or another consumer has taken it over.
        """

    async def hold(self, group: str, consumer: str, positions: Sequence[str]) -> None:
        """The consumer is still at work on these: nobody shall take them over yet."""

    async def give_back(self, group: str, consumer: str, tried: Mapping[str, int]) -> None:
        """The consumer will not go on with these positions, which have been tried so often: anyone
        may take them over at once."""

    async def settle(self, group: str, positions: Sequence[str]) -> None:
        """These are done."""

    async def bury(self, group: str, delivery: Delivery, reason: str) -> None:
        """This one is given up: it becomes a dead letter."""

    async def dead_letters(self, group: str, limit: int, after: str = OLDEST) -> list[DeadLetter]:
        """The group's dead letters whose ids follow ``after``."""

    async def redrive(self, group: str, ids: Sequence[str]) -> int:
        """Deliver dead letters again, to this group alone. How many there were."""

    async def discard(self, group: str, ids: Sequence[str]) -> int:
        """Forget dead letters. How many there were."""

    async def backlog(self, group: str) -> Backlog:
        """How far behind the group is."""

    async def close(self) -> None:
        """Release what the log holds. What waits ends with :class:`EventsUnavailable`."""
