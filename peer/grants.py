"""What each member of the room may do at this machine: asked before every input event.

The server decides, and says what it decided (:class:`.Permissions`, :class:`.Controls`); a host
keeps it here and asks for each event, on the machine where the effect happens. Time is an argument,
in seconds of the room's clock (Unix time as the server has it).

Whatever ends a grant, what its holder pressed and did not let go of is handed to ``on_release``,
once, so that no button stays down::

    grants = Grants(on_release=lambda release: injector.lift(release.held))
    if grants.press("anna", "pad:1", BUTTON_A, now):  # may she? Then it is remembered as held
        injector.press(BUTTON_A)
    if grants.lift("anna", "pad:1", BUTTON_A):
        injector.lift(BUTTON_A)

What ends a grant: the server takes it back or gives it to another, its time passes
(:meth:`expire`, to be called at :meth:`next_end`), its holder leaves (:meth:`drop`). A media
connection that closes takes no grant away, but nothing stays pressed (:meth:`let_go`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from signalling.messages import Capability, Control, ControlState, PeerId, Permission

ReleaseReason = Literal["ended", "revoked", "handed over", "left", "disconnected", "cut off"]


@dataclass(frozen=True, slots=True)
class Release:
    """Someone may do something no longer, or not now."""

    peer: PeerId
    capability: Capability
    held: tuple[Hashable, ...]
    """What it pressed by that and did not let go of, in the order of pressing."""
    reason: ReleaseReason


class Grants:
    """The table of one room. Nothing is allowed that is not named in it."""

    def __init__(self, on_release: Callable[[Release], None] = lambda _: None) -> None:
        """``on_release`` must neither block nor raise."""
        self._on_release = on_release
        self._until: dict[tuple[PeerId, Capability], float] = {}
        self._counts: Mapping[tuple[PeerId, Capability], float] = self._until
        self._held: dict[tuple[PeerId, Capability], dict[Hashable, None]] = {}

    def allows(self, peer: PeerId, capability: Capability, now: float) -> bool:
        """May it, at this moment?"""
        until = self._counts.get((peer, capability))
        return until is not None and now < until

    def press(self, peer: PeerId, capability: Capability, key: Hashable, now: float) -> bool:
        """May it press ``key``? Then the key is held until :meth:`lift`, or the grant's end."""
        if not self.allows(peer, capability, now):
            return False
        self._held.setdefault((peer, capability), {})[key] = None
        return True

    def lift(self, peer: PeerId, capability: Capability, key: Hashable) -> bool:
        """Was ``key`` held? Then it is no more. Letting go needs no grant."""
        held = self._held.get((peer, capability))
        if held is None or key not in held:
            return False
        del held[key]
        if not held:
            del self._held[peer, capability]
        return True

    # What the server says ------------------------------------------------------------------------

    def permit(self, peer: PeerId, permissions: Iterable[Permission]) -> None:
        """All that ``peer`` may do from now on. A control that it has, nobody else has."""
        may = {
            permission.capability: math.inf if permission.until is None else permission.until
            for permission in permissions
        }
        for capability in self.of(peer).keys() - may.keys():
            self._end((peer, capability), "revoked")
        for capability in may:
            if is_control(capability):
                self._end_others(capability, peer)
        self._until.update({(peer, capability): until for capability, until in may.items()})

    def hand_over(self, controls: Iterable[ControlState]) -> None:
        """Who has these controls now: nobody else has. Grants nothing."""
        for state in controls:
            self._end_others(state.control, state.holder)

    def drop(self, peer: PeerId) -> None:
        """The member is gone."""
        for capability in self.of(peer):
            self._end((peer, capability), "left")

    def settle(self, peers: Iterable[PeerId], controls: Iterable[ControlState]) -> None:
        """Nobody but these is there, and these are all the controls, with who has them."""
        for peer in {peer for peer, _ in self._until} - set(peers):
            self.drop(peer)
        holders = {state.control: state.holder for state in controls}
        for control in {name for _, name in self._until if is_control(name)}:
            self._end_others(control, holders.get(control))

    # What happens here ---------------------------------------------------------------------------

    def let_go(self, peer: PeerId) -> None:
        """Its connection is gone: what it held is let go of. It may go on over another one."""
        for key in [key for key in self._held if key[0] == peer]:
            self._release(key, "disconnected")

    def suspend(self) -> None:
        """Nobody may do anything until :meth:`resume`: there is nobody who could take it back."""
        self._counts = {}
        for key in tuple(self._until):
            self._release(key, "cut off")

    def resume(self) -> None:
        """The table counts again."""
        self._counts = self._until

    def expire(self, now: float) -> None:
        """End what ends by ``now``."""
        for key in [key for key, until in self._until.items() if until <= now]:
            self._end(key, "ended")

    def next_end(self) -> float | None:
        """When :meth:`expire` has something to do."""
        soonest = min(self._until.values(), default=math.inf)
        return None if soonest == math.inf else soonest

    # What is asked of it -------------------------------------------------------------------------

    def of(self, peer: PeerId) -> dict[Capability, float]:
        """What it may do, and until when (infinity: as long as it is there)."""
        return {
            capability: until for (whose, capability), until in self._until.items() if whose == peer
        }

    def _end_others(self, control: Control, holder: PeerId | None) -> None:
        for key in [key for key in self._until if key[1] == control and key[0] != holder]:
            self._end(key, "revoked" if holder is None else "handed over")

    def _end(self, key: tuple[PeerId, Capability], reason: ReleaseReason) -> None:
        del self._until[key]
        self._release(key, reason)

    def _release(self, key: tuple[PeerId, Capability], reason: ReleaseReason) -> None:
        held = tuple(self._held.pop(key, ()))
        self._on_release(Release(*key, held, reason))


def is_control(capability: Capability) -> bool:
    """Does one member at a time have it?"""
    return capability in ("keyboard", "mouse") or capability.startswith("pad:")
