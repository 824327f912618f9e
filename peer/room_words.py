"""A room in words: for the status of a host and of a viewer, on a terminal and in a line."""

from __future__ import annotations

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from peer.room_view import MemberReport, RoomReport
from peer.status_faces import clock_words, indented
from signalling.messages import ControlState

_MAX_SHOWN = 8

_POLICIES = {
    "open": "open to everyone",
    "link": "for those who have its link",
    "approval": "you let people in",
    "followers": "for followers",
    "subscribers": "for subscribers",
    "invite": "for the invited",
}


def room_words(room: RoomReport) -> str:
    """How the room is run, and who is there."""
    words = [_POLICIES[room.policy]]
    if room.locked:
        words.append("locked")
    words.append(f"{room.viewers} watching")
    if room.rtt_ms is not None:
        words.append(f"server {room.rtt_ms:.0f} ms")
    return " · ".join(words)


def room_table(room: RoomReport) -> Padding:
    """Who has each control, and who waits: for one, or to be let in."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(Text("room", style="dim"), Text(room_words(room)))
    for state in room.controls:
        if state.holder is not None or state.queue:
            grid.add_row(Text(state.control, style="dim"), control_words(state, room))
    if room.knocking:
        names = _names([member.peer for member in room.knocking], room)
        grid.add_row(
            Text("at the door", style="yellow"), Text(f"{names}: let them in, or not, as manager")
        )
    away = [member.peer for member in room.members if member.away and not member.waiting]
    if away:
        grid.add_row(Text("away", style="dim"), Text(_names(away, room)))
    return indented(grid)


def control_words(state: ControlState, room: RoomReport) -> str:
    """Who has a control, for how long, and who is next."""
    words = "free" if state.holder is None else name_in(room, state.holder)
    if state.away:
        words += " (away)"
    if state.until is not None:
        words += f", {clock_words(max(0.0, state.until - room.at))} left"
    if state.queue:
        words += f"; next: {_names(state.queue, room)}"
    return words


def plain_room(room: RoomReport) -> list[str]:
    """The room in a plain line."""
    words = [f"{state.control}={name_in(room, state.holder)}" for state in held(room)]
    words += [f"asks={name_in(room, m.peer)}:{','.join(m.asks)}" for m in room.members if m.asks]
    if room.knocking:
        words.append(f"at-the-door={len(room.knocking)}")
    if room.locked:
        words.append("locked")
    return words


def room_key(room: RoomReport | None) -> tuple[object, ...]:
    """What of a room a plain line is for: who holds what, who asks, who waits."""
    if room is None:
        return ()
    states = [(state.control, state.holder, tuple(state.queue)) for state in room.controls]
    return (room.role, room.policy, room.locked, *states, *(m.peer for m in room.knocking))


def held(room: RoomReport) -> list[ControlState]:
    """The controls that somebody has."""
    return [state for state in room.controls if state.holder is not None]


def name_in(room: RoomReport, peer: str | None) -> str:
    """What to call a member."""
    if peer == room.peer:
        return "you"
    member = next((member for member in room.members if member.peer == peer), None)
    return _shown(member) if member else peer or ""


def _names(peers: list[str], room: RoomReport) -> str:
    names = [name_in(room, peer) for peer in peers[:_MAX_SHOWN]]
    rest = len(peers) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest > 0 else "")


def _shown(member: MemberReport) -> str:
    return member.name or member.peer
