"""Events and answers as they pass between a server and Redis.

Everything that comes from Redis may be somebody else's: :class:`RedisDataError` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from ..rooms.events import Away, Join, Leave, RoomEvent

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[RoomEvent] = msgspec.json.Decoder(RoomEvent)

_LINK = "@@"


class RedisDataError(Exception):
    """What is stored in Redis, or came from it, is not ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a room's log.

    ``q`` grows with the events of one ``server``; it is negative for what that server wrote on
    another's behalf.
    """

    n: int
    server: str
    q: int
    event: RoomEvent
    encoded: bytes = field(default=b"", compare=False)

    @property
    def mark(self) -> str:
        """Tells this entry from any other that might be at its place."""
        return f"{self.server} {self.q}"


@dataclass(frozen=True)
class Follow:
    """Entering: the room goes on where this server's copy is."""

    epoch: str
    servers: set[str]
    entries: list[Entry]


@dataclass(frozen=True)
class State(Follow):
    """Entering: the whole room, a snapshot at ``base`` and the entries after it, up to ``n``."""

    base: int
    snapshot: bytes
    n: int
    mark: str
    links: dict[str, str]
    seq: dict[str, int]


@dataclass(frozen=True)
class Differs:
    """Entering: how Redis and this server differ."""

    how: Literal["behind", "old", "conflict"]
    """Redis has less; its log does not go back so far; it has other events, or may have."""
    n: int
    mark: str


def encode_event(event: RoomEvent) -> bytes:
    return _encoder.encode(event)


def link_change(event: RoomEvent) -> tuple[str, str]:
    """What an event does to the links: ``in`` or ``out`` and which, or ``other``."""
    match event:
        case Join(link=link):
            return "in", link
        case Away(link=link) | Leave(link=link):
            return "out", link
    return "other", ""


def away_template(at: float) -> tuple[bytes, bytes]:
    """What stands before and after the link in an :class:`Away` that a script writes."""
    before, _, after = encode_event(Away(_LINK, at)).partition(_LINK.encode())
    return before, after


def decode_message(data: bytes) -> tuple[str, Entry]:
    """A message of a room's channel: its epoch and entry. Raises :class:`RedisDataError`."""
    try:
        epoch, n, server, q, event = data.split(b" ", 4)
        return epoch.decode(), Entry(int(n), server.decode(), int(q), _decoder.decode(event), event)
    except (ValueError, msgspec.MsgspecError) as error:
        raise RedisDataError(f"a message of a room's channel: {error}") from error


def decode_entered(reply: Any) -> Follow | Differs | None:
    """The answer of the script ENTER; ``None``: Redis does not have the room.

    Raises :class:`RedisDataError`.
    """
    try:
        match reply:
            case [b"found"]:
                return None
            case [b"behind" | b"old" | b"conflict" as how, int(n), mark]:
                return Differs(how.decode(), n, mark.decode())
            case [b"follow", epoch, servers, entries]:
                return Follow(epoch.decode(), _names(servers), _entries(entries))
            case [b"state", epoch, servers, entries, int(base), data, int(n), mark, links, seq]:
                return State(
                    epoch.decode(),
                    _names(servers),
                    _entries(entries),
                    base,
                    bytes(data),
                    n,
                    mark.decode(),
                    {link.decode(): owner.decode() for link, owner in _pairs(links)},
                    {owner.decode(): int(q.split()[0]) for owner, q in _pairs(seq)},
                )
    except (
        AttributeError, IndexError, KeyError, TypeError, ValueError, msgspec.MsgspecError
    ) as error:  # fmt: skip
        raise RedisDataError(f"a room's keys: {error}") from error
    raise RedisDataError("a room's keys: not an answer of this release")


def _names(names: Iterable[bytes]) -> set[str]:
    return {name.decode() for name in names}


def _pairs(words: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    each = iter(words)
    return zip(each, each, strict=True)


def _entries(entries: Iterable[tuple[bytes, Iterable[bytes]]]) -> list[Entry]:
    return [_entry(name, dict(_pairs(fields))) for name, fields in entries]


def _entry(name: bytes, fields: dict[bytes, bytes]) -> Entry:
    n = int(name.partition(b"-")[0])
    event = fields[b"e"]
    return Entry(n, fields[b"s"].decode(), int(fields[b"q"]), _decoder.decode(event), event)
