"""What a room wants done: carried out by each server for its own clients, in order.

Members are named by their present link. Every server's copy of a room gives the same effects.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..messages import (
    AppId,
    DisplayName,
    Error,
    Invite,
    Policy,
    Role,
    RoomName,
    ServerMessage,
    Title,
    Welcome,
)
from ..records import Record


class RoomCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the room directory says of a public room."""

    name: RoomName
    title: Title = ""
    steam_app_id: AppId = 0
    host: DisplayName = ""
    """What the host is called."""

    viewers: int = 0
    policy: Policy = "open"
    locked: bool = False
    since: float = 0.0
    """Since when the host has been there, in seconds of Unix time."""


class Send(msgspec.Struct, frozen=True, gc=False):
    """Hand ``message`` to these links."""

    to: tuple[str, ...]
    message: ServerMessage


class Broadcast(msgspec.Struct, frozen=True, gc=False):
    """Hand ``message`` to all who were in at number ``seq`` (:meth:`.Room.was_in`), but to these
    links.
    """

    message: ServerMessage
    seq: int
    but: tuple[str, ...] = ()


class Greet(msgspec.Struct, frozen=True, gc=False):
    """Tell ``link`` that it is in."""

    link: str
    welcome: Welcome


class Close(msgspec.Struct, frozen=True, gc=False):
    """Hand ``error`` to ``link`` and end its connection with the close code of ``error``."""

    link: str
    error: Error


class Probe(msgspec.Struct, frozen=True, gc=False):
    """Find out soon whether ``link`` is still there, and end it if it is not."""

    link: str


class MakeInvitation(msgspec.Struct, frozen=True, gc=False):
    """``link`` may have the invitation that it asks for, to enter as ``role``."""

    link: str
    request: Invite
    role: Role


class Announce(msgspec.Struct, frozen=True, gc=False):
    """The directory's card of this room is this from now on, or there is none any more.

    A card is put up by the server whose client is the host, and taken down by the one that is to
    act for all.
    """

    card: RoomCard | None


@dataclass(frozen=True, slots=True)
class Put:
    """Record this, on the server that is to act for all."""

    record: Record


Effect = Send | Broadcast | Greet | Close | Probe | MakeInvitation | Announce | Put
