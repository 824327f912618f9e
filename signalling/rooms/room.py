"""The room: who is in it, who may say what to whom. A state machine without I/O or clock.

One host and any number of viewers share a room. :meth:`Room.apply` takes one :data:`RoomEvent` and
returns the :data:`Effect` list that the caller must carry out, in order, before the next event.
The same events in the same order give the same room and the same effects, wherever they are
applied: servers that share a bus each keep a copy, and each carries out the effects that concern
its own peers.

Membership moves through :data:`TRANSITIONS`::

    phase     host joins              viewer joins        host leaves        viewer leaves
    WAITING   admit, tell viewers     admit               -                  -
    HOSTED    refuse, probe the host  admit, tell host    tell viewers       tell host

Relayed messages pass :data:`MAY_SEND` (which message may this role send) and :data:`MAY_ADDRESS`
(to whom). What does not pass is answered with an error and changes nothing: a peer that has just
left is an ordinary race, not an offence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import msgspec

from ..messages import (
    Answer,
    Bye,
    Candidate,
    ClientMessage,
    Error,
    FreshToken,
    Offer,
    PeerJoined,
    PeerLeft,
    Ping,
    Pong,
    Refused,
    Relayed,
    Restart,
    Role,
    ServerMessage,
    Welcome,
)

MAY_SEND: Mapping[Role, frozenset[type[ClientMessage]]] = {
    "host": frozenset({Offer, Candidate, Refused, FreshToken, Bye, Ping, Pong}),
    "viewer": frozenset({Answer, Candidate, Restart, FreshToken, Bye, Ping, Pong}),
}
"""Which messages each role may send once it is in a room."""

MAY_ADDRESS: Mapping[Role, Role] = {"host": "viewer", "viewer": "host"}
"""The role that each role's relayed messages may be for."""


# Events -----------------------------------------------------------------------------------------


class Join(msgspec.Struct, tag="join", frozen=True):
    """A client whose token was accepted enters. ``peer`` is unique over all servers and time."""

    peer: str
    role: Role
    name: str = ""
    seat: str = ""


class Leave(msgspec.Struct, tag="leave", frozen=True):
    """A client is gone; follows every :class:`Join`, the refused ones too."""

    peer: str
    reason: Literal["bye", "lost"]


class Relay(msgspec.Struct, tag="relay", frozen=True):
    """``source`` asks that ``message`` be handed to ``message.peer``."""

    source: str
    message: Relayed


RoomEvent = Join | Leave | Relay


# Effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Send:
    """Hand ``message`` to ``peer``."""

    peer: str
    message: ServerMessage


@dataclass(frozen=True)
class Close:
    """Hand ``error`` to ``peer`` and end its connection with the close code of ``error``."""

    peer: str
    error: Error


@dataclass(frozen=True)
class Probe:
    """Find out soon whether ``peer`` is still there, and let it leave if it is not."""

    peer: str


Effect = Send | Close | Probe


# The machine ------------------------------------------------------------------------------------


class Phase(Enum):
    """Whether the room has a host."""

    WAITING = "waiting"
    HOSTED = "hosted"


