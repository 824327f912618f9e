"""The bus: one ordered stream of events per room, shared by every server that has members in it.

Servers do not talk to each other. Each publishes what its own clients do (:data:`RoomEvent`), and
applies what the bus delivers, its own events included, to its copy of the room. The bus's order is
therefore the one order: whether a second host came first is decided there and nowhere else.

The bus knows the links of each server (a :class:`.Join` adds one, :class:`.Away` and
:class:`.Leave` remove it), so that it can say Away for those of a server that died. Who is a member
is in the rooms' state alone.
"""

from __future__ import annotations

from typing import Protocol

from .rooms import RoomEvent


class BusUnavailable(Exception):
    """The bus cannot be reached now. Trying again later may help."""


class Replica(Protocol):
    """One server's copy of one room. No method may raise, publish, or wait.

    The bus calls it on the event loop.
    """

    def deliver(self, event: RoomEvent, mine: bool) -> None:
        """The next event, in the one order. ``mine``: of all servers, this one is to do what is
        done once (it published the event, or acts for one that died).
        """

    def snapshot(self) -> bytes:
        """The whole state after the event delivered last."""

    def restore(self, snapshot: bytes) -> None:
        """Become that state: the first thing after subscribing, if there is one, and after a loss.
        Clients of this server that are not in it are closed.
        """


class Subscription(Protocol):
    """One subscriber's interest in one room."""

    async def close(self) -> None:
        """Deliver nothing more. May be called again; never raises :class:`BusUnavailable`."""


class Bus(Protocol):
    """What a server needs from a bus.

    Everything but :meth:`close` may raise :class:`BusUnavailable`.
    """

    @property
    def available(self) -> bool:
        """Whether it can be reached, as far as is known."""

    async def publish(self, room: str, event: RoomEvent) -> None:
        """Put ``event`` at the end of the room's stream. For who has subscribed the room here."""

    async def subscribe(self, room: str, replica: Replica) -> Subscription:
        """Restore the room's state, if it has one, and deliver every later event, none missing and
        none twice. The first may come before this returns.
        """

    async def announce(self, room: str, card: bytes | None) -> None:
        """Put up the room's card in the directory, in the place of an earlier one, or take it
        down.
        """

    async def announced(self) -> dict[str, bytes]:
        """All cards of the directory, by room."""

    async def close(self) -> None:
        """Release what the bus holds. Nothing is delivered afterwards."""


class MemoryBus:
    """A :class:`Bus` inside one process. Delivers before :meth:`publish` returns.

    Where several servers of the process share it, what is done once is done by the room's first.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, list[_MemorySubscription]] = {}
        self._cards: dict[str, bytes] = {}

    @property
    def available(self) -> bool:
        return True

    async def publish(self, room: str, event: RoomEvent) -> None:
        mine = True
        for subscription in tuple(self._rooms.get(room, ())):
            subscription.replica.deliver(event, mine)
            mine = False

    async def subscribe(self, room: str, replica: Replica) -> Subscription:
        subscriptions = self._rooms.setdefault(room, [])
        if subscriptions:
            replica.restore(subscriptions[0].replica.snapshot())
        subscription = _MemorySubscription(self, room, replica)
        subscriptions.append(subscription)
        return subscription

    async def announce(self, room: str, card: bytes | None) -> None:
        if card is None:
            self._cards.pop(room, None)
        else:
            self._cards[room] = card

    async def announced(self) -> dict[str, bytes]:
        return dict(self._cards)

    async def close(self) -> None:
        self._rooms.clear()
        self._cards.clear()

    def unsubscribe(self, room: str, subscription: _MemorySubscription) -> None:
        """The way out for :meth:`Subscription.close`."""
        subscriptions = self._rooms.get(room, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._rooms[room]


class _MemorySubscription:
    def __init__(self, bus: MemoryBus, room: str, replica: Replica) -> None:
        self._bus = bus
        self._room = room
        self.replica = replica

    async def close(self) -> None:
        self._bus.unsubscribe(self._room, self)
