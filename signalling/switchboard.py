"""One server's side of the bus: its copies of the rooms, and the way from an effect to a client.

The way of an event: a connection calls :meth:`Switchboard.join`, :meth:`~Switchboard.relay` or
:meth:`~Switchboard.leave` -> the bus -> every subscribed switchboard -> its :class:`Room` ->
effects -> the :class:`Peer` of each effect, where that peer is one of this server's.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Protocol

from .bus import Bus, BusUnavailable, Subscription
from .messages import Error, Relayed, ServerMessage
from .rooms import Close, Join, Leave, Probe, Relay, Room, RoomEvent, Send

log = logging.getLogger(__name__)

_PUT_OUT = Error("internal", "the server lost its place in the room: join again", retry=True)


class Peer(Protocol):
    """A client of this server, as the switchboard sees it. No method may block or raise."""

    def send(self, message: ServerMessage) -> None:
        """Queue ``message``."""

    def close(self, error: Error) -> None:
        """Queue ``error``, then end the connection."""

    def probe(self) -> None:
        """Drop the connection soon unless the client shows that it is there."""


class Switchboard:
    """Connects the clients of one server to the rooms that all servers share.

    The bus stays the caller's; close it after the last client has left.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lines: dict[str, _Line] = {}

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms in which this server has clients. A snapshot."""
        return {name: line.room for name, line in self._lines.items()}

    async def join(self, room: str, join: Join, peer: Peer) -> None:
        """Bring a client into a room. The room's answer comes through ``peer``.

        Raises :class:`BusUnavailable`. :meth:`leave` must follow in every case.
        """
        line = self._lines.setdefault(room, _Line(room))
        line.peers[join.peer] = peer  # before anything is awaited: keeps the line from closing
        async with line.lock:
            if line.subscription is None:
                line.subscription = await self._bus.subscribe(room, partial(_deliver, line))
        await self._bus.publish(room, join)

    async def relay(self, room: str, source: str, message: Relayed) -> None:
        """Hand on a client's message. Raises :class:`BusUnavailable`."""
        await self._bus.publish(room, Relay(source, message))

    async def leave(self, room: str, leave: Leave) -> None:
        """Take a client out of its room. Does nothing the second time."""
        line = self._lines.get(room)
        if line is None or line.peers.pop(leave.peer, None) is None:
            return
        try:
            await self._bus.publish(room, leave)
        except BusUnavailable as error:
            log.warning("leave not published room=%s peer=%s: %s", room, leave.peer, error)
        async with line.lock:
            if line.peers or self._lines.get(room) is not line:
                return
            del self._lines[room]
            if line.subscription is not None:
                await line.subscription.close()


class _Line:
    """One room's subscription, and this server's clients in that room."""

    def __init__(self, name: str) -> None:
        self.room = Room(name)
        self.peers: dict[str, Peer] = {}
        self.subscription: Subscription | None = None
        self.lock = asyncio.Lock()


def _deliver(line: _Line, event: RoomEvent) -> None:
    _apply(line, event)
    if isinstance(event, Leave) and (peer := line.peers.get(event.peer)) is not None:
        # Not by us: this server was not heard of for so long that others put its clients out.
        peer.close(_PUT_OUT)


def _apply(line: _Line, event: RoomEvent) -> None:
    for effect in line.room.apply(event):
        peer = line.peers.get(effect.peer)
        if peer is None:
            continue
        match effect:
            case Send(message=message):
                peer.send(message)
            case Close(error=error):
                peer.close(error)
            case Probe():
                peer.probe()
