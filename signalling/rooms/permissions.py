"""Who may do what in a room: the tables, and nothing but tables.

:data:`MAY_SEND` says which messages each role may send, :data:`MAY_ADDRESS` to whom those that are
handed on may go, :data:`VISIBLE` whom each role sees. :data:`MAY_ACT_ON` and :data:`MAY_STEER` say
on whom a member of the staff may act, :data:`MAY_APPOINT` what it may make of others,
:data:`MAY_CONFIGURE` which settings it may change.

Viewers do not see each other: what a viewer's coming costs must not grow with the viewers there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ..messages import (
    Admit,
    Answer,
    Ban,
    Bye,
    Candidate,
    Capability,
    Chat,
    ClientMessage,
    Configure,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    ControlTake,
    FreshToken,
    Grant,
    Invite,
    Kick,
    Offer,
    Ping,
    Pong,
    Promote,
    Refused,
    Restart,
    Revoke,
    Role,
    RoomSettings,
    Trace,
    Unban,
)

ROLES: tuple[Role, ...] = get_args(Role)

STAFF: frozenset[Role] = frozenset({"host", "moderator", "admin"})
"""Who runs the room: let in whatever its policy, its lock and its capacity say."""

UNBANNABLE: frozenset[Role] = frozenset({"host", "admin"})
"""Whom no ban keeps out."""

_EVERYONE: frozenset[type[ClientMessage]] = frozenset({FreshToken, Bye, Ping, Pong, Trace, Chat})
_HOSTS: frozenset[type[ClientMessage]] = frozenset({Offer, Candidate, Refused})
_WATCHES: frozenset[type[ClientMessage]] = frozenset({Answer, Candidate, Restart})
_PLAYS: frozenset[type[ClientMessage]] = frozenset({ControlRequest, ControlRelease, ControlGive})
_RUNS: frozenset[type[ClientMessage]] = frozenset(
    {
        Admit,
        Ban,
        Configure,
        ControlDeny,
        ControlGrant,
        ControlTake,
        Grant,
        Invite,
        Kick,
        Promote,
        Revoke,
        Unban,
    }
)

MAY_SEND: Mapping[Role, frozenset[type[ClientMessage]]] = {
    "admin": _EVERYONE | _WATCHES | _PLAYS | _RUNS,
    "host": _EVERYONE | _HOSTS | _RUNS,
    "moderator": _EVERYONE | _WATCHES | _PLAYS | _RUNS,
    "player": _EVERYONE | _WATCHES | _PLAYS,
    "viewer": _EVERYONE | _WATCHES | _PLAYS,
}
"""Which messages each role may send once it is in a room. A viewer may ask the host for a control;
where the room gives them away by itself, only players and staff get one."""

MAY_ADDRESS: Mapping[Role, frozenset[Role]] = {
    "admin": frozenset({"host"}),
    "host": frozenset({"admin", "moderator", "player", "viewer"}),
    "moderator": frozenset({"host"}),
    "player": frozenset({"host"}),
    "viewer": frozenset({"host"}),
}
"""Whom what is handed on (offers, answers, candidates …) may be for."""

VISIBLE: Mapping[Role, frozenset[Role]] = {
    "admin": frozenset(ROLES),
    "host": frozenset(ROLES),
    "moderator": frozenset(ROLES),
    "player": frozenset({"admin", "host", "moderator", "player"}),
    "viewer": frozenset({"host", "player"}),
}
"""Whose coming, going and being away each role is told. Who waits to be let in is seen by the
staff alone."""

SEEN_BY: Mapping[Role, frozenset[Role]] = {
    seen: frozenset(role for role in ROLES if seen in VISIBLE[role]) for seen in ROLES
}
""":data:`VISIBLE`, the other way round."""

MAY_ACT_ON: Mapping[Role, frozenset[Role]] = {
    "admin": frozenset({"host", "moderator", "player", "viewer"}),
    "host": frozenset({"moderator", "player", "viewer"}),
    "moderator": frozenset({"player", "viewer"}),
    "player": frozenset(),
    "viewer": frozenset(),
}
"""Whom each role may admit, promote, kick and ban. Nobody may act on themselves."""

MAY_STEER: Mapping[Role, frozenset[Role]] = {
    "admin": frozenset({"admin", "moderator", "player", "viewer"}),
    "host": frozenset({"admin", "moderator", "player", "viewer"}),
    "moderator": frozenset({"moderator", "player", "viewer"}),
    "player": frozenset(),
    "viewer": frozenset(),
}
"""To and from whom each role may give and take controls and capabilities. It is the host's machine:
the host may take its controls back from anyone."""

MAY_APPOINT: Mapping[Role, frozenset[Role]] = {
    "admin": frozenset({"moderator", "player", "viewer"}),
    "host": frozenset({"moderator", "player", "viewer"}),
    "moderator": frozenset({"player", "viewer"}),
    "player": frozenset(),
    "viewer": frozenset(),
}
"""What each role may make of others, by promoting or inviting them."""

PROMOTABLE: frozenset[Role] = frozenset({"moderator", "player", "viewer"})
"""Whose role may be changed while they are there. A host can be put out by an admin, and is the
host until then."""

_ALL_SETTINGS = frozenset(RoomSettings.__struct_fields__)

MAY_CONFIGURE: Mapping[Role, frozenset[str]] = {
    "admin": _ALL_SETTINGS,
    "host": _ALL_SETTINGS,
    "moderator": frozenset({"locked", "chat"}),
    "player": frozenset(),
    "viewer": frozenset(),
}
"""Which of the room's settings each role may change."""

CAPABILITIES: Mapping[Role, frozenset[Capability]] = {
    "admin": frozenset({"watch", "speak", "moderate"}),
    "host": frozenset({"watch", "speak", "clipboard", "moderate"}),
    "moderator": frozenset({"watch", "speak", "moderate"}),
    "player": frozenset({"watch", "speak"}),
    "viewer": frozenset({"watch"}),
}
"""What each role may do without anyone's word. Controls are held by one member at a time, and given
by the rules of :mod:`.handover`."""

GRANTABLE: frozenset[Capability] = frozenset({"watch", "speak", "clipboard"})
"""What may be given to and taken from single members. ``moderate`` comes and goes with the role."""


def tag_of(kind: type[ClientMessage]) -> str:
    """The name of a message on the wire."""
    return str(kind.__struct_config__.tag)
