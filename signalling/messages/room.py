"""The room and its people: settings, who may come in, chat, invitations."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .base import Request, RoomMessage
from .fields import (
    ChatText,
    ControlPolicy,
    DisplayName,
    Duration,
    PeerId,
    Policy,
    Privacy,
    RequestId,
    Role,
    Sentence,
    Subject,
    Token,
)

Title = Annotated[str, Meta(max_length=120)]
AppId = Annotated[int, Meta(ge=0, lt=2**32)]
Capacity = Annotated[int, Meta(ge=0, le=1_000_000)]
Pads = Annotated[int, Meta(ge=0, le=8)]


class RoomSettings(Struct, forbid_unknown_fields=True, frozen=True):
    """How a room is run."""

    policy: Policy = "open"
    locked: bool = False
    """Nobody new comes in, but staff."""

    capacity: Capacity = 0
    """How many may be in besides the host and its staff; 0: as many as come."""

    privacy: Privacy = "unlisted"
    title: Title = ""
    steam_app_id: AppId = 0
    control_policy: ControlPolicy = "ask"
    turn_s: Duration = 120.0
    """How long a turn takes, in seconds, where others wait for it."""

    pads: Pads = 4
    """How many game pads there are."""

    keyboard: bool = True
    """Whether keyboard and mouse can be had."""

    chat: bool = True


class Configure(Request, tag="configure", frozen=True, kw_only=True):
    """Change the room's settings; what is left out stays."""

    policy: Policy | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    capacity: Capacity | UnsetType = UNSET
    privacy: Privacy | UnsetType = UNSET
    title: Title | UnsetType = UNSET
    steam_app_id: AppId | UnsetType = UNSET
    control_policy: ControlPolicy | UnsetType = UNSET
    turn_s: Duration | UnsetType = UNSET
    pads: Pads | UnsetType = UNSET
    keyboard: bool | UnsetType = UNSET
    chat: bool | UnsetType = UNSET


class Settings(RoomMessage, tag="settings", frozen=True):
    """The room's settings and how many watch, now and after every change (counts are gathered)."""

    settings: RoomSettings
    viewers: int


class Admit(Request, tag="admit", frozen=True):
    """Let someone in who waits."""

    peer: PeerId


class Promote(Request, tag="promote", frozen=True):
    """Make someone a viewer, a player or a moderator, until the room ends: also when they come
    anew.
    """

    peer: PeerId
    role: Role


class Kick(Request, tag="kick", frozen=True):
    """Put someone out, or do not let them in. They may come again."""

    peer: PeerId
    message: Sentence = ""


class Ban(Request, tag="ban", frozen=True):
    """Put someone out and keep them out, whichever token of theirs they show."""

    peer: PeerId
    for_s: Duration | None = None
    message: Sentence = ""


class Unban(Request, tag="unban", frozen=True):
    """Let someone come again."""

    subject: Subject


class BanEntry(Struct, forbid_unknown_fields=True, frozen=True):
    """Who is kept out."""

    subject: Subject
    name: DisplayName = ""
    until: float | None = None


class Bans(RoomMessage, tag="bans", frozen=True):
    """All who are kept out; to the host and its staff, on joining and after a change."""

    bans: list[BanEntry]


class Invite(Request, tag="invite", frozen=True):
    """Make an invitation to this room. The answer is :class:`Invited`."""

    role: Role = "viewer"
    for_s: Duration = 3600.0


class Invited(RoomMessage, tag="invited", frozen=True):
    """A token that lets anyone in who has it, until ``until`` (Unix seconds)."""

    id: RequestId
    token: Token
    until: float


class Chat(Request, tag="chat", frozen=True):
    """Say something to everyone in the room."""

    text: ChatText


class ChatMessage(RoomMessage, tag="chat-message", frozen=True):
    """Someone said something. ``at`` is Unix time in seconds."""

    peer: PeerId
    name: str
    role: Role
    text: str
    at: float
