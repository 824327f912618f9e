"""One server's side of the bus: its copies of the rooms, and the way from an effect to a client.

The way of an event: a connection calls :meth:`Switchboard.join`, :meth:`~Switchboard.say` or
:meth:`~Switchboard.leave` -> the bus -> every subscribed switchboard -> its :class:`.Room` ->
effects -> the :class:`Client` of each effect, where that client is one of this server's. What time
does to a room goes the same way: whichever server finds it due publishes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Protocol

import msgspec

from .bus import Bus, BusUnavailable, Subscription
from .messages import Error, Invite, Relayed, Role, RoomRequest, ServerMessage, Welcome
from .records import NoRecords, RecordSink
from .rooms import (
    Announce,
    Away,
    Broadcast,
    Close,
    Effect,
    Greet,
    Join,
    Leave,
    MakeInvitation,
    Probe,
    Put,
    Room,
    RoomCard,
    RoomEvent,
    Say,
    Send,
    SnapshotError,
)

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""After this long, in seconds, what the bus would not take or has not brought is tried again."""

_MANY = 64

_PUT_OUT = Error("internal", "the server lost its place in the room: join again", retry=True)

_encode = msgspec.json.Encoder().encode
_card_decoder = msgspec.json.Decoder(RoomCard)


class Client(Protocol):
    """A connection of this server, as the switchboard sees it. No method may block or raise."""

    def deliver(self, frame: bytes) -> None:
        """Queue an encoded message, which others may get too."""

    def welcome(self, message: Welcome) -> None:
        """Queue ``message``, with the ICE servers and the session's secret added."""

    def invite(self, request: Invite, role: Role) -> None:
        """Make the invitation, to enter as ``role``, and answer with it: the room permits it."""

    def close(self, error: Error) -> None:
        """Queue ``error``, then end the connection."""

    def probe(self) -> None:
        """Drop the connection soon unless the client shows that it is there."""


