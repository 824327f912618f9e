"""What happened, in words for others: the one stream that audit, events and metrics are fed from.

The server and the rooms put a :class:`Record` for whatever somebody may later want to know or to
act upon. Sinks turn records into lines of the audit log or into events for subscribers; of several
servers that share a room, one records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

RecordType = Literal[
    "server.started",
    "server.draining",
    "auth.failed",
    "room.opened",
    "room.closed",
    "room.configured",
    "stream.started",
    "stream.ended",
    "viewer.joined",
    "viewer.away",
    "viewer.returned",
    "viewer.left",
    "viewer.waiting",
    "viewer.admitted",
    "viewer.promoted",
    "viewer.refused",
    "viewer.kicked",
    "viewer.banned",
    "viewer.unbanned",
    "control.requested",
    "control.granted",
    "control.denied",
    "control.released",
    "permission.granted",
    "permission.revoked",
    "invite.made",
    "chat.message",
    "quality.degraded",
    "quality.recovered",
]
"""What can happen: subject and verb, the verb in the past."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One thing that happened."""

    type: RecordType
    at: float
    """When, in seconds of Unix time."""

    room: str = ""
    """The room's name; empty for what concerns the server."""

    actor: str = ""
    """The subject (``sub``) of who did it; empty when time or the server did."""

    subject: str = ""
    """The subject of whom it was done to."""

    peer: str = ""
    """The peer id of whom it was done to."""

    data: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """What else there is to know. Never a token, a session description, or a chat's text."""

    traceparent: str = ""
    """The W3C trace context in which it happened."""


class RecordSink(Protocol):
    """Where records go."""

    def put(self, record: Record) -> None:
        """Take one record. Never blocks and never raises; what cannot be kept is counted."""


class NoRecords:
    """A :class:`RecordSink` that keeps nothing."""

    def put(self, record: Record) -> None:
        pass


class Records:
    """A :class:`RecordSink` that hands everything to several others."""

    def __init__(self, *sinks: RecordSink) -> None:
        self._sinks = sinks

    def put(self, record: Record) -> None:
        for sink in self._sinks:
            sink.put(record)
