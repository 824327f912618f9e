"""Finds members: by link, by role, by what they wait for. Derived from the state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain

from ..messages import Role
from .permissions import PROMOTABLE, ROLES, STAFF
from .state import Member


class Roster:
    """The members of a room, looked at from several sides.

    Who changes sides becomes the newest, here and in ``members``: so that a roster made anew from a
    snapshot has everyone in the same order.
    """

    def __init__(self, members: dict[str, Member]) -> None:
        """``members`` by peer id; stays shared with the caller."""
        self.members = members
        self.links: dict[str, Member] = {}
        self.away: dict[str, Member] = {}
        self.waiting: dict[str, Member] = {}
        self.timed: dict[str, Member] = {}
        """Who may do something until a certain time."""

        self._subjects: dict[str, dict[str, Member]] = {}
        self._back_by: list[tuple[float, str]] = []
        """A heap of when those who are away are given up; some have come back or gone since."""

        self._roles: dict[Role, dict[str, Member]] = {role: {} for role in ROLES}
        for member in members.values():
            self._file(member)

    @property
    def host(self) -> Member | None:
        return next(iter(self._roles["host"].values()), None)

    @property
    def viewers(self) -> int:
        """How many are in besides the host."""
        return sum(len(group) for role, group in self._roles.items() if role != "host")

    @property
    def guests(self) -> int:
        """How many are in besides the host and its staff."""
        return sum(len(group) for role, group in self._roles.items() if role not in STAFF)

    def under(self, subject: str) -> Iterable[Member]:
        """All members under this subject, those who wait too."""
        return tuple(self._subjects.get(subject, {}).values())

    def places(self, subject: str) -> int:
        """How many under this subject are in or wait, those of the staff not counted."""
        return sum(member.role not in STAFF for member in self.under(subject))

    def sessions(self, member: Member) -> list[Member]:
        """Of whom is decided what is decided of ``member``: itself, and the others of its user that
        are in (:mod:`.rulings`).
        """
        if member.shared or member.role not in PROMOTABLE:
            return [member]
        return [
            other
            for other in self.under(member.subject)
            if other.role in PROMOTABLE and not other.waiting
        ]

    def of(self, roles: Iterable[Role]) -> Iterator[Member]:
        """Those who are in with one of these roles, by role and then oldest first."""
        wanted = frozenset(roles)
        groups = (group.values() for role, group in self._roles.items() if role in wanted)
        return chain.from_iterable(groups)

    def add(self, member: Member) -> None:
        self.members[member.peer] = member
        self._file(member)

    def remove(self, member: Member) -> None:
        del self.members[member.peer]
        del self.links[member.link]
        for index in (self.away, self.waiting, self.timed, self._roles[member.role]):
            index.pop(member.peer, None)
        same = self._subjects[member.subject]
        del same[member.peer]
        if not same:
            del self._subjects[member.subject]

    def relink(self, member: Member, link: str) -> None:
        """The member goes on over another connection, and is there."""
        del self.links[member.link]
        member.link = link
        self.links[link] = member
        member.away_since = None
        self.away.pop(member.peer, None)

    def set_away(self, member: Member, at: float) -> None:
        member.away_since = at
        self._file_away(member)

    @property
    def next_lost(self) -> Member | None:
        """Who is given up next, if nobody comes back."""
        while self._back_by:
            back_by, peer = self._back_by[0]
            member = self.away.get(peer)
            if member is not None and member.back_by == back_by:
                return member
            heappop(self._back_by)
        return None

    def let_in(self, member: Member, role: Role) -> None:
        self.remove(member)
        member.waiting, member.role = False, role
        self.add(member)

    def set_role(self, member: Member, role: Role) -> None:
        self.remove(member)
        member.role = role
        self.add(member)

    def note_times(self, member: Member) -> None:
        """After a change of what the member is granted."""
        if any(until is not None for until in member.granted.values()):
            self.timed[member.peer] = member
        else:
            self.timed.pop(member.peer, None)

    def _file(self, member: Member) -> None:
        self.links[member.link] = member
        self._subjects.setdefault(member.subject, {})[member.peer] = member
        if member.waiting:
            self.waiting[member.peer] = member
        else:
            self._roles[member.role][member.peer] = member
        if member.away_since is not None:
            self._file_away(member)
        self.note_times(member)

    def _file_away(self, member: Member) -> None:
        self.away[member.peer] = member
        heappush(self._back_by, (member.back_by, member.peer))
