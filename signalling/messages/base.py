"""What all messages have in common."""

from __future__ import annotations

from msgspec import Struct

from .fields import RequestId, Sequence


class Message(Struct, tag_field="type", forbid_unknown_fields=True, frozen=True):
    """Base of all messages. ``type`` names each."""


class Request(Message, frozen=True, kw_only=True):
    """A client wants something done. The answer carries the same ``id``: :class:`.Done`,
    :class:`.Error`, or what the request says.
    """

    id: RequestId = ""


class RoomMessage(Message, frozen=True, kw_only=True):
    """A message of the room. A client that comes back names the last ``seq`` that it had, and is
    sent what it missed. Clients do not set it.
    """

    seq: Sequence = 0
