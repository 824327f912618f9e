"""The hand-over of controls: who holds each, who waits for it, and what comes of what they do.

By the room's :data:`..messages.ControlPolicy`, a control that nobody holds goes to whom the host
gives it (``ask``), or to the first who waits (``free``, ``turns``), who has no second pad by it.
All sessions of a user count as one who holds and waits.
In ``turns`` the holder's time ends after ``turn_s``, but only while somebody waits. What the host
or its staff grants is no turn: it ends when they said, or never.

A control is kept for a holder that is away; nobody who is away is given one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..messages import Control, RoomSettings
from .refusal import Refusal
from .state import Slot

MAX_QUEUE = 32
"""How many may wait for one control."""

MAX_QUEUE_OF_INVITATION = 8
"""How many of them may have come by the same invitation; of a user it is one."""

NOTICE_S = 5.0
"""What a holder has left at least when the first one begins to wait, in seconds."""


@dataclass
class Change:
    """What has changed: which controls, and for whom what they may do. Both in order."""

    slots: dict[Control, Slot] = field(default_factory=dict)
    peers: dict[str, None] = field(default_factory=dict)
    lost: list[tuple[str, Control]] = field(default_factory=list)
    gained: list[tuple[str, Control]] = field(default_factory=list)

    def hold(self, slot: Slot, peer: str | None) -> None:
        if slot.holder is not None:
            self.lost.append((slot.holder, slot.control))
            self.peers[slot.holder] = None
        if peer is not None:
            self.gained.append((peer, slot.control))
            self.peers[peer] = None
        slot.holder = peer
        self.slots[slot.control] = slot

    def vacate(self, slot: Slot) -> None:
        if slot.holder is not None:
            self.hold(slot, None)
        slot.granted = False
        slot.until = None

    def end_at(self, slot: Slot, until: float | None) -> None:
        if slot.until != until:
            slot.until = until
            self.slots[slot.control] = slot
            if slot.holder is not None:
                self.peers[slot.holder] = None

    def unqueue(self, slot: Slot, peer: str) -> None:
        if peer in slot.queue:
            slot.queue.remove(peer)
            self.slots[slot.control] = slot


class Bearer(NamedTuple):
    """Whose session a peer is."""

    who: str
    """What counts as one: :attr:`.Member.who`."""

    subject: str


@dataclass(frozen=True)
class Handover:
    """The rules, over ``slots`` as they are at ``now`` (seconds of Unix time).

    Every method changes the slots and says what has changed, or raises :class:`.Refusal` and has
    changed nothing.
    """

    slots: dict[Control, Slot]
    settings: RoomSettings
    eligible: Callable[[str], bool]
    """Whether a peer may be given a control by the room itself: a player, or staff, who is there.
    """

    bearer: Callable[[str], Bearer]
    now: float

    def request(self, control: Control, peer: str) -> Change:
        slot = self._find(control)
        change = Change()
        if slot.holder == peer or peer in slot.queue:
            return change
        if self.settings.control_policy != "ask":
            if not self.eligible(peer):
                text = "controls go to players here: ask the host to make you one"
                raise Refusal("forbidden", text)
            if _is_pad(control) and (pad := self._pad_of(peer)) is not None:
                raise Refusal("conflict", f"you have {pad} already: release it first")
        self._require_place(slot, peer)
        if len(slot.queue) >= MAX_QUEUE:
            text = f"{MAX_QUEUE} others wait for {control} already: try again later"
            raise Refusal("conflict", text, retry=True)
        slot.queue.append(peer)
        change.slots[control] = slot
        return self._settled(change)

    def release(self, control: Control, peer: str) -> Change:
        """Gives it up, or waits for it no longer. No change if neither was so."""
        slot = self._find(control)
        change = Change()
        change.unqueue(slot, peer)
        if slot.holder == peer:
            change.vacate(slot)
        return self._settled(change)

    def give(self, control: Control, peer: str, other: str) -> Change:
        """The holder hands it on, with what is left of its time."""
        slot = self._find(control)
        if slot.holder != peer:
            raise Refusal("conflict", f"you do not have {control}")
        change = Change()
        if other != peer:
            change.unqueue(slot, other)
            change.hold(slot, other)
        return self._settled(change)

    def grant(self, control: Control, peer: str, until: float | None) -> Change:
        """It is given to ``peer``; whoever has it loses it."""
        slot = self._find(control)
        change = Change()
        change.unqueue(slot, peer)
        if slot.holder != peer:
            change.hold(slot, peer)
            slot.since = self.now
        slot.granted = True
        slot.until = until
        change.slots[control] = slot
        change.peers[peer] = None
        return self._settled(change)

    def deny(self, control: Control, peer: str) -> Change:
        slot = self._find(control)
        if peer not in slot.queue:
            raise Refusal("conflict", f"{peer} does not wait for {control} (any more)")
        change = Change()
        change.unqueue(slot, peer)
        return self._settled(change)

    def take(self, control: Control) -> Change:
        """Whoever has it loses it. No change if nobody has."""
        slot = self._find(control)
        change = Change()
        change.vacate(slot)
        return self._settled(change)

    def leave(self, peer: str) -> Change:
        """``peer`` is gone: it holds nothing and waits for nothing."""
        change = Change()
        for slot in self.slots.values():
            change.unqueue(slot, peer)
            if slot.holder == peer:
                change.vacate(slot)
        change.peers.pop(peer, None)
        return self._settled(change)

    def demote(self, peer: str) -> Change:
        """The room itself gives ``peer`` nothing any more: it keeps what it was granted alone."""
        change = Change()
        for slot in self.slots.values():
            if slot.holder == peer and not slot.granted:
                change.vacate(slot)
        return self._settled(change)

    def clear(self) -> Change:
        """The host is gone, and the machine with it: nobody holds anything or waits."""
        change = Change()
        for slot in self.slots.values():
            for peer in tuple(slot.queue):
                change.unqueue(slot, peer)
            change.vacate(slot)
        return change

    def expire(self) -> Change:
        """Ends what ends by now."""
        change = Change()
        for slot in self.slots.values():
            if slot.until is not None and slot.until <= self.now:
                change.vacate(slot)
        return self._settled(change)

    def settle(self) -> Change:
        """Somebody who waits is back, or may have now what they could not have before."""
        return self._settled(Change())

    def fit(self) -> Change:
        """The settings are others: there are other controls, and they are had by other rules."""
        change = Change()
        wanted = controls_of(self.settings)
        for control in [control for control in self.slots if control not in wanted]:
            slot = self.slots.pop(control)
            slot.queue = []
            change.vacate(slot)
        for control in wanted:
            if control not in self.slots:
                self.slots[control] = change.slots[control] = Slot(control=control)
            slot = self.slots[control] = self.slots.pop(control)  # in the order of ``wanted``
            if not slot.granted:
                change.end_at(slot, None)
        return self._settled(change)

    def _require_place(self, slot: Slot, peer: str) -> None:
        me = self.bearer(peer)
        others = [self.bearer(other) for other in slot.queue]
        if any(other.who == me.who for other in others):
            text = f"you wait for {slot.control} already, in another window"
            raise Refusal("conflict", text, retry=True)
        if sum(other.subject == me.subject for other in others) >= MAX_QUEUE_OF_INVITATION:
            text = (
                f"{MAX_QUEUE_OF_INVITATION} with the same invitation wait for {slot.control}"
                " already: try again later"
            )
            raise Refusal("conflict", text, retry=True)

    def _find(self, control: Control) -> Slot:
        slot = self.slots.get(control)
        if slot is None:
            raise Refusal("conflict", f"there is no {control} in this room")
        return slot

    def _settled(self, change: Change) -> Change:
        """Gives what is free to who is next, and counts the turns for which somebody waits."""
        if self.settings.control_policy != "ask":
            for slot in self.slots.values():
                if slot.holder is None and (heir := self._next(slot)) is not None:
                    self._inherit(slot, heir, change)
        for slot in self.slots.values():
            if slot.granted:
                continue
            counts = self.settings.control_policy == "turns" and slot.holder is not None
            if not counts or self._next(slot) is None:
                change.end_at(slot, None)
            elif slot.until is None:
                turn_s = self.settings.turn_s
                notice = min(NOTICE_S, turn_s)
                change.end_at(slot, max(slot.since + turn_s, self.now + notice))
        return change

    def _inherit(self, slot: Slot, heir: str, change: Change) -> None:
        change.unqueue(slot, heir)
        change.hold(slot, heir)
        slot.since = self.now
        if _is_pad(slot.control):
            for other in self.slots.values():
                if _is_pad(other.control):
                    for peer in self._of_same(other.queue, heir):
                        change.unqueue(other, peer)

    def _next(self, slot: Slot) -> str | None:
        for peer in slot.queue:
            if self.eligible(peer) and not (_is_pad(slot.control) and self._pad_of(peer)):
                return peer
        return None

    def _pad_of(self, peer: str) -> Control | None:
        for control, slot in self.slots.items():
            if _is_pad(control) and slot.holder is not None and self._of_same([slot.holder], peer):
                return control
        return None

    def _of_same(self, peers: list[str], peer: str) -> list[str]:
        """Those of the same user as ``peer``."""
        who = self.bearer(peer).who
        return [other for other in peers if self.bearer(other).who == who]


def controls_of(settings: RoomSettings) -> list[Control]:
    """The controls that there are."""
    pads = [f"pad:{number}" for number in range(1, settings.pads + 1)]
    return [*pads, "keyboard", "mouse"] if settings.keyboard else pads


def next_end(slots: Iterable[Slot]) -> float | None:
    """When the next of them ends, in seconds of Unix time."""
    return min((slot.until for slot in slots if slot.until is not None), default=None)


def _is_pad(control: Control) -> bool:
    return control.startswith("pad:")
