"""How far a server is with a room's log: what to let through, and what others may lack.

No I/O and no clock. :class:`.shared_room.SharedRoom` brings entries from three sides (the channel,
the answers to its own publishing, and what it reads after an outage); whatever comes twice, late or
after a gap, :class:`RoomCopy` lets each through once and in the log's order. It keeps the latest
ones, for a Redis that has lost them.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from ..rooms.events import RoomEvent
from .wire import Entry, RedisDataError, State, encode_event, link_change


class Gap(Exception):
    """The copy lacks something: the room must be entered again."""


class RoomCopy:
    """Follows one room for the server ``server``.

    Keeps at most ``length`` entries, none older than ``age_s`` by the clock of the events.
    """

    def __init__(self, server: str, *, length: int, age_s: float) -> None:
        self._server = server
        self._length = length
        self._age_s = age_s
        self.epoch = ""
        """The epoch that was entered last; "" before the first time."""
        self.position = 0
        """The n of the last entry taken."""
        self.mark = ""
        """The :attr:`.wire.Entry.mark` there."""
        self.links: dict[str, str] = {}
        """Who is connected: link -> server."""
        self.seq: dict[str, int] = {}
        """The greatest q of each server that was taken."""
        self.latest: deque[Entry] = deque()
        self._mark_before = ""
        """The mark of the entry before the latest ones."""
        self.alone_after: tuple[int, str] | None = None
        """Position and mark after which entries are this server's own and may not be in Redis."""

    def take(self, epoch: str, entry: Entry) -> bool:
        """Whether an entry that came is the next one, and to be delivered. Raises :class:`Gap`."""
        if epoch != self.epoch or entry.n > self.position + 1:
            raise Gap
        if entry.n <= self.position:
            known = self.entry_at(entry.n)
            if known is not None and known.mark != entry.mark:
                raise Gap  # another event at a place already passed: Redis has gone back
            return False
        self._advance(entry)
        return True

    def take_local(self, q: int, event: RoomEvent) -> Entry:
        """The next entry, of this server's own, that does not wait for Redis."""
        entry = Entry(self.position + 1, self._server, q, event, encode_event(event))
        if self.alone_after is None:
            self.alone_after = self.position, self.mark
        self._advance(entry)
        return entry

    def follow(self, entries: list[Entry]) -> list[Entry]:
        """Those of the entries that are to be delivered. Raises :class:`RedisDataError`."""
        news = [entry for entry in entries if entry.n > self.position]
        self._check_order(self.position, news)
        for entry in news:
            self._advance(entry)
        return news

    def adopt(self, state: State) -> None:
        """Be where ``state`` is. Raises :class:`RedisDataError`."""
        self._check_order(state.base, state.entries)
        if state.base + len(state.entries) != state.n:
            raise RedisDataError(f"a room's keys: the log ends before event {state.n}")
        self.latest.clear()
        self.mark = "" if state.entries else state.mark  # of the entry at the base: not known
        for entry in state.entries:
            self._advance(entry)
        self.position, self.mark = state.n, state.mark
        self.links, self.seq = dict(state.links), dict(state.seq)

    def entry_at(self, n: int) -> Entry | None:
        """The entry at ``n``, if it is one of the latest."""
        first = self.position - len(self.latest) + 1
        return self.latest[n - first] if first <= n <= self.position else None

    def entries_after(self, n: int, mark: str) -> list[Entry] | None:
        """What comes after the entry with that mark at ``n``; ``None``: not known here."""
        first = self.position - len(self.latest) + 1
        if n > self.position or n + 1 < first:
            return None
        if n == self.position:
            known = self.mark
        elif n + 1 == first:
            known = self._mark_before
        else:
            known = self.latest[n - first].mark
        # Every entry has a mark: without one is where a log begins, or what is not known.
        return list(self.latest)[n + 1 - first :] if known == mark and (mark or not n) else None

    def _advance(self, entry: Entry) -> None:
        if not self.latest:
            self._mark_before = self.mark
        self.position, self.mark = entry.n, entry.mark
        if entry.q > self.seq.get(entry.server, 0):
            self.seq[entry.server] = entry.q
        match link_change(entry.event):
            case "in", link:
                self.links[link] = entry.server
            case "out", link:
                self.links.pop(link, None)
        latest = self.latest
        latest.append(entry)
        oldest = entry.event.at - self._age_s
        while len(latest) > self._length or (len(latest) > 1 and latest[0].event.at < oldest):
            self._mark_before = latest.popleft().mark

    @staticmethod
    def _check_order(position: int, entries: list[Entry]) -> None:
        places = [position, *(entry.n for entry in entries)]
        if any(there != here + 1 for here, there in pairwise(places)):
            raise RedisDataError(f"a room's keys: the log has a hole after event {position}")
