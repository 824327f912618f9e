"""What the hub reports to Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from native.address import Address
from native.binding import ffi, lib


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram that is not media: STUN, DTLS or TURN."""

    socket: int
    """Index of the hub's socket it came in at."""
    source: Address
    """Who sent it: of ChannelData, the TURN server."""
    data: bytes
    """As received; ChannelData that is not media comes whole, with its header."""


@dataclass(frozen=True, slots=True)
class SourceLost:
    """The display that a stream captures went away."""

    stream: int


@dataclass(frozen=True, slots=True)
class SourceResized:
    """The picture of a stream has a new size in pixels."""

    stream: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream's encoder failed for good; `reason` says why in words."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerBye:
    """A peer's RTCP said BYE."""

    peer: int


@dataclass(frozen=True, slots=True)
class FirstReport:
    """The first receiver report of a peer: media arrives there."""

    peer: int


Event = Datagram | SourceLost | SourceResized | StreamFailed | PeerBye | FirstReport


def event_from_native(value: Any) -> Event:
    """Read a `struct pc_event` that holds an event."""
    match value.kind:
        case lib.PC_EVENT_DATAGRAM:
            return Datagram(
                value.socket,
                Address.from_native(getattr(value, "from")),
                bytes(ffi.buffer(value.data, value.size)),
            )
        case lib.PC_EVENT_SOURCE_LOST:
            return SourceLost(value.id)
        case lib.PC_EVENT_SOURCE_RESIZED:
            return SourceResized(value.id, value.a, value.b)
        case lib.PC_EVENT_STREAM_FAILED:
            reason = bytes(ffi.buffer(value.data, value.size)).rstrip(b"\0")
            return StreamFailed(value.id, reason.decode("utf-8", "replace"))
        case lib.PC_EVENT_PEER_BYE:
            return PeerBye(value.id)
        case lib.PC_EVENT_FIRST_REPORT:
            return FirstReport(value.id)
    raise AssertionError(f"the core reported an event of kind {value.kind}")
