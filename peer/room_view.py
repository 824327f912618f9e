"""A room as one member sees it: who is there, who waits, who holds what, how it is run.

Nothing but what the server says, message by message; what it does not say, is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins

from signalling.messages import (
    Bans,
    Control,
    Controls,
    ControlState,
    PeerId,
    PeerJoined,
    PeerLeft,
    Permission,
    Permissions,
    Role,
    RoomSettings,
    ServerMessage,
    Settings,
    Waiting,
    Welcome,
)


class RoomView:
    """Fed with every message, in order."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` has Unix time, in seconds."""
        self.peer: PeerId = ""
        """Our name in the room."""
        self.role: Role | None = None
        self.waiting = False
        """The room has not let us in yet."""
        self.capabilities: list[Permission] = []
        """What we may do."""
        self.settings = RoomSettings()
        self.viewers = 0
        """How many watch, as the server counted last."""
        self.members: dict[PeerId, PeerJoined] = {}
        """The others that we may see, those who wait included."""
        self.controls: dict[Control, ControlState] = {}
        self.banned = 0
        self.resume_window_s = 0.0
        """How long the server keeps our place when the link to it is lost."""
        self._clock = clock
        self._ahead_s = 0.0

    def now(self) -> float:
        """The room's clock, in seconds of Unix time: what an ``until`` counts by."""
        return self._clock() + self._ahead_s

    def take(self, message: ServerMessage) -> None:
        """Whatever the server says; what does not concern the room is passed over."""
        match message:
            case Welcome():
                self._welcomed(message)
            case Waiting(peer=peer):
                self.peer, self.waiting = peer, True
            case PeerJoined(peer=peer) if peer == self.peer:
                self.role = message.role
            case PeerJoined(peer=peer):
                self.members[peer] = message
            case PeerLeft(peer=peer):
                self.members.pop(peer, None)
            case Permissions(peer=peer, capabilities=capabilities) if peer == self.peer:
                self.capabilities = capabilities
            case Controls(controls=controls):
                self.controls.update({state.control: state for state in controls})
            case Settings(settings=settings, viewers=viewers):
                self._settings_changed(settings)
                self.viewers = viewers
            case Bans(bans=bans):
                self.banned = len(bans)

    def holds(self, peer: PeerId) -> list[Control]:
        """The controls that a member has."""
        return [state.control for state in self.controls.values() if state.holder == peer]

    def _welcomed(self, welcome: Welcome) -> None:
        self.peer, self.role, self.waiting = welcome.peer, welcome.role, False
        self.resume_window_s = welcome.resume_window_s
        if welcome.at:
            self._ahead_s = welcome.at - self._clock()
        self.capabilities = welcome.capabilities
        self.settings = welcome.settings
        self.members = {member.peer: member for member in welcome.members}
        self.controls = {state.control: state for state in welcome.controls}

    def _settings_changed(self, settings: RoomSettings) -> None:
        self.settings = settings
        there = [f"pad:{number + 1}" for number in range(settings.pads)]
        there += ["keyboard", "mouse"] if settings.keyboard else []
        for control in self.controls.keys() - set(there):
            del self.controls[control]


@dataclass(frozen=True, slots=True)
class MemberReport:
    """Someone in the room, for a status."""

    peer: PeerId
    name: str
    role: Role
    away: bool
    """The link to the server is lost; the seat is kept."""
    waiting: bool
    """Not in yet."""
    holds: tuple[Control, ...]
    asks: tuple[Control, ...]
    """The controls that it waits for."""


@dataclass(frozen=True, slots=True)
class RoomReport:
    """A room now, for a status."""

    peer: PeerId
    """Our name in it."""
    role: Role | None
    policy: str
    locked: bool
    title: str
    viewers: int
    members: tuple[MemberReport, ...]
    controls: tuple[ControlState, ...]
    rtt_ms: float | None
    """The round trip to the signalling server."""
    at: float
    """The room's clock, in seconds of Unix time."""

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return to_builtins(self, builtin_types=(float,))  # type: ignore[no-any-return]

    @property
    def knocking(self) -> tuple[MemberReport, ...]:
        """Those who wait to be let in."""
        return tuple(member for member in self.members if member.waiting)


def report_of(view: RoomView, rtt_ms: float | None) -> RoomReport:
    """What a status shows of the room."""
    asking = {
        peer: tuple(state.control for state in view.controls.values() if peer in state.queue)
        for peer in view.members
    }
    return RoomReport(
        peer=view.peer,
        role=view.role,
        policy=view.settings.policy,
        locked=view.settings.locked,
        title=view.settings.title,
        viewers=view.viewers,
        members=tuple(
            MemberReport(
                peer=member.peer,
                name=member.name,
                role=member.role,
                away=member.away,
                waiting=member.waiting,
                holds=tuple(view.holds(member.peer)),
                asks=asking[member.peer],
            )
            for member in view.members.values()
        ),
        controls=tuple(view.controls.values()),
        rtt_ms=rtt_ms,
        at=view.now(),
    )
