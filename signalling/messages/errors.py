"""How the server says no: the codes, what they mean, and the close codes that go with them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .base import Message
from .fields import RequestId

ErrorCode = Literal[
    "bad-message",
    "bad-token",
    "token-expired",
    "forbidden",
    "not-admitted",
    "room-taken",
    "room-full",
    "room-locked",
    "kicked",
    "banned",
    "replaced",
    "unknown-peer",
    "conflict",
    "rate-limited",
    "version",
    "timeout",
    "too-large",
    "too-slow",
    "shutting-down",
    "internal",
]


class Error(Message, tag="error", frozen=True):
    """Something was refused.

    ``message`` is a sentence for people; ``retry`` says if trying again helps, after
    ``retry_after_s`` where that is more than 0. ``id`` names the request, if it was one.
    """

    code: ErrorCode
    message: str
    retry: bool = False
    id: RequestId = ""
    retry_after_s: float = 0.0


CLOSE_CODES: dict[ErrorCode, int] = {
    "bad-message": 4400,
    "bad-token": 4401,
    "token-expired": 4401,
    "forbidden": 4403,
    "not-admitted": 4403,
    "kicked": 4403,
    "banned": 4403,
    "unknown-peer": 4404,
    "timeout": 4408,
    "room-taken": 4409,
    "conflict": 4409,
    "replaced": 4410,
    "too-large": 4413,
    "room-locked": 4423,
    "version": 4426,
    "rate-limited": 4429,
    "too-slow": 4430,
    "room-full": 4503,
    "internal": 1011,
    "shutting-down": 1012,
}
"""The WebSocket close code of each error when it ends a connection (4000-4999 are ours)."""


class Meaning(NamedTuple):
    """What an error says, for documents."""

    sentence: str
    retry: str
    """Whether ``retry`` is set."""


MEANINGS: dict[ErrorCode, Meaning] = {
    "bad-message": Meaning("A frame is no message of this protocol, or not at this time.", "no"),
    "bad-token": Meaning("The token is not good, or somebody else's than before.", "no"),
    "token-expired": Meaning("The token has ended; a fresh one lets in again.", "no"),
    "forbidden": Meaning("The token, the role or the room does not allow it.", "no"),
    "not-admitted": Meaning("The room's policy or its staff does not let the client in.", "no"),
    "room-taken": Meaning("Another host has the room.", "yes"),
    "room-full": Meaning("Every place is taken: of the room, or of the server.", "yes"),
    "room-locked": Meaning("Nobody new comes in now.", "yes"),
    "kicked": Meaning("Put out by the staff; may come again.", "no"),
    "banned": Meaning("Put out by the staff, or kept out.", "no"),
    "replaced": Meaning("The session goes on over another connection.", "no"),
    "unknown-peer": Meaning("There is nobody of that name in the room (any more).", "no"),
    "conflict": Meaning("It does not fit how things stand now.", "where that may change by itself"),
    "rate-limited": Meaning("Too much, too soon.", "yes, after `retry_after_s`"),
    "version": Meaning("The server speaks another version of the protocol.", "no"),
    "timeout": Meaning("No hello came in time.", "yes"),
    "too-large": Meaning("A frame is longer than the server reads.", "no"),
    "too-slow": Meaning("The client reads more slowly than the room speaks.", "yes"),
    "shutting-down": Meaning("The server ends: go to another, or come back.", "yes"),
    "internal": Meaning("The server, or what it needs, has failed.", "yes"),
}
