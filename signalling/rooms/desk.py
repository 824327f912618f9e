"""What all parts of a room have to do with: what its members may do and hold, its settings, what
the directory says. Whatever changes is told to those whom it concerns.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ..messages import (
    Bans,
    Capability,
    Controls,
    ControlState,
    Permission,
    Permissions,
    Role,
    RoomSettings,
    Sentence,
    Settings,
)
from .delivery import Delivery
from .effects import Announce, RoomCard
from .handover import Bearer, Change, Handover
from .permissions import CAPABILITIES, STAFF
from .roster import Roster
from .state import Member, RoomState, Slot
from .text import readable

PLAYERS: frozenset[Role] = frozenset({"player", "moderator", "admin"})
"""To whom the room itself may give a control."""

Reason = Literal[
    "requested", "granted", "denied", "given", "taken", "released", "expired", "left", "settings"
]

_OF_CONTROLS = ("control_policy", "turn_s", "pads", "keyboard")
"""The settings that say which controls there are, and who has them for how long."""


class Desk:
    """A room's state, and the ways to change and to tell what is not coming and going."""

    def __init__(self, state: RoomState) -> None:
        self.state = state
        self.roster = Roster(state.members)
        self.delivery = Delivery(state, self.roster)
        if not state.slots:
            self.handover().fit()

    # What members may do and hold ----------------------------------------------------------------

    def capabilities(self, member: Member) -> list[Permission]:
        """All that the member may do."""
        may: dict[Capability, float | None] = {
            capability: None
            for capability in sorted(CAPABILITIES[member.role])
            if capability not in member.revoked
        }
        for capability, until in member.granted.items():
            may.setdefault(capability, until)
        for control, slot in self.state.slots.items():
            if slot.holder == member.peer:
                may[control] = slot.until
        return [Permission(capability, until) for capability, until in may.items()]

    def permissions_of(self, member: Member) -> Permissions:
        return Permissions(member.peer, self.capabilities(member))

    def tell_permissions(self, member: Member) -> None:
        """Tells the member, the host and the staff what it may do from now on."""
        listeners = {staff.peer: staff for staff in self.roster.of(STAFF)}
        if not member.waiting:
            listeners[member.peer] = member
        self.delivery.to(listeners.values(), self.permissions_of(member))

    def end_grants(self, member: Member) -> None:
        """Ends what the member was granted until now."""
        now = self.state.clock
        granted = member.granted.items()
        over = [name for name, until in granted if until is not None and until <= now]
        if over:
            member.granted = {name: until for name, until in granted if name not in over}
            self.roster.note_times(member)
            for capability in over:
                self.delivery.record("permission.revoked", target=member, capability=capability)
            self.tell_permissions(member)

    def handover(self) -> Handover:
        """The rules of handing controls over, as they are now."""
        state = self.state
        return Handover(state.slots, state.settings, self._may_inherit, self._bearer, state.clock)

    def hand_over(
        self,
        change: Change,
        reason: Reason,
        message: Sentence = "",
        actor: Member | None = None,
    ) -> None:
        """Tells and records what has become of controls."""
        members = self.state.members
        if change.slots:
            states = [self.control(slot) for slot in change.slots.values()]
            self.delivery.everyone(Controls(states, reason, message))
        for peer in change.peers:
            member = members.get(peer)
            if member is not None:
                self.tell_permissions(member)
        for peer, control in change.lost:
            target = members.get(peer)
            self.delivery.record(
                "control.released", actor=actor, target=target, control=control, reason=reason
            )
        for peer, control in change.gained:
            self.delivery.record(
                "control.granted",
                actor=actor,
                target=members[peer],
                control=control,
                until=self.state.slots[control].until,
                reason=reason,
            )

    def _may_inherit(self, peer: str) -> bool:
        member = self.state.members.get(peer)
        return member is not None and member.present and member.role in PLAYERS

    def _bearer(self, peer: str) -> Bearer:
        member = self.state.members[peer]
        return Bearer(member.who, member.subject)

    def control(self, slot: Slot) -> ControlState:
        holder = None if slot.holder is None else self.state.members.get(slot.holder)
        return ControlState(
            slot.control,
            slot.holder,
            slot.until,
            holder is not None and holder.away_since is not None,
            list(slot.queue),
        )

    # The room and the outside --------------------------------------------------------------------

    def begin_with(self, settings: RoomSettings) -> None:
        """Takes a host's settings over where nobody has chosen others."""
        state = self.state
        chosen = {name: getattr(state.settings, name) for name in state.chosen}
        state.chosen = tuple(sorted(RoomSettings.__struct_fields__))
        settings = msgspec.structs.replace(
            settings, **{"title": readable(settings.title), **chosen}
        )
        if settings != state.settings:
            self.configure(settings, None)

    def configure(self, settings: RoomSettings, actor: Member | None) -> None:
        """The settings are these from now on, for everyone and everything."""
        before, self.state.settings = self.state.settings, settings
        self.tell_settings()
        # Turns are counted anew by other rules, and by nothing else: a lock is no longer turn.
        if any(getattr(before, name) != getattr(settings, name) for name in _OF_CONTROLS):
            self.hand_over(self.handover().fit(), "settings", actor=actor)

    def announce(self) -> None:
        """Puts the directory's card up, takes it down, or leaves it as it is."""
        state, host = self.state, self.roster.host
        card = None
        if host is not None and state.settings.privacy == "public":
            card = RoomCard(
                name=state.name,
                title=state.settings.title,
                steam_app_id=state.settings.steam_app_id,
                host=host.name,
                viewers=state.told_viewers,
                policy=state.settings.policy,
                locked=state.settings.locked,
                since=host.joined_at,
            )
        if card != state.card:
            state.card = card
            self.delivery.effect(Announce(card))

    def tell_settings(self) -> None:
        """Tells everyone the settings and how many watch."""
        state = self.state
        state.told_viewers = self.roster.viewers
        state.told_at = state.clock
        self.delivery.everyone(Settings(state.settings, state.told_viewers))
        self.announce()

    def tell_bans(self) -> None:
        """Tells the staff who is kept out."""
        self.delivery.to(self.roster.of(STAFF), self.bans())

    def bans(self) -> Bans:
        return Bans(list(self.state.bans.values()))