class Room:
    """One room. Not empty exactly while some peer is in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._host: Join | None = None
        self._viewers: dict[str, Join] = {}

    @property
    def phase(self) -> Phase:
        return Phase.WAITING if self._host is None else Phase.HOSTED

    @property
    def host(self) -> str | None:
        """The host's peer id."""
        return None if self._host is None else self._host.peer

    @property
    def viewers(self) -> tuple[str, ...]:
        """The viewers' peer ids, in the order in which they came."""
        return tuple(self._viewers)

    def apply(self, event: RoomEvent) -> list[Effect]:
        """Take in one event; returns what must be done about it, in order.

        An event about a peer that is already in (a repeated :class:`Join`) or not in (a
        :class:`Leave` or :class:`Relay` that comes late) does nothing.
        """
        match event:
            case Join(peer=peer):
                if self._member(peer) is not None:
                    return []
                return list(TRANSITIONS[self.phase, "join", event.role](self, event))
            case Leave(peer=peer, reason=reason):
                member = self._member(peer)
                if member is None:
                    return []
                return list(TRANSITIONS[self.phase, "leave", member.role](self, member, reason))
            case Relay(source=source, message=message):
                sender = self._member(source)
                return [] if sender is None else [self._relay(sender, message)]

    def _member(self, peer: str) -> Join | None:
        if self._host is not None and self._host.peer == peer:
            return self._host
        return self._viewers.get(peer)

    def _relay(self, sender: Join, message: Relayed) -> Effect:
        if type(message) not in MAY_SEND[sender.role]:
            return refuse_message(sender.peer, sender.role, message)
        target = self._member(message.peer)
        if target is None:
            text = f"there is no peer {message.peer} in this room (any more)"
            return Send(sender.peer, Error("unknown-peer", text))
        if target.role != MAY_ADDRESS[sender.role]:
            text = f"a {sender.role} may only address a {MAY_ADDRESS[sender.role]}"
            return Send(sender.peer, Error("forbidden", text))
        return Send(target.peer, msgspec.structs.replace(message, peer=sender.peer))

    def _admit_host(self, host: Join) -> Iterator[Effect]:
        self._host = host
        yield Send(host.peer, Welcome(host.peer, self.name, "host", True, list(self._viewers)))
        for viewer in self._viewers:
            yield Send(viewer, PeerJoined(host.peer, "host", host.name))

    def _refuse_host(self, host: Join) -> Iterator[Effect]:
        assert self._host is not None
        text = f"room {self.name} already has a host"
        yield Close(host.peer, Error("room-taken", text, retry=True))
        # The one that is in may have lost its network without a word, and this be its return.
        yield Probe(self._host.peer)

    def _admit_viewer(self, viewer: Join) -> Iterator[Effect]:
        self._viewers[viewer.peer] = viewer
        peers = [] if self._host is None else [self._host.peer]
        welcome = Welcome(viewer.peer, self.name, "viewer", self._host is not None, peers)
        yield Send(viewer.peer, welcome)
        if self._host is not None:
            yield Send(self._host.peer, PeerJoined(viewer.peer, "viewer", viewer.name, viewer.seat))

    def _drop_host(self, host: Join, reason: Literal["bye", "lost"]) -> Iterator[Effect]:
        self._host = None
        for viewer in self._viewers:
            yield Send(viewer, PeerLeft(host.peer, "host", reason))

    def _drop_viewer(self, viewer: Join, reason: Literal["bye", "lost"]) -> Iterator[Effect]:
        del self._viewers[viewer.peer]
        if self._host is not None:
            yield Send(self._host.peer, PeerLeft(viewer.peer, "viewer", reason))


TRANSITIONS: Mapping[
    tuple[Phase, Literal["join", "leave"], Role], Callable[..., Iterator[Effect]]
] = {
    (Phase.WAITING, "join", "host"): Room._admit_host,
    (Phase.WAITING, "join", "viewer"): Room._admit_viewer,
    (Phase.WAITING, "leave", "viewer"): Room._drop_viewer,
    (Phase.HOSTED, "join", "host"): Room._refuse_host,
    (Phase.HOSTED, "join", "viewer"): Room._admit_viewer,
    (Phase.HOSTED, "leave", "host"): Room._drop_host,
    (Phase.HOSTED, "leave", "viewer"): Room._drop_viewer,
}
"""What a change of membership does in each phase. No entry: cannot happen."""


def refuse_message(peer: str, role: Role, message: ClientMessage) -> Send:
    """The answer to a message that :data:`MAY_SEND` does not let ``role`` send."""
    kind = type(message).__struct_config__.tag
    return Send(peer, Error("forbidden", f"a {role} may not send {kind}"))
