"""What an event says, by type: one struct each.

A type's schema has a version. Within a version fields are only added, and always with a default:
readers ignore what they do not know. Any other change is another version, and so another
``dataschema``; who meets a version, or a type, that this release does not know gets plain values.
"""

from __future__ import annotations

from typing import Any

import msgspec

Scalar = str | int | float | bool | None


class EventData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every event of a room says. Subjects are those of tokens (``sub``)."""

    room: str = ""
    actor: str = ""
    """The subject of who did it; empty when time or the server did."""

    subject: str = ""
    """The subject of whom it was done to."""

    peer: str = ""
    """The peer id of whom it was done to."""


class ServerStarted(EventData, frozen=True, kw_only=True):
    """A signalling server takes connections."""


class ServerDraining(EventData, frozen=True, kw_only=True):
    """A signalling server sends its clients elsewhere and ends."""


class AuthFailed(EventData, frozen=True, kw_only=True):
    """A token was refused."""

    reason: str = ""
    """A word."""


class RoomOpened(EventData, frozen=True, kw_only=True):
    """The first member came."""


class RoomClosed(EventData, frozen=True, kw_only=True):
    """The last member went."""


class RoomConfigured(EventData, frozen=True, kw_only=True):
    """The room's settings changed: those that are not none.

    As in :class:`signalling.messages.RoomSettings`.
    """

    policy: str | None = None
    locked: bool | None = None
    capacity: int | None = None
    privacy: str | None = None
    title: str | None = None
    steam_app_id: int | None = None
    control_policy: str | None = None
    turn_s: float | None = None
    pads: int | None = None
    keyboard: bool | None = None
    chat: bool | None = None


class StreamStarted(EventData, frozen=True, kw_only=True):
    """A host is there."""


class StreamEnded(EventData, frozen=True, kw_only=True):
    """The host is gone for good."""

    reason: str = ""
    """``bye``, ``lost`` or ``kicked``."""


class ViewerJoined(EventData, frozen=True, kw_only=True):
    """Someone is in the room."""

    role: str = ""


class ViewerAway(EventData, frozen=True, kw_only=True):
    """A member's link is lost; its place is kept for a while."""

    role: str = ""


class ViewerReturned(EventData, frozen=True, kw_only=True):
    """A member took its place again."""

    role: str = ""


class ViewerLeft(EventData, frozen=True, kw_only=True):
    """A member is gone for good."""

    role: str = ""
    reason: str = ""
    """``bye``, ``lost`` or ``kicked``."""


class ViewerWaiting(EventData, frozen=True, kw_only=True):
    """Someone waits to be let in."""

    role: str = ""


class ViewerAdmitted(EventData, frozen=True, kw_only=True):
    """Someone who waited was let in."""

    role: str = ""


class ViewerPromoted(EventData, frozen=True, kw_only=True):
    """A member is something else from now on."""

    role: str = ""
    was: str = ""


class ViewerRefused(EventData, frozen=True, kw_only=True):
    """Someone was not let in."""

    reason: str = ""
    """An error's code; of someone who waited: ``bye``, ``lost`` or ``kicked``."""


class ViewerKicked(EventData, frozen=True, kw_only=True):
    """Someone was put out, and may come again."""


class ViewerBanned(EventData, frozen=True, kw_only=True):
    """Someone was put out, and kept out."""

    until: float | None = None
    """Unix time in seconds; none: for good."""


class ViewerUnbanned(EventData, frozen=True, kw_only=True):
    """Someone may come again."""

    banned: str = ""
    """Their subject."""


class ControlRequested(EventData, frozen=True, kw_only=True):
    """Someone would like to have a control."""

    control: str = ""


class ControlGranted(EventData, frozen=True, kw_only=True):
    """Someone has a control."""

    control: str = ""
    until: float | None = None
    """Unix time in seconds; none: until it is taken back."""

    reason: str = ""
    """As in :class:`signalling.messages.Controls`."""


