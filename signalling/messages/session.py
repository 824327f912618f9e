"""Coming, staying and going: hello and welcome, tokens, heartbeat, errors."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from .base import Message, RoomMessage
from .control import ControlState, Permission
from .fields import (
    DisplayName,
    IceServer,
    PeerId,
    Region,
    RequestId,
    Role,
    RoomName,
    Seat,
    Sequence,
    SessionSecret,
    Token,
    TraceParent,
    Version,
)
from .room import RoomSettings

PROTOCOL_VERSION = 2
SUBPROTOCOL = "playcast.v2"
"""The WebSocket subprotocol (RFC 6455 section 1.9) that clients offer."""


class Resume(Struct, forbid_unknown_fields=True, frozen=True):
    """I was here: the session that :class:`Welcome` named, and what I had of it."""

    peer: PeerId
    secret: SessionSecret
    seq: Sequence = 0
    """The greatest ``seq`` that came."""


class Hello(Message, tag="hello", frozen=True):
    """The first frame of every connection: who I am and which room I want."""

    token: Token
    """A token of the issuer's, or an invitation (:class:`.Invited`)."""

    room: RoomName
    role: Role
    """``host``, or ``viewer``: everyone else, who becomes what their token lets them be."""

    version: Version = PROTOCOL_VERSION
    name: DisplayName = ""
    seat: Seat = ""
    """Of a viewer that comes back: the ``seat`` of the offer that its session began with."""

    settings: RoomSettings | None = None
    """Of a host: how the room is run from the start, where nobody has chosen anything yet. Who came
    before and is not let in by its policy is put out."""

    resume: Resume | None = None
    """Go on with an earlier session. Where that is not possible, a new one begins."""

    traceparent: TraceParent = ""
    """The trace that this connection is a part of."""

    region: Region = ""
    """Where the client is, for a TURN server that is near; in the operator's words."""


class FreshToken(Message, tag="token", frozen=True):
    """A newer token of mine takes the place of the one I came with.

    The answer is :class:`TokenAccepted`; a token that is not good ends the connection.
    """

    token: Token


class Bye(Message, tag="bye", frozen=True):
    """I leave of my own accord; the server closes with 1000."""


class Ping(Message, tag="ping", frozen=True):
    """Heartbeat. ``at`` is the sender's own clock in milliseconds and is echoed unread."""

    at: float


class Pong(Message, tag="pong", frozen=True):
    """The answer to :class:`Ping`, with its ``at``."""

    at: float


class Span(Struct, forbid_unknown_fields=True, frozen=True):
    """Something that took a client time."""

    name: Annotated[str, Meta(min_length=1, max_length=48, pattern=r"\A[a-z0-9.-]+\Z")]
    start_ms: float
    """Unix time in milliseconds."""

    duration_ms: Annotated[float, Meta(ge=0, le=600_000)]


class Trace(Message, tag="trace", frozen=True):
    """What a client measured, for the trace that its ``hello`` named."""

    spans: Annotated[list[Span], Meta(max_length=16)]
    traceparent: TraceParent = ""
    """A host's: what it measured belongs to the trace of this viewer's coming, and not to its own.
    """


class Waiting(RoomMessage, tag="waiting", frozen=True):
    """The token is good, and somebody of the room must still let this client in.

    :class:`Welcome` follows, or an :class:`Error` that ends the connection.
    """

    peer: PeerId
    room: RoomName


class Welcome(RoomMessage, tag="welcome", frozen=True):
    """The client is in. ``peers`` are the others that it may address."""

    peer: PeerId
    room: RoomName
    role: Role
    host_present: bool
    peers: list[PeerId] = field(default_factory=list)
    ice_servers: list[IceServer] = field(default_factory=list)
    secret: SessionSecret = ""
    """For :class:`Resume`: known to this client and the server alone."""

    resumed: bool = False
    """An earlier session goes on: ``peer`` is what it was, and what was missed follows. Where the
    server does not have all of it any more, ``complete`` is false."""

    complete: bool = True
    capabilities: list[Permission] = field(default_factory=list)
    """What this client may do."""

    settings: RoomSettings = RoomSettings()
    controls: list[ControlState] = field(default_factory=list)
    members: list[PeerJoined] = field(default_factory=list)
    """Who is there, as far as this client's role may see them."""

    resume_window_s: float = 0.0
    """How long the seat is kept after the connection is lost, in seconds."""

    at: float = 0.0
    """The room's clock, in Unix seconds: the ``until`` of permissions and controls counts by it."""


class PeerJoined(RoomMessage, tag="peer-joined", frozen=True):
    """Someone whom this client may see has joined, or is not what they were: their role has
    changed, they are away (their link to the server broke, the seat is kept) or back.
    """

    peer: PeerId
    role: Role
    name: str = ""
    seat: Seat = ""
    """Of a viewer, to the host: see :class:`Hello`."""

    away: bool = False
    waiting: bool = False
    """Not in yet: somebody must let them in (:class:`.Admit`)."""

    traceparent: TraceParent = ""
    """To the host: the trace of this viewer's coming."""


class PeerLeft(RoomMessage, tag="peer-left", frozen=True):
    """They are gone for good: of their own accord, not come back in time, or put out."""

    peer: PeerId
    role: Role
    reason: Literal["bye", "lost", "kicked"]


class TokenExpiring(Message, tag="token-expiring", frozen=True):
    """In ``left_s`` seconds the token ends and the connection with it: see :class:`FreshToken`."""

    left_s: float


class TokenAccepted(Message, tag="token-accepted", frozen=True):
    """The fresh token counts from now on, for ``left_s`` seconds."""

    left_s: float


class Done(Message, tag="done", frozen=True):
    """The request with this ``id`` has been carried out."""

    id: RequestId
