"""What ``playcast view`` says: what we are in the room, and, when there is no picture, why and what
to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from signalling.messages import (
    Controls,
    ControlState,
    PeerJoined,
    ServerMessage,
    Waiting,
    Welcome,
)

if TYPE_CHECKING:
    from peer.room_view import RoomReport, RoomView
    from peer.signalling_client import SignallingRefused
    from peer.view_link import ViewLink
    from peer.viewing import NoPicture


def advice_on(error: NoPicture, link: ViewLink) -> str:
    """Why there is no picture, and what to do."""
    from peer.viewing import ViewingState

    reason = str(error)
    match error.state:
        case ViewingState.JOINING:
            text = f"{reason}. Does playcast host still run? Its link is another with each start"
        case ViewingState.KNOCKING:
            text = f"{reason}. Ask the host to let you in"
        case ViewingState.WAITING:
            text = (
                f"{reason} (room {link.room} of {link.page}). Start playcast host, or --wait longer"
            )
        case ViewingState.CONNECTING:
            text = (
                f"no way to the host: {reason}. Both sides must reach each other by UDP: see --bind"
                " here, and --announce and --turn of playcast host"
            )
        case _:
            text = f"{reason}. See what playcast host says"
    return f"the picture is gone: {text}" if error.seen else text


def refusal_words(error: SignallingRefused, *, by_link: bool = True) -> str:
    """Why the server will not have us, and what to do. ``by_link``: the token was the link's."""
    match error.code:
        case "bad-token" | "token-expired" | "forbidden" if not by_link:
            return (
                f"the server refuses the token: {error}. It must be good there now, and let its"
                " bearer watch in this room"
            )
        case "bad-token" | "token-expired" | "forbidden":
            return (
                f"the server refuses the link: {error}. Take the link that playcast host prints now"
            )
        case "not-admitted":
            return f"you are not let in: {error}. Ask the host for an invitation"
        case "kicked":
            return f"you were put out: {error}. The same link lets you in again, if the host agrees"
        case "banned":
            return f"you are kept out: {error}. Only the host can change that"
        case "room-full":
            return f"there is no place: {error}. Try again when somebody has left"
        case "room-locked":
            return f"nobody is let in now: {error}. Ask the host to unlock the room"
        case "replaced":
            return f"another window goes on with this session: {error}"
        case "version":
            return f"{error}. Update the older of playcast here and there"
        case _:
            return str(error)


def standing_words(room: RoomReport) -> str:
    """What we are in a room, what we have, and what we wait for."""
    words = [f"you are {_ARTICLES.get(room.role or '', 'in the room')}"]
    for state in room.controls:
        if state.holder == room.peer:
            left = "" if state.until is None else f" for {max(0.0, state.until - room.at):.0f} s"
            words.append(f"you have {state.control}{left}")
        elif room.peer in state.queue:
            words.append(
                f"you wait for {state.control} (number {state.queue.index(room.peer) + 1})"
            )
    if room.rtt_ms is not None:
        words.append(f"server {room.rtt_ms:.0f} ms")
    return " · ".join(words)


_ARTICLES = {
    "admin": "an admin",
    "host": "the host",
    "moderator": "a moderator",
    "player": "a player",
    "viewer": "a viewer",
}

_LOST = {
    "given": "you have handed it on",
    "taken": "the host has taken it back",
    "granted": "the host has given it to another",
    "expired": "your time is over",
    "released": "you have released it",
    "settings": "the room has it no more",
}


def news_of(message: ServerMessage, room: RoomView) -> list[str]:
    """What a message means for us, in sentences. ``room`` is as it was before."""
    match message:
        case Waiting():
            return ["The room is asked to let you in."]
        case Welcome(role=role) if room.waiting:
            return [f"You are let in, as {_ARTICLES[role]}."]
        case Welcome(role=role, resumed=False):
            return [f"You are in the room, as {_ARTICLES[role]}."]
        case PeerJoined(peer=peer, role=role) if peer == room.peer and role != room.role:
            return [f"You are {_ARTICLES[role]} now."]
        case Controls():
            return list(_control_news(message, room))
    return []


def _control_news(message: Controls, room: RoomView) -> Iterator[str]:
    because = f": {message.message}" if message.message else ""
    for state in message.controls:
        before = room.controls.get(state.control, ControlState(state.control))
        if state.holder == room.peer != before.holder:
            left = "" if state.until is None else f" for {state.until - room.now():.0f} s"
            yield f"You have {state.control} now{left}."
        elif before.holder == room.peer != state.holder:
            why = _LOST.get(message.reason, message.reason)
            yield f"You do not have {state.control} any more: {why}{because}."
        elif room.peer in before.queue and room.peer not in state.queue:
            yield f"You wait for {state.control} no longer ({message.reason}){because}."
        elif room.peer in state.queue and room.peer not in before.queue:
            place = state.queue.index(room.peer) + 1
            yield f"You wait for {state.control}, as number {place}."


def os_error_words(error: OSError) -> str:
    return error.strerror or str(error)
