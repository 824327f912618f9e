"""Who may come in: the room's bans, lock, policy and capacity, in this order.

A ban lasts until it ends or is lifted, and no longer than the room: until the last one has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ..messages import BanEntry, Error, Policy, RoomSettings
from .events import Join, Mark
from .permissions import STAFF, UNBANNABLE
from .refusal import Refusal

MAX_WAITING = 256
"""How many may wait to be let in."""

MAX_PLACES = 2
"""How many sessions of one user may wait, and how many may be in a room with a capacity. Those who
came by one invitation share a subject, and each has a place of their own."""

ADMITTING: Mapping[Policy, frozenset[Mark]] = {
    "open": frozenset(),
    "link": frozenset({"link", "invite"}),
    "approval": frozenset({"invite"}),
    "followers": frozenset({"follower", "subscriber", "invite"}),
    "subscribers": frozenset({"subscriber", "invite"}),
    "invite": frozenset({"invite"}),
}
"""One of which marks a guest needs. Without one, ``open`` lets in, ``approval`` lets wait, and the
others refuse."""

_WANTED: Mapping[Policy, str] = {
    "link": "it takes a token that names this room, or an invitation",
    "followers": "it is for the host's followers",
    "subscribers": "it is for the host's subscribers",
    "invite": "it is for those with an invitation",
}

_TOO_MANY = (
    f"you are here {MAX_PLACES} times already, or wait to be let in: close another window first"
)


def judge(
    join: Join,
    settings: RoomSettings,
    ban: BanEntry | None,
    *,
    host_subject: str | None,
    guests: int,
    waiting: int,
    places: int,
    now: float,
) -> Literal["in", "waits"]:
    """Whether a guest may come in, or waits for the host's word. Raises :class:`.Refusal`.

    ``guests`` are in besides the staff, and ``places`` of all who are in or wait, the staff not
    counted, are of the subject of ``join``.
    """
    if join.subject == host_subject:
        return "in"
    if join.role not in UNBANNABLE:
        refuse_banned(ban, now)
    if join.role in STAFF:
        return "in"
    if settings.locked:
        raise Refusal("room-locked", "the room is locked: nobody new comes in now", retry=True)
    too_many = places >= MAX_PLACES and "invite" not in join.marks
    if settings.policy != "open" and not ADMITTING[settings.policy] & join.marks:
        if settings.policy != "approval":
            raise Refusal("not-admitted", _closed_words(settings.policy))
        if too_many:
            raise Refusal("conflict", _TOO_MANY, retry=True)
        if waiting >= MAX_WAITING:
            raise Refusal("room-full", "too many wait to be let in: try again later", retry=True)
        return "waits"
    if settings.capacity and too_many:
        raise Refusal("conflict", _TOO_MANY, retry=True)
    refuse_if_full(settings, guests)
    return "in"


def refuse_banned(ban: BanEntry | None, now: float) -> None:
    """Raises :class:`.Refusal` while the ban counts."""
    if ban is not None and (ban.until is None or now < ban.until):
        raise Refusal("banned", "you are kept out of this room")


def refuse_if_full(settings: RoomSettings, guests: int) -> None:
    """Raises :class:`.Refusal` when there is no place for one more guest."""
    if settings.capacity and guests >= settings.capacity:
        raise Refusal("room-full", f"all {settings.capacity} places are taken", retry=True)


def not_admitted(policy: Policy) -> Error:
    """Why someone has to go whom the room's new policy does not let in."""
    if policy == "approval":
        return Error("not-admitted", "the host lets people in one by one: knock again", retry=True)
    return Error("not-admitted", _closed_words(policy))


def _closed_words(policy: Policy) -> str:
    return f"this room is not open to everyone: {_WANTED[policy]}"
