"""All that a room knows, as plain data: what a snapshot is made of."""

from __future__ import annotations

import msgspec

from ..messages import BanEntry, Capability, ChatMessage, Control, Role, RoomSettings, ServerMessage
from .effects import RoomCard
from .events import Mark

STATE_VERSION = 3
"""Grows with every change of what is in this file, or of what it means."""


class SnapshotError(ValueError):
    """The snapshot is not one that this server can go on with. Says why."""


class Member(msgspec.Struct, kw_only=True):
    """Someone in the room. The peer id stays over all of their connections."""

    peer: str
    link: str
    """The present connection, or the last."""

    subject: str
    role: Role
    token_role: Role
    """What the token said; :attr:`role` may have been changed live."""

    name: str
    seat: str
    secrets: tuple[str, ...]
    """Hashes: of the secret told last, and of the one shown last, in case that the telling of the
    other was lost."""

    window_s: float
    traceparent: str
    joined_at: float
    joined_seq: int
    """The room's number when they came in: what is older is not theirs."""

    marks: tuple[Mark, ...] = ()
    """What is known of them (:data:`.events.Mark`), in alphabetical order."""

    evicted_seq: int = 0
    """The greatest number of what was theirs and is forgotten."""

    away_since: float | None = None
    waiting: bool = False
    granted: dict[Capability, float | None] = {}
    """What they may do besides what their role may, and until when."""

    revoked: tuple[Capability, ...] = ()
    """What they may not do although their role may."""

    @property
    def shared(self) -> bool:
        """Others come under the same subject: all who have the same invitation."""
        return "invite" in self.marks

    @property
    def who(self) -> str:
        """What counts as one: a user with all of their sessions, or one session of the invited."""
        return f"peer {self.peer}" if self.shared else f"subject {self.subject}"

    @property
    def present(self) -> bool:
        """In, and with a connection."""
        return self.away_since is None and not self.waiting

    @property
    def back_by(self) -> float:
        """When a member that is away is given up."""
        assert self.away_since is not None
        return self.away_since + self.window_s


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What the staff has decided of a subject, for whoever comes under it (:mod:`.rulings`)."""

    least: Role | None = None
    """They come in as no less, whatever their token says."""

    most: Role | None = None
    """They come in as no more."""

    granted: dict[Capability, float | None] = {}
    """As :attr:`Member.granted`; some may have ended."""

    revoked: tuple[Capability, ...] = ()
    """As :attr:`Member.revoked`."""


class ChatLine(msgspec.Struct, frozen=True, gc=False):
    """What was said, and by :attr:`Member.who`."""

    who: str
    message: ChatMessage


class Slot(msgspec.Struct, kw_only=True):
    """One control, as :class:`..messages.ControlState` shows it."""

    control: Control
    holder: str | None = None
    since: float = 0.0
    """Since when the holder has it: a turn is counted from there."""

    until: float | None = None
    """When a grant ends, or a turn for which others wait."""

    granted: bool = False
    """``until`` comes from a grant: it counts whether others wait or not."""

    queue: list[str] = []


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A message that somebody may have missed. ``to`` and ``but`` are peer ids; no ``to``: it was
    for everyone who was in.
    """

    seq: int
    at: float
    message: ServerMessage
    to: tuple[str, ...] | None = None
    but: tuple[str, ...] = ()


class RoomState(msgspec.Struct, kw_only=True):
    """The whole room. Nothing else decides what an event does."""

    version: int = STATE_VERSION
    name: str
    clock: float = 0.0
    """The greatest time that an event carried, in seconds of Unix time."""

    window_s: float = 0.0
    """The longest time that a member's seat is kept: messages are kept as long."""

    seq: int = 0
    """The number of the last message."""

    settings: RoomSettings = RoomSettings()
    chosen: tuple[str, ...] = ()
    """Which settings somebody has chosen: a host that comes does not bring its own for them."""

    members: dict[str, Member] = {}
    """By peer id, oldest first."""

    slots: dict[Control, Slot] = {}
    bans: dict[str, BanEntry] = {}
    """By subject, oldest first."""

    rulings: dict[str, Ruling] = {}
    """By subject, the one changed last at the end."""

    chat: list[ChatLine] = []
    recent: list[Sent] = []
    recent_size: int = 0
    evicted_seq: int = 0
    """The greatest number of what was for everyone and is forgotten."""

    told_viewers: int = 0
    """The number of viewers that everyone was told last, and when."""

    told_at: float = 0.0
    card: RoomCard | None = None
    """What the room directory says."""


class _Versioned(msgspec.Struct):
    version: int


_encoder = msgspec.msgpack.Encoder()
_version_decoder = msgspec.msgpack.Decoder(_Versioned)
_decoder = msgspec.msgpack.Decoder(RoomState)


def encode_state(state: RoomState) -> bytes:
    return _encoder.encode(state)


def decode_state(snapshot: bytes) -> RoomState:
    """Raises :class:`SnapshotError`."""
    try:
        version = _version_decoder.decode(snapshot).version
        if version != STATE_VERSION:
            raise SnapshotError(
                f"the room's snapshot has version {version}, and this server reads version"
                f" {STATE_VERSION}: bring all servers to one release"
            )
        return _decoder.decode(snapshot)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the room's snapshot cannot be read: {error}") from error
