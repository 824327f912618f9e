"""A :class:`.bus.Bus` over Redis: servers on many machines share their rooms.

Each room is a log in Redis (:mod:`.scripts`). The way of an event: :meth:`RedisBus.publish`
puts it into its room's queue -> a script appends it, changes who is in, and publishes it, in one
step -> every server that has the room hears it on its one listening connection ->
:class:`.room_copy.RoomCopy` lets it through when it is the next one. What does not fit (a gap, a
lost connection, a Redis that came back with less) makes the server *enter* the room again: it reads
what it missed and puts back what Redis lost.

While Redis cannot be reached (:attr:`RedisBus.available`), rooms whose peers are all this server's
go on by themselves; in others, events wait for :attr:`.client.RedisSettings.patience_s`
before they fail. A server that others have not heard of for ``lease_s`` loses its peers: the others
are told that they left, and so is it, once it is back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, Self

from redis.asyncio import Connection
from redis.exceptions import (
    AuthenticationError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from ..bus import BusUnavailable, Deliver, Subscription
from ..rooms import Join, Leave, Relay, RoomEvent
from .client import RedisClient, RedisSettings, open_client
from .room_copy import (
    Entry,
    Gap,
    RedisDataError,
    RoomCopy,
    decode_entered,
    decode_message,
    encode_event,
    event_kind,
    leave_template,
)
from .scripts import ENTER, EXIT, PUBLISH, RENEW, sha

log = logging.getLogger(__name__)

_SHAS = {script: sha(script) for script in (ENTER, EXIT, PUBLISH, RENEW)}
_BATCH = 64
_HISTORY = 256
_TOGETHER = 32  # rooms that are renewed or entered at a time
_BACKOFF_S = (0.05, 0.5)

_FAILURES = (RedisError, RedisClusterException, RedisDataError, OSError)
_HOPELESS = (AuthenticationError, ResponseError)  # of a first attempt


class RedisBus:
    """See the module. Made with :meth:`connect`."""

    def __init__(self, settings: RedisSettings, client: RedisClient) -> None:
        self._settings = settings
        self._client = client
        self._server = secrets.token_hex(8)
        self._q = count(1)
        self._rooms: dict[str, _SharedRoom] = {}
        self._listener: Connection | None = None
        self._subscribed: dict[bytes, asyncio.Future[None]] = {}
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._closed = False
        self._trial = self._shared_room(".")
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, settings: RedisSettings) -> Self:
        """A bus that is connected. Raises :class:`.bus.BusUnavailable`, which says why not."""
        bus = cls(settings, open_client(settings))
        bus._runner = asyncio.create_task(bus._run(), name="redis-bus")
        try:
            async with asyncio.timeout(settings.patience_s):
                await asyncio.shield(bus._first)
        except (TimeoutError, *_FAILURES) as error:
            await bus.close()
            reason = bus._failure or str(error) or "no answer"
            raise BusUnavailable(f"cannot use Redis at {settings.address}: {reason}") from None
        return bus

    @property
    def available(self) -> bool:
        """Whether Redis is there. If not, only rooms within this server go on."""
        return self._up.is_set()

    async def publish(self, room: str, event: RoomEvent) -> None:
        """See :class:`.bus.Bus`. When it raises :class:`.bus.BusUnavailable`, the event may have
        taken place all the same.
        """
        shared = self._rooms.get(room) or self._open(room)
        shared.users += 1
        try:
            await self._entered(shared)
            if not self._up.is_set() and self._goes_on_alone(shared):
                self._deliver_locally(shared, next(self._q), event)
                return
            await self._enqueue(shared, event)
        finally:
            shared.users -= 1
            await self._close_if_idle(shared)

    async def subscribe(self, room: str, deliver: Deliver) -> Subscription:
        shared = self._rooms.get(room) or self._open(room)
        shared.users += 1
        try:
            await self._entered(shared)
            for join in tuple(shared.copy.present.values()):
                deliver(join)
            subscription = _RedisSubscription(self, shared, deliver)
            shared.subscriptions.append(subscription)
        finally:
            shared.users -= 1
            await self._close_if_idle(shared)
        return subscription

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for shared in self._rooms.values():
            shared.subscriptions.clear()
        if self._up.is_set():
            await self._each_room(self._exit)
        tasks = [task for task in (self._runner, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    async def unsubscribe(self, shared: _SharedRoom, subscription: _RedisSubscription) -> None:
        """The way out for :meth:`Subscription.close`."""
        if subscription in shared.subscriptions:
            shared.subscriptions.remove(subscription)
            await self._close_if_idle(shared)

    # Rooms ---------------------------------------------------------------------------------------

    def _open(self, room: str) -> _SharedRoom:
        if self._closed:
            raise BusUnavailable("the bus is closed")
        shared = self._rooms[room] = self._shared_room(room)
        return shared

    def _shared_room(self, room: str) -> _SharedRoom:
        base = f"{self._settings.prefix}{{{room}}}"
        keys = [f"{base}:{name}" for name in ("log", "peers", "meta", "leases")]
        return _SharedRoom(room, RoomCopy(self._server), base.encode(), keys)

    async def _entered(self, shared: _SharedRoom) -> None:
        if shared.entered:
            return
        try:
            async with asyncio.timeout(self._settings.patience_s):
                while not shared.entered:
                    await self._up.wait()
                    async with shared.lock:
                        await self._enter_first(shared)
        except TimeoutError:
            raise BusUnavailable(f"Redis: {self._failure or 'no answer'}") from None

    async def _enter_first(self, shared: _SharedRoom) -> None:
        if shared.entered or not self._up.is_set():
            return
        try:
            shared.heard_since = time.monotonic()
            await self._listen_to([shared])
            await self._enter(shared)
        except _FAILURES as error:
            self._lose(error)

    async def _enter(self, shared: _SharedRoom) -> None:
        """Come up to date with a room whose lock is held."""
        settings, copy = self._settings, shared.copy
        again = True
        while again:
            token = secrets.token_hex(8)
            own = [word for peer, join in copy.own.items() for word in (peer, encode_event(join))]
            arguments = [
                secrets.token_hex(8), copy.epoch, copy.position, _ms(settings.settle_s),
                *leave_template(), token, len(copy.own), *own, *(shared.moving - copy.own.keys()),
            ]  # fmt: skip
            entered = decode_entered(await self._run_script(ENTER, shared, arguments))
            shared.token = token
            caught = copy.enter(entered)
            if caught.lost:
                shared.send_again()
            again = caught.again
            self._deliver(shared, caught.events)
        shared.entered = True
        shared.entered_at = time.monotonic()
        shared.behind = 0

    async def _renew(self, shared: _SharedRoom) -> None:
        settings, copy = self._settings, shared.copy
        async with shared.lock:
            if not shared.entered or self._rooms.get(shared.name) is not shared:
                return
            now = time.monotonic()
            # Whoever was away as long as the others must not declare them dead on coming back.
            may_reap = now - shared.heard_since > settings.lease_s
            arguments = [copy.epoch, shared.token, int(may_reap), *leave_template()]
            valid, n = await self._run_script(RENEW, shared, arguments)
            if not valid or n < copy.position or shared.behind > copy.position:
                await self._enter(shared)
            else:
                # What is on its way on the channel is awaited until the next time.
                shared.behind = n
            if copy.missing and now - shared.entered_at > settings.lease_s:
                self._deliver(shared, copy.give_up_missing())

    async def _close_if_idle(self, shared: _SharedRoom) -> None:
        idle = not (shared.users or shared.subscriptions or shared.queue or shared.copy.own)
        if not idle or self._rooms.get(shared.name) is not shared:
            return
        del self._rooms[shared.name]
        try:
            if shared.entered and self._up.is_set():
                self._subscribed.pop(shared.channel, None)
                await self._send("UNSUBSCRIBE", shared.channel)
                await self._exit(shared)
        except _FAILURES as error:
            self._lose(error)

    async def _exit(self, shared: _SharedRoom) -> None:
        async with shared.lock:
            if shared.entered:
                arguments = [shared.copy.epoch, shared.token, *leave_template()]
                await self._run_script(EXIT, shared, arguments)

    async def _each_room(self, do: Any) -> None:
        rooms = iter(tuple(self._rooms.values()))
        while some := tuple(islice(rooms, _TOGETHER)):
            for result in await asyncio.gather(*map(do, some), return_exceptions=True):
                if isinstance(result, _FAILURES):
                    if not self._closed:
                        raise result
                    log.warning("leaving a room: %s", result)
                elif result is not None:
                    raise result

    # Publishing ----------------------------------------------------------------------------------

    async def _enqueue(self, shared: _SharedRoom, event: RoomEvent) -> None:
        kind, peer = event_kind(event)
        if kind == "leave":
            shared.copy.own.pop(peer, None)
        waiting = _Waiting(next(self._q), kind, peer, event, encode_event(event))
        shared.queue.append(waiting)
        if shared.sender is None:
            shared.sender = asyncio.create_task(self._send_queue(shared), name="redis-sender")
            self._tasks.add(shared.sender)
            shared.sender.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(self._settings.patience_s):
                await waiting.done.wait()
        except TimeoutError:
            raise BusUnavailable(f"Redis: {self._failure or 'no answer'}") from None
        finally:
            if waiting in shared.queue:
                shared.queue.remove(waiting)

    async def _send_queue(self, shared: _SharedRoom) -> None:
        try:
            while shared.queue:
                await self._up.wait()
                async with shared.lock:
                    too_early = await self._send_batch(shared)
                if too_early:
                    await asyncio.sleep(self._settings.settle_s / 10)
        finally:
            shared.sender = None
        await self._close_if_idle(shared)

    async def _send_batch(self, shared: _SharedRoom) -> bool:
        """Whether Redis wants the rest of it later."""
        batch = list(islice(shared.queue, _BATCH))
        epoch = shared.copy.epoch
        arguments: list[Any] = [epoch, shared.token]
        for waiting in batch:
            arguments += (waiting.q, waiting.kind, waiting.peer, waiting.encoded)
        try:
            word, *numbers = await self._run_script(PUBLISH, shared, arguments)
            if word == b"enter":
                await self._enter(shared)
                return False
        except _FAILURES as error:
            self._lose(error)
            return False
        for waiting, n in zip(batch, numbers, strict=False):
            if waiting not in shared.queue:
                continue  # given up, or delivered without Redis
            shared.queue.remove(waiting)
            self._published(shared, waiting)
            # Peers of this server need not wait for the channel.
            if n == shared.copy.position + 1:
                self._take(shared, epoch, Entry(n, self._server, waiting.q, waiting.event))
        return bool(word == b"settle")

    def _published(self, shared: _SharedRoom, waiting: _Waiting) -> None:
        waiting.done.set()
        if isinstance(waiting.event, Join):
            shared.copy.own[waiting.peer] = waiting.event
        elif isinstance(waiting.event, Relay):
            now = waiting.sent_at = time.monotonic()
            shared.history.append(waiting)
            while now - shared.history[0].sent_at > self._settings.patience_s:
                shared.history.popleft()

    # Without Redis -------------------------------------------------------------------------------

    def _goes_on_alone(self, shared: _SharedRoom) -> bool:
        own = shared.copy.own.keys() | shared.moving
        return shared.entered and shared.copy.present.keys() <= own

    def _deliver_locally(self, shared: _SharedRoom, q: int, event: RoomEvent) -> None:
        if isinstance(event, Join):
            shared.copy.own[event.peer] = event
        elif isinstance(event, Leave):
            shared.copy.own.pop(event.peer, None)
        self._deliver(shared, shared.copy.take_local(q, event))

    def _lose(self, error: BaseException) -> None:
        """Redis has failed: end the session, which begins another."""
        if self._lost.is_set():
            return
        self._failure = error
        self._lost.set()
        if self._up.is_set():
            self._up.clear()
            log.warning("Redis is away, rooms of several servers wait: %s", error)
        for shared in self._rooms.values():
            if shared.queue and self._goes_on_alone(shared):
                for waiting in tuple(shared.queue):
                    self._deliver_locally(shared, waiting.q, waiting.event)
                    waiting.done.set()
                shared.queue.clear()

    # The session: one listening connection, and what is done while it lasts ----------------------

    async def _run(self) -> None:
        delay = _BACKOFF_S[0]
        while True:
            try:
                await self._session()
                delay = _BACKOFF_S[0]
            except _FAILURES as error:
                self._lose(error)
                log.debug("Redis: %s", error)
                if isinstance(error, _HOPELESS) and not self._first.done():
                    self._first.set_exception(error)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, _BACKOFF_S[1])

    async def _session(self) -> None:
        self._lost.clear()
        self._subscribed.clear()
        listener = self._listener = await self._client.listener()
        tasks = [
            asyncio.create_task(work, name=f"redis-{name}")
            for name, work in (
                ("listen", self._listen(listener)),
                ("keep", self._keep()),
                ("lost", self._until_lost()),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._listener = None
            await listener.disconnect(nowait=True)

    async def _until_lost(self) -> None:
        await self._lost.wait()

    async def _keep(self) -> None:
        async def enter(shared: _SharedRoom) -> None:
            async with shared.lock:
                shared.heard_since = time.monotonic()
                if shared.entered:
                    await self._enter(shared)

        await self._listen_to(tuple(self._rooms.values()))
        await self._try_scripts()
        await self._each_room(enter)
        self._up.set()
        if not self._first.done():
            self._first.set_result(None)
        log.info("Redis at %s is there", self._settings.address)
        while True:
            await asyncio.sleep(self._settings.tick_s)
            await self._send("PING")
            await self._each_room(self._renew)

    async def _try_scripts(self) -> None:
        """Whether the scripts may do what they do: in a room whose name no room can have."""
        room = self._trial
        leave = leave_template()
        join = encode_event(Join(self._server, "viewer"))
        enter = ["trial", "", 0, 1, *leave, "trial", 1, self._server, join]
        epoch, *_ = await self._run_script(ENTER, room, enter)
        await self._run_script(EXIT, room, [epoch, "trial", *leave])

    async def _listen_to(self, rooms: tuple[_SharedRoom, ...] | list[_SharedRoom]) -> None:
        """Returns when Redis has confirmed that the rooms' messages come here."""
        channels = [shared.channel for shared in rooms] or [self._trial.channel]
        futures = []
        for channel in channels:
            self._subscribed.setdefault(channel, asyncio.get_running_loop().create_future())
            futures.append(self._subscribed[channel])
        await self._send("SUBSCRIBE", *channels)
        async with asyncio.timeout(self._settings.timeout_s):
            await asyncio.gather(*map(asyncio.shield, futures))

    async def _send(self, *words: str | bytes) -> None:
        if self._listener is None or not self._listener.is_connected:
            # Left to itself the connection would open again, and hear nothing of any room.
            raise RedisConnectionError("the listening connection is lost")
        await self._listener.send_command(*words)

    async def _listen(self, listener: Connection) -> None:
        limit_s = self._settings.tick_s + self._settings.timeout_s
        while True:
            reply = await listener.read_response(timeout=limit_s)
            match reply:
                case [b"message", channel, data]:
                    self._heard(channel, data)
                case [b"subscribe", channel, _]:
                    future = self._subscribed.get(channel)
                    if future is not None and not future.done():
                        future.set_result(None)

    def _heard(self, channel: bytes, data: bytes) -> None:
        name = channel[len(self._settings.prefix) + 1 : -1].decode()
        shared = self._rooms.get(name)
        if shared is None or not shared.entered:
            return
        try:
            epoch, entry = decode_message(data)
        except RedisDataError as error:
            log.warning("room=%s: %s", name, error)
            return
        self._take(shared, epoch, entry)

    def _take(self, shared: _SharedRoom, epoch: str, entry: Entry) -> None:
        try:
            self._deliver(shared, shared.copy.take(epoch, entry))
        except Gap:
            if shared.catching_up is None:
                task = asyncio.create_task(self._catch_up(shared), name="redis-catch-up")
                shared.catching_up = task
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _catch_up(self, shared: _SharedRoom) -> None:
        try:
            async with shared.lock:
                await self._enter(shared)
        except _FAILURES as error:
            self._lose(error)
        finally:
            shared.catching_up = None

    def _deliver(self, shared: _SharedRoom, events: list[RoomEvent]) -> None:
        for event in events:
            for subscription in tuple(shared.subscriptions):
                subscription.deliver(event)

    async def _run_script(self, script: str, shared: _SharedRoom, arguments: list[Any]) -> Any:
        settings = self._settings
        common = [self._server, shared.channel, _ms(settings.lease_s), settings.log_length]
        keys = shared.keys
        return await self._client.run(_SHAS[script], script, keys, common + arguments)


