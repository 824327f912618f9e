"""What one event costs a room, without a server: the state machine alone, in a small room and in a
large one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from peer.grants import Grants
from signalling.messages import Candidate, Permission
from signalling.rooms import Away, Join, Resume, Room, RoomEvent, Say

_HASH = "0" * 64


class Crowd:
    """A room with a host and ``viewers``."""

    def __init__(self, viewers: int) -> None:
        self.viewers = viewers
        self.room = Room("doom")
        self._apply([_join("host", "host")])
        self.join_s = self._apply([_join(f"v{n}", "viewer") for n in range(viewers)])
        """CPU seconds that a viewer's coming took."""

    def relay_s(self, rounds: int, size: int) -> float:
        """CPU seconds that handing one message of ``size`` bytes on takes."""
        message = Candidate("host", "c" * size)
        say = Say("v0", 2.0, message)
        return self._apply([say] * rounds)

    def return_s(self) -> float:
        """CPU seconds that losing a viewer and having it back takes, when all are lost at once."""
        seq = self.room.state.seq
        away = [Away(f"v{n}", 3.0) for n in range(self.viewers)]
        back = [_join(f"w{n}", "viewer", Resume(f"v{n}", _HASH, seq)) for n in range(self.viewers)]
        return self._apply(away) + self._apply(back)

    def snapshot_s(self) -> float:
        """CPU seconds for a snapshot and a room that is made of it."""
        return _cpu_s(lambda: Room("doom").restore(self.room.snapshot()))

    def _apply(self, events: Iterable[RoomEvent]) -> float:
        events = list(events)
        room = self.room

        def apply() -> None:
            for event in events:
                room.apply(event)
                room.next_due()

        return _cpu_s(apply) / len(events)


def grants_allow_s(rounds: int, members: int) -> float:
    """CPU seconds that the host's question takes which it asks before every input event."""
    grants = Grants()
    for number in range(members):
        grants.permit(f"v{number}", [Permission("watch"), Permission("speak")])
    grants.permit("player", [Permission("watch"), Permission("pad:1", 10.0)])

    def ask() -> None:
        for _ in range(rounds):
            grants.allows("player", "pad:1", 5.0)

    return _cpu_s(ask) / rounds


def _join(link: str, role: str, resume: Resume | None = None) -> Join:
    subject = link if resume is None else resume.peer
    return Join(
        link=link,
        at=1.0,
        subject=subject,
        role=role,  # type: ignore[arg-type]
        secret_hash=_HASH,
        resume=resume,
    )


def _cpu_s(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