class Switchboard:
    """Connects the clients of one server to the rooms that all servers share.

    The bus stays the caller's; close it after the switchboard.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        records: RecordSink | None = None,
        clock: Callable[[], float] = time.time,
        resume_window_s: float = 30.0,
    ) -> None:
        """``clock`` gives seconds of Unix time; ``resume_window_s`` is how long the seat of a
        client of this server is kept after its connection is lost.
        """
        self._bus = bus
        self._records = records or NoRecords()
        self._clock = clock
        self._window_s = resume_window_s
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms in which this server has members, present or away. A snapshot."""
        return {name: line.room for name, line in self._lines.items()}

    async def join(self, room: str, join: Join, client: Client) -> None:
        """Bring a client into a room. The room's answer comes through ``client``.

        Raises :class:`BusUnavailable`. :meth:`leave` must follow in every case.
        """
        line = self._lines.get(room)
        if line is None:
            line = self._lines[room] = _Line(room, self)
        line.clients[join.link] = client  # before anything is awaited: keeps the line from closing
        line.pending.add(join.link)
        async with line.lock:
            if line.subscription is None:
                line.subscription = await self._bus.subscribe(room, line)
        if line.unreadable is not None:
            raise BusUnavailable(line.unreadable)
        join = msgspec.structs.replace(join, window_s=self._window_s)
        await self._bus.publish(room, join)

    async def say(self, room: str, link: str, message: Relayed | RoomRequest) -> None:
        """Hand on a client's message, or what it asks of the room. Raises
        :class:`BusUnavailable`.
        """
        await self._bus.publish(room, Say(link, self._clock(), message))

    async def leave(self, room: str, link: str, reason: Literal["bye"] | None) -> None:
        """Take a client out of its room: for good (``bye``), or because its connection is lost.

        Does nothing the second time. While the bus is away it is tried again: nobody stays in whose
        connection is gone.
        """
        line = self._lines.get(room)
        if line is None or line.clients.pop(link, None) is None:
            return
        line.pending.discard(link)
        now = self._clock()
        event = Away(link, now) if reason is None else Leave(link, now, reason)
        line.linger(link)
        try:
            await self._bus.publish(room, event)
        except BusUnavailable as error:
            log.warning("leave not published room=%s link=%s: %s", room, link, error)
            self.leave_later(line, event)
        await self._close_if_idle(line)

    async def directory(self) -> list[RoomCard]:
        """The public rooms of all servers that have a host, those with most viewers first.

        Raises :class:`BusUnavailable`.
        """
        cards = []
        for room, card in (await self._bus.announced()).items():
            try:
                cards.append(_card_decoder.decode(card))
            except msgspec.MsgspecError as error:
                log.warning("the directory's card of room=%s cannot be read: %s", room, error)
        return sorted(cards, key=lambda card: (-card.viewers, card.name))

    async def tick(self) -> None:
        """Publish now what is due in the rooms. Happens by itself; for who has its own clock."""
        for line in tuple(self._lines.values()):
            await self._publish_due(line)

    async def close(self) -> None:
        """Give the rooms up. Clients that are still in are not told."""
        lines, self._lines = tuple(self._lines.values()), {}
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in lines:
            line.stop_timer()
            async with line.lock:
                if line.subscription is not None:
                    await line.subscription.close()

    # What a line asks for ------------------------------------------------------------------------

    def record(self, put: Put) -> None:
        self._records.put(put.record)

    def left_in(self, due: float) -> float:
        """Seconds until ``due``."""
        return max(0.0, due - self._clock())

    def publish_due(self, line: _Line) -> None:
        """Do so soon, and again later if that did not help."""
        self._spawn(self._publish_due(line))

    def leave_later(self, line: _Line, event: Away | Leave) -> None:
        """Publish ``event`` after a while, until it has happened."""
        self._spawn(self._leave_later(line, event))

    def close_if_idle(self, line: _Line) -> None:
        self._spawn(self._close_if_idle(line))

    def announce(self, line: _Line) -> None:
        self._spawn(self._announce(line))

    async def _publish_due(self, line: _Line) -> None:
        try:
            for event in line.room.due(self._clock()):
                await self._bus.publish(line.room.name, event)
        except BusUnavailable as error:
            log.warning("what is due is not published room=%s: %s", line.room.name, error)

    async def _leave_later(self, line: _Line, event: Away | Leave) -> None:
        while line.has_present(event.link):
            await asyncio.sleep(RETRY_S)
            try:
                if line.has_present(event.link):
                    await self._bus.publish(line.room.name, event)
            except BusUnavailable as error:
                log.debug("leave not published room=%s: %s", line.room.name, error)
        await self._close_if_idle(line)

    async def _close_if_idle(self, line: _Line) -> None:
        name = line.room.name
        async with line.lock:
            if line.is_idle() and self._lines.get(name) is line:
                # While the room is still followed: announcements have their place in its order.
                await self._announce_once(line)
            if not line.is_idle() or self._lines.get(name) is not line:
                return
            del self._lines[name]
            line.stop_timer()
            if line.subscription is not None:
                await line.subscription.close()

    async def _announce(self, line: _Line) -> None:
        while True:
            if await self._announce_once(line):
                return
            await asyncio.sleep(RETRY_S)

    async def _announce_once(self, line: _Line) -> bool:
        """Whether nothing is left to announce."""
        async with line.announcing:
            while line.to_announce:
                line.to_announce = False
                card = line.room.card
                if card is not None and not line.has_host:
                    break  # another server's: its host has come meanwhile
                try:
                    data = None if card is None else _encode(card)
                    await self._bus.announce(line.room.name, data)
                except BusUnavailable as error:
                    log.warning("not announced room=%s: %s", line.room.name, error)
                    line.to_announce = True
                    return False
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Line:
    """One room's subscription, and this server's clients in that room. A :class:`.bus.Replica`."""

    def __init__(self, name: str, board: Switchboard) -> None:
        self.room = Room(name)
        self.clients: dict[str, Client] = {}
        """By link."""
        self.pending: set[str] = set()
        """The links among them whose Join has not been delivered yet."""
        self.lingering: set[str] = set()
        """The links of this server that are gone, while their members are not: those may come
        back, or what their going brings about is still to be heard of and recorded."""
        self.subscription: Subscription | None = None
        self.unreadable: str | None = None
        """Why this server cannot take part in the room."""
        self.lock = asyncio.Lock()
        self.announcing = asyncio.Lock()
        self.to_announce = False
        """The room's card is not what was announced last, as far as that is for this server."""
        self._board = board
        self._lingering_limit = _MANY
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: float | None = None

    def is_idle(self) -> bool:
        """Nothing here needs the room any more."""
        self._forget_settled()
        return not self.clients and not self.lingering

    @property
    def has_host(self) -> bool:
        """The room's host is a client of this server."""
        host = self.room.host
        return host is not None and host.link in self.clients

    def has_present(self, link: str) -> bool:
        """Whether somebody is in the room by this link."""
        member = self.room.member(link)
        return member is not None and member.away_since is None

    def linger(self, link: str) -> None:
        """A client's connection is gone."""
        self.lingering.add(link)
        if len(self.lingering) > self._lingering_limit:
            self._forget_settled()
            self._lingering_limit = max(_MANY, 2 * len(self.lingering))

    def _forget_settled(self) -> None:
        self.lingering = {link for link in self.lingering if self.room.member(link) is not None}

    # The bus's side ------------------------------------------------------------------------------

    def deliver(self, event: RoomEvent, mine: bool) -> None:
        if self.unreadable is not None:
            return
        self._carry_out(self.room.apply(event), mine)
        if not isinstance(event, Say):
            self._after_a_change(event)
        if mine and isinstance(event, Join) and event.link not in self.clients:
            # Whose connection is gone; had that been published, it may have been lost.
            self.linger(event.link)
            self._board.leave_later(self, Away(event.link, event.at))
        self._set_timer()

    def snapshot(self) -> bytes:
        return self.room.snapshot()

    def restore(self, snapshot: bytes) -> None:
        had_seq = self.room.state.seq
        try:
            self.room.restore(snapshot)
        except SnapshotError as error:
            log.warning("cannot take part in room=%s: %s", self.room.name, error)
            self.unreadable = str(error)
            for client in tuple(self.clients.values()):
                client.close(_PUT_OUT)
            return
        for link, client in tuple(self.clients.items()):
            member = self.room.member(link)
            if member is None and link in self.pending:
                continue
            if member is None or member.away_since is not None or link in self.pending:
                client.close(_PUT_OUT)
                continue
            for message in self.room.missed(link, had_seq):
                client.deliver(_encode(message))
        self._set_timer()

    def _after_a_change(self, event: RoomEvent) -> None:
        if isinstance(event, Join):
            self.pending.discard(event.link)
        elif isinstance(event, Away | Leave):
            client = self.clients.get(event.link)
            if client is not None and event.link not in self.pending:
                # Not by us: this server was not heard of for so long that its clients count as
                # lost.
                client.close(_PUT_OUT)
        if not self.clients and self.is_idle():
            self._board.close_if_idle(self)

    # Effects -------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect], mine: bool) -> None:
        for effect in effects:
            match effect:
                case Send(to=links, message=message):
                    self._send(links, message)
                case Broadcast(message=message, seq=seq, but=but):
                    self._broadcast(message, seq, but)
                case Greet(link=link, welcome=welcome):
                    if (client := self.clients.get(link)) is not None:
                        client.welcome(welcome)
                case Close(link=link, error=error):
                    if (client := self.clients.get(link)) is not None:
                        client.close(error)
                case Probe(link=link):
                    if (client := self.clients.get(link)) is not None:
                        client.probe()
                case MakeInvitation(link=link, request=request, role=role):
                    if (client := self.clients.get(link)) is not None:
                        client.invite(request, role)
                case Put():
                    if mine:
                        self._board.record(effect)
                case Announce(card=card):
                    self._announce(card, mine)

    def _send(self, links: tuple[str, ...], message: ServerMessage) -> None:
        frame = None
        for link in links:
            client = self.clients.get(link)
            if client is not None:
                if frame is None:
                    frame = _encode(message)
                client.deliver(frame)

    def _broadcast(self, message: ServerMessage, seq: int, but: tuple[str, ...]) -> None:
        frame = _encode(message)
        for link, client in tuple(self.clients.items()):
            if link not in but and self.room.was_in(link, seq):
                client.deliver(frame)

    def _announce(self, card: RoomCard | None, mine: bool) -> None:
        if mine if card is None else self.has_host:
            self.to_announce = True
            self._board.announce(self)

    # Time ----------------------------------------------------------------------------------------

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        due = self.room.next_due()
        if due == self._timer_due and (due is None or self._timer is not None):
            return
        self.stop_timer()
        self._timer_due = due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(
                self._board.left_in(due), self._time_is_up
            )

    def _time_is_up(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._time_is_up)
        self._board.publish_due(self)
