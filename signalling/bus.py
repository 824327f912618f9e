"""The bus: one ordered stream of events per room, shared by every server that has peers in it.

Servers do not talk to each other. Each publishes what its own clients do (:data:`RoomEvent`), and
applies what the bus delivers, its own events included, to its copy of the room. The bus's order is
therefore the one order: whether a second host came first is decided there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .rooms import Join, Leave, RoomEvent

Deliver = Callable[[RoomEvent], None]
"""Called once per event, in order, on the event loop. Must not raise, and must not publish."""


class BusUnavailable(Exception):
    """The bus cannot be reached now. Trying again later may help."""


class Subscription(Protocol):
    """One subscriber's interest in one room."""

    async def close(self) -> None:
        """Deliver nothing more. May be called again; never raises :class:`BusUnavailable`."""


class Bus(Protocol):
    """What a server needs from a bus.

    Publishing and subscribing may raise :class:`BusUnavailable`.
    """

    async def publish(self, room: str, event: RoomEvent) -> None:
        """Put ``event`` at the end of the room's stream."""

    async def subscribe(self, room: str, deliver: Deliver) -> Subscription:
        """Deliver a :class:`Join` for each peer that is in the room now, oldest first, then every
        later event of the room, none missing and none twice. The first may come before this
        returns.
        """

    async def close(self) -> None:
        """Release what the bus holds. Nothing is delivered afterwards."""


class MemoryBus:
    """A :class:`Bus` inside one process. Delivers before :meth:`publish` returns."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Stream] = {}

    async def publish(self, room: str, event: RoomEvent) -> None:
        stream = self._rooms.setdefault(room, _Stream())
        match event:
            case Join(peer=peer):
                stream.present[peer] = event
            case Leave(peer=peer):
                stream.present.pop(peer, None)
        for subscription in tuple(stream.subscriptions):
            subscription.deliver(event)
        self._forget_if_idle(room, stream)

    async def subscribe(self, room: str, deliver: Deliver) -> Subscription:
        stream = self._rooms.setdefault(room, _Stream())
        for join in tuple(stream.present.values()):
            deliver(join)
        subscription = _MemorySubscription(self, room, deliver)
        stream.subscriptions.append(subscription)
        return subscription

    async def close(self) -> None:
        self._rooms.clear()

    def unsubscribe(self, room: str, subscription: _MemorySubscription) -> None:
        """The way out for :meth:`Subscription.close`."""
        stream = self._rooms.get(room)
        if stream is not None and subscription in stream.subscriptions:
            stream.subscriptions.remove(subscription)
            self._forget_if_idle(room, stream)

    def _forget_if_idle(self, room: str, stream: _Stream) -> None:
        if not stream.present and not stream.subscriptions:
            self._rooms.pop(room, None)


class _Stream:
    def __init__(self) -> None:
        self.present: dict[str, Join] = {}
        self.subscriptions: list[_MemorySubscription] = []


class _MemorySubscription:
    def __init__(self, bus: MemoryBus, room: str, deliver: Deliver) -> None:
        self._bus = bus
        self._room = room
        self.deliver = deliver

    async def close(self) -> None:
        self._bus.unsubscribe(self._room, self)
