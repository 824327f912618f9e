"""The hand-over of controls, and other permissions given live."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .base import Request, RoomMessage
from .fields import Capability, Control, Duration, PeerId, Sentence


class ControlRequest(Request, tag="control-request", frozen=True):
    """I would like to have this control: given at once where the room's policy lets it, else
    queued, once for all sessions of a user. :class:`Done` says that it was taken in;
    :class:`Controls` says what came of it.
    """

    control: Control


class ControlRelease(Request, tag="control-release", frozen=True):
    """I give this control up, or ask for it no longer."""

    control: Control


class ControlGive(Request, tag="control-give", frozen=True):
    """I hold this control and hand it to another player, for the rest of my time."""

    control: Control
    peer: PeerId


class ControlGrant(Request, tag="control-grant", frozen=True):
    """The host or its staff gives a control to someone; whoever has it loses it."""

    control: Control
    peer: PeerId
    for_s: Duration | None = None
    """``None``: until it is taken back."""


class ControlDeny(Request, tag="control-deny", frozen=True):
    """The host or its staff takes someone out of a control's queue."""

    control: Control
    peer: PeerId
    message: Sentence = ""


class ControlTake(Request, tag="control-take", frozen=True):
    """The host or its staff takes a control back from whoever holds it."""

    control: Control


class Grant(Request, tag="grant", frozen=True):
    """The host or its staff lets someone do more, also when they come anew."""

    peer: PeerId
    capability: Capability
    for_s: Duration | None = None


class Revoke(Request, tag="revoke", frozen=True):
    """The host or its staff takes a permission back, whatever it came from, also from who comes
    anew.
    """

    peer: PeerId
    capability: Capability


class Permission(Struct, forbid_unknown_fields=True, frozen=True):
    """One thing that a member may do."""

    capability: Capability
    until: float | None = None
    """Unix time in seconds; ``None``: until it is taken back."""


class Permissions(RoomMessage, tag="permissions", frozen=True):
    """All that ``peer`` may do from now on; to that peer, the host and the staff.

    Who injects input asks this before each event: what is not named here, or has ended by
    ``until``, is not done, and what was held is released.
    """

    peer: PeerId
    capabilities: list[Permission]


class ControlState(Struct, forbid_unknown_fields=True, frozen=True):
    """One control: who holds it and who waits for it."""

    control: Control
    holder: PeerId | None = None
    until: float | None = None
    """When the turn ends, in Unix seconds."""

    away: bool = False
    """The holder's link is lost, and the control kept for it."""

    queue: list[PeerId] = []
    """Who asked for it, in order."""


class Controls(RoomMessage, tag="controls", frozen=True):
    """The controls that changed, as they are now. To everyone."""

    controls: list[ControlState]
    reason: Literal[
        "requested",
        "granted",
        "denied",
        "given",
        "taken",
        "released",
        "expired",
        "left",
        "settings",
    ]
    message: Sentence = ""