class ControlDenied(EventData, frozen=True, kw_only=True):
    """Someone does not get the control they asked for."""

    control: str = ""


class ControlReleased(EventData, frozen=True, kw_only=True):
    """Someone has a control no longer."""

    control: str = ""
    reason: str = ""


class PermissionGranted(EventData, frozen=True, kw_only=True):
    """Someone may do more."""

    capability: str = ""
    until: float | None = None


class PermissionRevoked(EventData, frozen=True, kw_only=True):
    """Someone may do less."""

    capability: str = ""


class InviteMade(EventData, frozen=True, kw_only=True):
    """Someone made an invitation. Never the token itself."""

    role: str = ""
    for_s: float = 0.0
    """How long it is good, in seconds."""


class ChatSent(EventData, frozen=True, kw_only=True):
    """Someone said something. Never what."""

    length: int = 0


class QualityDegraded(EventData, frozen=True, kw_only=True):
    """A viewer's picture, or with an empty ``peer`` everybody's, is worse than it should be."""

    reasons: list[str] = []
    """As :data:`peer.quality.Reason` names them."""

    loss: float | None = None
    """0..1."""

    rtt_ms: float | None = None
    queue_ms: float | None = None
    """Estimated, on the way to them."""

    target_bps: float | None = None
    """What may be sent to them, in bits a second."""

    fps: float | None = None
    """Of the encode that they get."""


class QualityRecovered(EventData, frozen=True, kw_only=True):
    """It is as it should be again."""

    seconds: float = 0.0
    """How long it was not."""


class Schema(msgspec.Struct, frozen=True):
    """How one version of a type's data looks."""

    name: str
    """The event's type."""

    version: int
    data: type[EventData]

    @property
    def uri(self) -> str:
        """The ``dataschema`` attribute."""
        return f"urn:playcast:event:{self.name}:{self.version}"


SCHEMAS: tuple[Schema, ...] = (
    Schema("server.started", 1, ServerStarted),
    Schema("server.draining", 1, ServerDraining),
    Schema("auth.failed", 1, AuthFailed),
    Schema("room.opened", 1, RoomOpened),
    Schema("room.closed", 1, RoomClosed),
    Schema("room.configured", 1, RoomConfigured),
    Schema("stream.started", 1, StreamStarted),
    Schema("stream.ended", 1, StreamEnded),
    Schema("viewer.joined", 1, ViewerJoined),
    Schema("viewer.away", 1, ViewerAway),
    Schema("viewer.returned", 1, ViewerReturned),
    Schema("viewer.left", 1, ViewerLeft),
    Schema("viewer.waiting", 1, ViewerWaiting),
    Schema("viewer.admitted", 1, ViewerAdmitted),
    Schema("viewer.promoted", 1, ViewerPromoted),
    Schema("viewer.refused", 1, ViewerRefused),
    Schema("viewer.kicked", 1, ViewerKicked),
    Schema("viewer.banned", 1, ViewerBanned),
    Schema("viewer.unbanned", 1, ViewerUnbanned),
    Schema("control.requested", 1, ControlRequested),
    Schema("control.granted", 1, ControlGranted),
    Schema("control.denied", 1, ControlDenied),
    Schema("control.released", 1, ControlReleased),
    Schema("permission.granted", 1, PermissionGranted),
    Schema("permission.revoked", 1, PermissionRevoked),
    Schema("invite.made", 1, InviteMade),
    Schema("chat.message", 1, ChatSent),
    Schema("quality.degraded", 1, QualityDegraded),
    Schema("quality.recovered", 1, QualityRecovered),
)
"""Every type that this release publishes."""

SCHEMA_OF: dict[type[EventData], Schema] = {schema.data: schema for schema in SCHEMAS}
SCHEMA_BY_URI: dict[str, Schema] = {schema.uri: schema for schema in SCHEMAS}
SCHEMA_BY_TYPE: dict[str, Schema] = {schema.name: schema for schema in SCHEMAS}

UnknownData = dict[str, Any]
"""The data of a type, or of a version, that this release does not know."""