@dataclass(eq=False)
class _Waiting:
    """An event on its way to Redis."""

    q: int
    kind: str
    peer: str
    event: RoomEvent
    encoded: bytes
    sent_at: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class _SharedRoom:
    name: str
    copy: RoomCopy
    channel: bytes
    keys: list[str]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one script of this room at a time
    entered: bool = False
    token: str = ""
    heard_since: float = 0.0
    entered_at: float = 0.0
    behind: int = 0
    users: int = 0
    subscriptions: list[_RedisSubscription] = field(default_factory=list)
    queue: deque[_Waiting] = field(default_factory=deque)
    history: deque[_Waiting] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    sender: asyncio.Task[None] | None = None
    catching_up: asyncio.Task[None] | None = None

    @property
    def moving(self) -> set[str]:
        """This server's peers whose coming or going has not reached Redis yet."""
        return {waiting.peer for waiting in self.queue if waiting.kind != "relay"}

    def send_again(self) -> None:
        """Redis may have lost what it had confirmed; those who got it already will see that."""
        self.queue.extendleft(reversed(self.history))
        self.history.clear()


class _RedisSubscription:
    def __init__(self, bus: RedisBus, shared: _SharedRoom, deliver: Deliver) -> None:
        self._bus = bus
        self._shared = shared
        self.deliver = deliver

    async def close(self) -> None:
        await self._bus.unsubscribe(self._shared, self)


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
