"""One room of this server, and its way to the room's log in Redis and back.

The way of an event: :meth:`SharedRoom.publish` puts it into the queue -> the script PUBLISH appends
it and publishes it on the channel, in one step -> every server that has the room hears it on its
one listening connection -> its :class:`.room_copy.RoomCopy` lets it through when it is the next one
-> the replicas. What does not fit (a gap, a lost connection, a Redis that came back with less)
makes the server *enter* the room again: it reads what it missed, and brings what Redis lost.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..bus import BusUnavailable, Replica
from ..rooms.events import Join, RoomEvent
from .client import RedisClient, RedisSettings
from .replay import empty, replay
from .room_copy import Gap, RoomCopy
from .scripts import CHECK, ENTER, EXIT, FOUND, KEYS, PUBLISH, REAP, SAVE, sha
from .session import FAILURES, Session
from .watch import BusWatch
from .wire import (
    Differs,
    Entry,
    Follow,
    RedisDataError,
    State,
    away_template,
    decode_entered,
    decode_message,
    encode_event,
    link_change,
)

log = logging.getLogger(__name__)

_SHAS = {script: sha(script) for script in (CHECK, ENTER, EXIT, FOUND, PUBLISH, REAP, SAVE)}
_BATCH = 64
_SNAPSHOT_EVERY = 64  # events
_ATTEMPTS = 16  # at entering, while others change the room under our hands


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


@dataclass(eq=False)
class _Waiting:
    """An event on its way to Redis and back."""

    event: RoomEvent
    encoded: bytes
    since: float
    done: asyncio.Event = field(default_factory=asyncio.Event)


class SharedRoom:
    """See the module. ``session`` may be up or not at any time."""

    def __init__(self, name: str, server: Server, session: Session) -> None:
        settings = server.settings
        base = f"{settings.prefix}{{{name}}}"
        self.name = name
        self.channel = base.encode()
        self.entered = False
        self.users = 0
        """Calls that are under way and need the room."""

        self.closing: asyncio.Task[None] | None = None
        self.replicas: list[Replica] = []
        self.copy = RoomCopy(
            server.name, length=settings.log_length, age_s=settings.snapshot_s + settings.lease_s
        )
        self._keys = [f"{base}:{key}" for key in KEYS]
        self._server = server
        self._session = session
        self._lock = asyncio.Lock()  # one script that appends, of this room at a time
        self._token = ""
        self._others: set[str] = set()
        self._queue: dict[int, _Waiting] = {}  # by q: to be sent …
        self._sent: dict[int, _Waiting] = {}  # … and sent, but not delivered yet; all are older
        self._sender: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._held: list[tuple[str, Entry]] | None = None
        self._unheard: dict[int, float] = {}
        self._apart = False
        self._active = False
        self._behind = 0
        self._checked_at = 0.0
        self._saved_n = 0
        self._saved_at = time.monotonic()

    @property
    def alone(self) -> bool:
        """As far as is known, no other server has this room."""
        return self.entered and self._servers <= {self._server.name}

    @property
    def _taken(self) -> int:
        """The greatest q of this server's that the copy has taken."""
        return self.copy.seq.get(self._server.name, 0)

    @property
    def _servers(self) -> set[str]:
        return self._others | set(self.copy.links.values())

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
                        await self._enter_first()
        except TimeoutError:
            self.replicas.remove(replica)
            raise self._unavailable() from None
        except BaseException:
            self.replicas.remove(replica)
            raise

    async def _enter_first(self) -> None:
        if self.entered or not self._session.up.is_set():
            return
        try:
            await self._session.listen_to([self.channel])
            await self._enter()
        except FAILURES as error:
            self._session.lose(error)

    def _deliver(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._active = True
            mine = entry.server == self._server.name
            for replica in tuple(self.replicas):
                replica.deliver(entry.event, mine)
            if mine:
                self._confirm(entry.q)
                if entry.n % _SNAPSHOT_EVERY == 0:
                    self._save_soon()

    # Publishing ----------------------------------------------------------------------------------

    async def publish(self, event: RoomEvent) -> None:
        """See :meth:`.bus.RedisBus.publish`. Raises :class:`..bus.BusUnavailable`.

        Returns when the event was delivered here: from then on this server can bring it back to a
        Redis that loses it.
        """
        q = next(self._server.q)
        if not self._session.up.is_set() and self.alone and not (self._queue or self._sent):
            self._deliver([self.copy.take_local(q, event)])
            return
        waiting = self._queue[q] = _Waiting(event, encode_event(event), time.monotonic())
        self._send_soon()
        try:
            async with asyncio.timeout(self._server.settings.patience_s):
                await waiting.done.wait()
        except TimeoutError:
            self._server.watch.bus_failed()
            raise self._unavailable() from None
        finally:
            self._queue.pop(q, None)
            self._sent.pop(q, None)

    def _send_soon(self) -> None:
        if self._queue and self._sender is None:
            self._sender = self._server.start(self._send_queue(), "redis-sender")

    async def _send_queue(self) -> None:
        try:
            while self._queue:
                await self._session.up.wait()
                async with self._lock:
                    too_early = await self._send_batch()
                if too_early:
                    await asyncio.sleep(self._server.settings.settle_s / 20)
        finally:
            self._sender = None

    async def _send_batch(self) -> bool:
        """Whether Redis wants it later."""
        batch = dict(islice(self._queue.items(), _BATCH))
        if not batch:
            return False
        arguments: list[Any] = [self.copy.position]
        for q, waiting in batch.items():
            arguments += (q, *link_change(waiting.event), waiting.encoded)
            self._unheard[q] = waiting.since
            self._sent[q] = self._queue.pop(q)
        epoch = self.copy.epoch
        try:
            word, *numbers = await self._run(PUBLISH, arguments)
        except FAILURES as error:
            self._take_back()
            self._session.lose(error)
            return False
        if word != b"ok":
            self._take_back()
            if word == b"enter":
                await self._enter_again()
            return bool(word == b"settle")
        for (q, waiting), n in zip(batch.items(), numbers, strict=True):
            # Clients of this server need not wait for the channel.
            if n == self.copy.position + 1:
                self._take(epoch, Entry(n, self._server.name, q, waiting.event, waiting.encoded))
            elif q <= self._taken:
                self._confirm(q)
        return False

    def _take_back(self) -> None:
        """What was sent and not heard of is to be sent again: if Redis has it, it will see that."""
        self._queue = {**self._sent, **self._queue}
        self._sent = {}

    def _confirm(self, q: int) -> None:
        waiting = self._sent.pop(q, None) or self._queue.pop(q, None)
        if waiting is not None:
            waiting.done.set()

    async def _enter_again(self) -> None:
        try:
            if self.replicas:
                await self._enter()
            else:
                self._queue.clear()  # nobody is left here who could bring the room back
        except FAILURES as error:
            self._session.lose(error)

    def go_on_alone(self) -> None:
        """Redis is away: a room that is this server's alone does not wait for it."""
        if self.alone:
            self._take_back()
            for q, waiting in tuple(self._queue.items()):
                self._deliver([self.copy.take_local(q, waiting.event)])

    def _unavailable(self) -> BusUnavailable:
        return BusUnavailable(f"Redis: {self._session.failure or 'no answer'}")

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
            async with self._lock:
                await self._enter()
        except FAILURES as error:
            self._session.lose(error)
        finally:
            self._catching_up = None

    # Entering ------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Redis is there again."""
        async with self._lock:
            if self.entered:
                await self._enter()

    async def _enter(self) -> None:
        """Come up to date; the lock is held. Raises one of :data:`.session.FAILURES`."""
        self._held = []
        self._unheard.clear()
        try:
            found = await self._negotiate()
            self.copy.epoch = found.epoch
            self._others = found.servers
            if isinstance(found, State):
                self._adopt(found)
            else:
                self._deliver(self.copy.follow(found.entries))
            self.entered = True
            self.copy.went_alone = self._apart = False
            self._take_back()
            for q in [q for q in self._queue if q <= self._taken]:
                self._confirm(q)
            self._send_soon()
            self._behind = 0
        finally:
            held, self._held = self._held, None
        for epoch, entry in held:
            if epoch == self.copy.epoch and entry.n > self.copy.position:
                self._take(epoch, entry)

    async def _negotiate(self) -> Follow:
        copy = self.copy
        began = copy.position
        settle = _ms(self._server.settings.settle_s)
        has_copy = bool(copy.epoch)
        brought: list[Any] = []
        for _ in range(_ATTEMPTS):
            token = secrets.token_hex(8)
            place = (began, copy.mark) if has_copy else (-1, "")
            found = decode_entered(await self._run(ENTER, [settle, *place, *brought], token))
            if copy.position != began:
                raise RedisDataError(f"room {self.name} went on alone meanwhile")
            match found:
                case Follow():
                    self._token = token
                    return found
                case None:
                    await self._found()
                    has_copy = True
                case Differs(how="behind", n=n, mark=theirs, origin=origin):
                    missing = copy.entries_after(n, theirs)
                    if missing is not None:
                        brought = [n, theirs, *_flat(missing)]
                    elif origin or not await self._found():
                        has_copy, self._apart = False, True
                case Differs(how=how):
                    has_copy, self._apart = False, copy.went_alone or how == "conflict"
        raise RedisDataError(f"room {self.name} cannot be entered: others change it all the time")

    async def _found(self, others: set[str] | None = None) -> bool:
        """Make the room in Redis out of this copy. Whether that was wanted."""
        copy = self.copy
        if others is None:
            others = self._servers - {self._server.name}
        words: list[Any] = [
            secrets.token_hex(8), _ms(self._server.settings.settle_s), copy.position, copy.mark,
            self.replicas[0].snapshot(), len(others), *others,
        ]  # fmt: skip
        for table in (copy.links, copy.seq):
            words += [len(table), *(word for item in table.items() for word in item)]
        for entry in copy.latest:
            words += (entry.n, entry.server, entry.q, entry.encoded)
        return bool(await self._run(FOUND, words))

    def _adopt(self, state: State) -> None:
        self.copy.adopt(state)
        self._saved_n, self._saved_at = state.base, time.monotonic()
        snapshot = replay(self.name, state.snapshot, [entry.event for entry in state.entries])
        if self._apart:
            log.warning("room=%s: went on apart from Redis, and takes what is there", self.name)
        for replica in tuple(self.replicas):
            if self._apart:
                # What its clients have had is not what the room says: they begin from its state.
                replica.restore(empty(self.name))
            replica.restore(snapshot)

    # Care ----------------------------------------------------------------------------------------

    async def look_after(self, living: set[str] | None) -> None:
        """A tick has passed: compare with Redis, end what dead servers left."""
        settings = self._server.settings
        now = time.monotonic()
        dead = set() if living is None else self._servers - living - {self._server.name}
        if not (self._active or dead or now - self._checked_at > settings.lease_s):
            return
        async with self._lock:
            if not self.entered:
                return
            self._active = False
            self._checked_at = now
            valid, n, others = await self._run(CHECK, [])
            if not valid or n < self.copy.position or self._behind > self.copy.position:
                await self._enter()
                return
            # What is on its way on the channel is awaited until the next time.
            self._behind = n
            self._active = n > self.copy.position
            self._others = {other.decode() for other in others}
            for server in dead & self._servers:
                template = away_template(self._server.clock())
                await self._run(REAP, [-next(self._server.q), server, *template])

    def _save_soon(self) -> None:
        """Keep a snapshot in Redis, when the last is old."""
        settings, n = self._server.settings, self.copy.position
        young = time.monotonic() - self._saved_at < settings.snapshot_s
        if young and n - self._saved_n < settings.log_length // 2:
            return
        if not (self._session.up.is_set() and self.replicas):
            return
        self._saved_n, self._saved_at = n, time.monotonic()
        snapshot = self.replicas[0].snapshot()
        words = [_ms(settings.snapshot_s), settings.log_length // 2, n, snapshot]
        self._server.start(self._save(words), "redis-save")

    async def _save(self, words: list[Any]) -> None:
        try:
            await self._run(SAVE, words)
        except FAILURES as error:
            self._session.lose(error)

    async def exit(self) -> None:
        """Leave the room: clients of this server that are still in are away now."""
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=self._server.settings.patience_s)
        async with self._lock:
            if self.entered:
                if self._session.up.is_set():
                    await self._session.ignore(self.channel)
                template = away_template(self._server.clock())
                await self._run(EXIT, [-next(self._server.q), *template])
                self.entered = False
        for q in tuple(self._sent):
            self._confirm(q)  # Redis has it; nobody is left here whom it could be delivered to

    async def rehearse(self) -> None:
        """Whether Redis lets us run every script: in a room that nobody else has."""
        q = itertools.count(1)
        self.replicas.append(_Blank())
        await self._found(others={self._server.name})
        await self._enter()
        join = Join(link="-", at=0.0, subject="-", role="viewer")
        await self._run(PUBLISH, [0, next(q), *link_change(join), encode_event(join)])
        await self._run(SAVE, [1, 1, 1, b""])
        await self._run(REAP, [-next(q), "-", *away_template(0.0)])
        await self._run(CHECK, [])
        await self._run(EXIT, [-next(q), *away_template(0.0)])

    async def _run(self, script: str, arguments: list[Any], token: str | None = None) -> Any:
        server = self._server
        settings = server.settings
        keep_ms = _ms(max(settings.window_s, 12 * settings.lease_s))
        token = self._token if token is None else token
        common = [server.name, self.channel, self.copy.epoch, token, keep_ms]
        return await server.client.run(_SHAS[script], script, self._keys, common + arguments)


class _Blank:
    """A :class:`..bus.Replica` of a room that nobody has."""

    def deliver(self, event: RoomEvent, mine: bool) -> None:
        pass

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None:
        pass


def _flat(entries: Iterable[Entry]) -> list[Any]:
    return [
        word
        for entry in entries
        for word in (entry.server, entry.q, *link_change(entry.event), entry.encoded)
    ]


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
