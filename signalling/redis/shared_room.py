"""One room of this server, and its way to the room's log in Redis and back.

The way of an event: :meth:`SharedRoom.publish` puts it into the outbox -> the script PUBLISH
appends it and publishes it on the channel, in one step -> every server that has the room hears it
on its one listening connection -> its :class:`.room_copy.RoomCopy` lets it through when it is the
next one -> the replicas. What does not fit (a gap, a lost connection, a Redis that came back with
less) makes the server *enter* the room again: it reads what it missed, and brings what Redis lost.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..bus import BusUnavailable, Replica
from ..rooms.events import Away, RoomEvent
from .client import RedisClient
from .negotiation import negotiate
from .outbox import Outbox
from .replay import empty, replay
from .room_copy import Gap, RoomCopy
from .room_scripts import RoomScripts
from .session import FAILURES, Session
from .settings import RedisSettings
from .watch import BusWatch
from .wire import Entry, RedisDataError, State, decode_message, link_change

log = logging.getLogger(__name__)

_BATCH = 64
_SNAPSHOT_EVERY = 64  # events
_IDLE_LEASES = 3  # a room in which nothing happens is looked after so rarely


@dataclass(frozen=True)
class Server:
    """What all rooms of one server share."""

    name: str
    settings: RedisSettings
    client: RedisClient
    clock: Callable[[], float]
    watch: BusWatch
    start: Callable[[Any, str], asyncio.Task[None]]
    """Runs something beside, until the bus is closed."""

    q: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class SharedRoom:
    """See the module. ``session`` may be up or not at any time."""

    def __init__(self, name: str, server: Server, session: Session) -> None:
        settings = server.settings
        self.name = name
        self.entered = False
        self.users = 0
        """Calls that are under way and need the room."""

        self.closing: asyncio.Task[None] | None = None
        self.replicas: list[Replica] = []
        self.copy = RoomCopy(
            server.name, length=settings.log_length, age_s=settings.snapshot_s + settings.lease_s
        )
        self.scripts = RoomScripts(name, server.name, settings, server.client, self.copy)
        self.channel = self.scripts.channel
        self._server = server
        self._session = session
        self._lock = asyncio.Lock()  # one script that appends, of this room at a time
        self._others: set[str] = set()
        self._outbox = Outbox()
        self._sender: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._held: list[tuple[str, Entry]] | None = None
        self._unheard: dict[int, float] = {}
        self._trouble = ""
        self._active = False
        self._behind = 0
        self._absent: dict[str, float] = {}  # server that has links and takes no part -> since when
        self._checked_at = 0.0
        self._saved_n = 0
        self._saved_at = time.monotonic()

    @property
    def alone(self) -> bool:
        """As far as is known, no other server has this room."""
        return self.entered and not self._other_servers

    @property
    def _other_servers(self) -> set[str]:
        return (self._others | set(self.copy.links.values())) - {self._server.name}

    # Replicas ------------------------------------------------------------------------------------

    async def add(self, replica: Replica) -> None:
        """Bring a replica up to date, and keep it so. Raises :class:`BusUnavailable`."""
        if self.entered:
            if self.replicas:
                replica.restore(self.replicas[0].snapshot())
            self.replicas.append(replica)
            return
        self.replicas.append(replica)
        try:
            async with asyncio.timeout(self._server.settings.patience_s):
                while not self.entered:
                    await self._session.up.wait()
                    async with self._lock:
                        entered = await self._enter_first()
                    if not entered:
                        await self._pause()
        except TimeoutError:
            self.replicas.remove(replica)
            raise self._unavailable() from None
        except BaseException:
            self.replicas.remove(replica)
            raise

    async def _enter_first(self) -> bool:
        try:
            if not self.entered and self._session.up.is_set():
                await self._session.listen_to([self.channel])
                await self._enter()
        except FAILURES as error:
            self._fail(error)
        return self.entered

    def _deliver(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._active = True
            mine = entry.server == self._server.name
            for replica in tuple(self.replicas):
                replica.deliver(entry.event, mine)
            if mine:
                self._outbox.confirm(entry.q)
                if entry.n % _SNAPSHOT_EVERY == 0:
                    self._save_soon(entry)

    # Publishing ----------------------------------------------------------------------------------

    async def publish(self, event: RoomEvent) -> None:
        """See :meth:`.bus.RedisBus.publish`. Raises :class:`..bus.BusUnavailable`.

        Returns when the event was delivered here: from then on this server can bring it back to a
        Redis that loses it.
        """
        q = next(self._server.q)
        if not self._session.up.is_set() and self.alone and self._outbox.clear:
            self._deliver([self.copy.take_local(q, event)])
            return
        waiting = self._outbox.put(q, event, time.monotonic())
        self._send_soon()
        try:
            async with asyncio.timeout(self._server.settings.patience_s):
                await waiting.done.wait()
        except TimeoutError:
            self._server.watch.bus_failed()
            raise self._unavailable() from None
        finally:
            self._outbox.drop(q)

    def go_on_alone(self) -> None:
        """Redis is away: a room that is this server's alone does not wait for it."""
        if self.alone:
            self._outbox.take_back()
            for q, event in self._outbox.waiting():
                self._deliver([self.copy.take_local(q, event)])

    def _send_soon(self) -> None:
        if self._outbox and self._sender is None:
            self._sender = self._server.start(self._send_all(), "redis-sender")

    async def _send_all(self) -> None:
        try:
            while self._outbox:
                await self._session.up.wait()
                async with self._lock:
                    went_out = await self._send_some()
                if not went_out:
                    await self._pause()
        finally:
            self._sender = None

    async def _send_some(self) -> bool:
        """Whether Redis took it, or may have."""
        batch = self._outbox.send(_BATCH)
        if not batch:
            return True
        epoch = self.copy.epoch
        for q, waiting in batch.items():
            self._unheard[q] = waiting.since
        events = {q: (*link_change(one.event), one.encoded) for q, one in batch.items()}
        try:
            word, numbers = await self.scripts.publish(events)
            if word != "ok":
                self._outbox.take_back()
                if word == "settle":
                    return False
                await self._enter()
                return True
        except FAILURES as error:
            self._outbox.take_back()
            self._fail(error)
            return False
        for (q, one), n in zip(batch.items(), numbers, strict=True):
            # Clients of this server need not wait for the channel.
            if n == self.copy.position + 1:
                self._take(epoch, Entry(n, self._server.name, q, one.event, one.encoded))
        self._outbox.confirm_up_to(self.copy.seq.get(self._server.name, 0))
        return True

    async def _pause(self) -> None:
        await asyncio.sleep(self._server.settings.settle_s / 20)

    def _unavailable(self) -> BusUnavailable:
        return BusUnavailable(f"Redis: {self._session.failure or 'no answer'}")

    def _fail(self, error: BaseException) -> None:
        """Redis failed, or what it has of this room is not ours; that is this room's affair."""
        if isinstance(error, RedisDataError):
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("room=%s: %s", self.name, error)
            self._active = True  # look after it again
        else:
            self._session.lose(error)

    # Hearing -------------------------------------------------------------------------------------

    def heard(self, data: bytes) -> None:
        """A message came over the channel."""
        try:
            epoch, entry = decode_message(data)
        except RedisDataError as error:
            log.warning("room=%s: %s", self.name, error)
            return
        if entry.server == self._server.name:
            since = self._unheard.pop(entry.q, None)
            if since is not None:
                self._server.watch.bus_lag(time.monotonic() - since)
        if self._held is not None:
            self._held.append((epoch, entry))
        elif self.entered:
            self._take(epoch, entry)

    def _take(self, epoch: str, entry: Entry) -> None:
        try:
            if self.copy.take(epoch, entry):
                self._deliver([entry])
        except Gap:
            if self._catching_up is None:
                self._catching_up = self._server.start(self._catch_up(), "redis-catch-up")

    async def _catch_up(self) -> None:
        try:
            await self.recover()
        finally:
            self._catching_up = None

    # Entering ------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Come up to date, where this server is in."""
        async with self._lock:
            try:
                if self.entered and self.replicas:
                    await self._enter()
            except FAILURES as error:
                self._fail(error)

    async def _enter(self) -> None:
        """Come up to date; the lock is held. Raises one of :data:`.session.FAILURES`."""
        if not self.replicas:
            raise RedisDataError("nobody is left here who could bring it back")
        self._held = []
        self._unheard.clear()
        try:
            found, apart = await negotiate(
                self.copy,
                self.scripts,
                lambda: self.replicas[0].snapshot(),
                lambda: self._other_servers,
            )
            if isinstance(found, State):
                self._adopt(found, apart=apart)
            else:
                self._deliver(self.copy.follow(found.entries))
            self.copy.epoch = found.epoch
            self._others = found.servers
            self.entered = self._active = True
            self._trouble = ""
            self.copy.alone_after = None
            self._behind = 0
        finally:
            held, self._held = self._held, None
        self._outbox.take_back()
        self._outbox.confirm_up_to(self.copy.seq.get(self._server.name, 0))
        self._send_soon()
        for epoch, entry in held:
            if epoch == self.copy.epoch and entry.n > self.copy.position:
                self._take(epoch, entry)

    def _adopt(self, state: State, *, apart: bool) -> None:
        self.copy.adopt(state)
        self._saved_n, self._saved_at = state.base, time.monotonic()
        snapshot = replay(self.name, state.snapshot, [entry.event for entry in state.entries])
        if apart:
            log.warning("room=%s: went on apart from Redis, and takes what is there", self.name)
            # All clients here are to join again. Some of these may have left in the other history.
            for link in [link for link, of in state.links.items() if of == self._server.name]:
                away = Away(link, self._server.clock())
                self._outbox.put(next(self._server.q), away, time.monotonic())
        for replica in tuple(self.replicas):
            if apart:
                # What its clients have had is not what the room says: they begin from its state.
                replica.restore(empty(self.name))
            replica.restore(snapshot)

    # Care ----------------------------------------------------------------------------------------

    def needs_care(self, living: set[str] | None) -> bool:
        """Whether to :meth:`look_after` it now."""
        idle_s = time.monotonic() - self._checked_at
        return self.entered and (
            self._active
            or (living is not None and not self._other_servers <= living)
            or idle_s > _IDLE_LEASES * self._server.settings.lease_s
        )

    async def look_after(self, living: set[str] | None) -> set[str]:
        """Compare with Redis. Returns who takes part and was not among the ``living``."""
        async with self._lock:
            try:
                if self.entered and self.replicas:
                    await self._check()
            except FAILURES as error:
                self._fail(error)
        return self._other_servers - living if living is not None else set()

    async def _check(self) -> None:
        self._active = False
        self._checked_at = time.monotonic()
        position = self.copy.position
        checked = await self.scripts.check()
        if checked is None or checked[0] < position or self._behind > self.copy.position:
            await self._enter()
            return
        # What is on its way on the channel is awaited until the next time.
        self._behind, self._others, settling = checked
        self._active = settling or self._behind > self.copy.position
        if not self._active:
            await self._take_out_absent()

    async def _take_out_absent(self) -> None:
        """Links of servers that live and left the room while it was lost are away."""
        now, lease_s = time.monotonic(), self._server.settings.lease_s
        absent = set(self.copy.links.values()) - self._others - {self._server.name}
        self._absent = {server: self._absent.get(server, now) for server in absent}
        self._active = bool(absent)
        for server, since in self._absent.items():
            if now - since > lease_s:
                await self._reap(server, dead=False)

    async def reap(self, dead: Iterable[str]) -> None:
        """The links of these servers are away."""
        async with self._lock:
            try:
                for server in dead:
                    await self._reap(server, dead=True)
            except FAILURES as error:
                self._fail(error)

    async def _reap(self, server: str, *, dead: bool) -> None:
        await self.scripts.reap(next(self._server.q), server, self._server.clock(), dead=dead)

    def _save_soon(self, entry: Entry) -> None:
        """Keep a snapshot in Redis, when the last is old. ``entry`` was delivered just now."""
        settings = self._server.settings
        young = time.monotonic() - self._saved_at < settings.snapshot_s
        if young and entry.n - self._saved_n < settings.log_length // 2:
            return
        if self._session.up.is_set() and self.replicas:
            self._saved_n, self._saved_at = entry.n, time.monotonic()
            saving = self._save(entry, self.replicas[0].snapshot())
            self._server.start(saving, "redis-save")

    async def _save(self, entry: Entry, snapshot: bytes) -> None:
        try:
            await self.scripts.save(entry.n, entry.mark, snapshot)
        except FAILURES as error:
            self._fail(error)

    async def exit(self) -> None:
        """Leave the room: clients of this server that are still in are away now.

        Raises one of :data:`.session.FAILURES`; then it is to be tried again.
        """
        if self._outbox and self._sender is not None:
            await asyncio.wait([self._sender], timeout=self._server.settings.patience_s)
        async with self._lock:
            if self._session.up.is_set():
                self._session.ignore(self.channel)
            if self.scripts.may_take_part:
                await self.scripts.exit(next(self._server.q), self._server.clock())
                self.entered = False
        # Redis has it, and nobody is left here whom it could be delivered to.
        self._outbox.confirm_sent()
