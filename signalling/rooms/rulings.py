"""What the staff has decided live of single people, kept for when they come anew.

A member that comes back to its session finds itself as it was. Who leaves, and opens the link
again, is another member: what was decided is found by its subject then, as a ban is, for as long
as the room lasts.

All sessions of a user are one: what is decided of one is decided of all, those that are in and
those that come. Those who came by one invitation share a subject, and nothing tells them apart: of
those who are in, each is judged alone, and what is given to one is theirs while they are there.
What is taken from one is taken from all who come by that invitation from then on: who was made
less must not become more by coming again.

It is kept of those alone whose role may be changed live: hosts and admins come in as their tokens
say.
"""

from __future__ import annotations

import msgspec

from ..messages import Capability, Role
from .permissions import CAPABILITIES, PROMOTABLE
from .state import Member, RoomState, Ruling

MAX_RULINGS = 500
"""Of how many subjects something is kept; the one that was decided longest ago ends first."""

RANKS: tuple[Role, ...] = ("viewer", "player", "moderator")
"""Those of :data:`.PROMOTABLE`, the least first."""

_NOTHING = Ruling()


def role_under(ruling: Ruling | None, role: Role) -> Role:
    """What somebody comes in as whose token says ``role``."""
    if ruling is None or role not in PROMOTABLE:
        return role
    if ruling.least is not None:
        role = max(role, ruling.least, key=RANKS.index)
    if ruling.most is not None:
        role = min(role, ruling.most, key=RANKS.index)
    return role


def abide(member: Member, state: RoomState) -> None:
    """Someone who comes in may do what was decided before they came."""
    ruling = state.rulings.get(member.subject)
    if ruling is not None and member.role in PROMOTABLE:
        member.granted = _unended(ruling.granted, state.clock)
        member.revoked = ruling.revoked


def with_role(ruling: Ruling | None, target: Member, role: Role) -> Ruling:
    """The ruling once ``target`` is made a ``role``."""
    ruling = ruling or _NOTHING
    rank, token_rank = RANKS.index(role), RANKS.index(target.token_role)
    if target.shared:
        if rank >= token_rank:
            return ruling
        return msgspec.structs.replace(ruling, most=min(role, ruling.most or role, key=RANKS.index))
    less = rank < max(token_rank, RANKS.index(target.role))
    return msgspec.structs.replace(
        ruling, least=role if rank > token_rank else None, most=role if less else None
    )


def with_grant(
    ruling: Ruling | None, target: Member, capability: Capability, until: float | None
) -> Ruling:
    """The ruling once ``target`` is granted ``capability``."""
    ruling = ruling or _NOTHING
    if target.shared:
        return ruling
    revoked = tuple(name for name in ruling.revoked if name != capability)
    granted = ruling.granted
    if capability not in CAPABILITIES[target.role]:
        granted = {**granted, capability: until}
    return msgspec.structs.replace(ruling, granted=granted, revoked=revoked)


def without(ruling: Ruling | None, target: Member, capability: Capability) -> Ruling:
    """The ruling once ``capability`` is revoked from ``target``."""
    ruling = ruling or _NOTHING
    granted = {name: until for name, until in ruling.granted.items() if name != capability}
    revoked = ruling.revoked
    # What a single one of many had live says nothing of the others.
    if capability in CAPABILITIES[target.token_role if target.shared else target.role]:
        revoked = tuple(sorted({*revoked, capability}))
    return msgspec.structs.replace(ruling, granted=granted, revoked=revoked)


def keep(state: RoomState, target: Member, ruling: Ruling) -> None:
    """This is what holds of the subject of ``target`` from now on."""
    if target.role not in PROMOTABLE:
        return
    rulings = state.rulings
    ruling = msgspec.structs.replace(ruling, granted=_unended(ruling.granted, state.clock))
    rulings.pop(target.subject, None)
    if ruling != _NOTHING:
        rulings[target.subject] = ruling
    if len(rulings) > MAX_RULINGS:
        del rulings[next(iter(rulings))]


def _unended(granted: dict[Capability, float | None], now: float) -> dict[Capability, float | None]:
    return {name: until for name, until in granted.items() if until is None or until > now}
