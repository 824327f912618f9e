"""What can happen to a room: the events that servers put on the bus, in one order for all.

Every event carries ``at``, the clock of the server that published it, in seconds of Unix time. A
*link* is one WebSocket of a client: unique over all servers and time, and what tells the events of
a member's present connection from those of one that it has given up.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ..messages import Relayed, Role, RoomRequest, RoomSettings

Mark = Literal["link", "invite", "follower", "subscriber"]
"""What else is known of someone who comes in, for the room's policy: their token names this very
room; they were invited; they follow, or subscribe to, the host."""


class Resume(msgspec.Struct, frozen=True):
    """The wish to go on with an earlier session."""

    peer: str
    secret_hash: str
    seq: int


class Join(msgspec.Struct, tag="join", frozen=True, kw_only=True):
    """A client whose token was accepted enters over ``link``.

    A new member's peer id is its first link's.
    """

    link: str
    at: float
    subject: str
    role: Role
    name: str = ""
    seat: str = ""
    secret_hash: str = ""
    """SHA-256, in hex, of the secret that the client is told (:class:`..messages.Welcome`)."""

    window_s: float = 30.0
    """How long the member's seat is kept while it is away, in seconds."""

    marks: frozenset[Mark] = frozenset()
    resume: Resume | None = None
    settings: RoomSettings | None = None
    """A host's: what the room begins with where nobody has set anything yet."""

    traceparent: str = ""


class Away(msgspec.Struct, tag="away", frozen=True):
    """A link is lost; its member may come back."""

    link: str
    at: float


class Leave(msgspec.Struct, tag="leave", frozen=True):
    """A member is gone for good: it said so, or did not come back in time.

    ``link`` is its last. Follows every :class:`Join`, the refused ones too.
    """

    link: str
    at: float
    reason: Literal["bye", "lost"]


class Say(msgspec.Struct, tag="say", frozen=True):
    """A client said something that the room answers, or hands on."""

    link: str
    at: float
    message: Relayed | RoomRequest


class Tick(msgspec.Struct, tag="tick", frozen=True):
    """Time has passed: whatever ends by ``at`` ends now. The second one changes nothing."""

    at: float


RoomEvent = Join | Away | Leave | Say | Tick
