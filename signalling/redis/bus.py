"""A :class:`..bus.Bus` over Redis: servers on many machines share their rooms.

Each room is a log in Redis (:mod:`.scripts`), which every server that has the room follows
(:mod:`.shared_room`), over one connection that is made again whenever it breaks (:mod:`.session`).

While Redis cannot be reached (:attr:`RedisBus.available`), rooms that are this server's alone go on
by themselves; in others, events wait for :attr:`.client.RedisSettings.patience_s` before they
fail. A server that is not heard of for ``lease_s`` is dead (:mod:`.servers`): another appends an
:class:`..rooms.events.Away` for each of its links, and so does a server that leaves.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, Self

from ..bus import BusUnavailable, Replica, Subscription
from ..limits import Limits
from ..rooms.events import RoomEvent
from .client import RedisClient, open_client
from .rate_limiter import SharedRateLimiter
from .servers import Servers
from .session import FAILURES, Session
from .settings import RedisSettings
from .shared_room import Server, SharedRoom
from .tasks import end
from .watch import BusWatch, NoWatch
from .wire import RedisDataError

log = logging.getLogger(__name__)

_TOGETHER = 32  # rooms that are looked after at a time


class RedisBus:
    """See the module. Made with :meth:`connect`."""

    def __init__(
        self,
        settings: RedisSettings,
        client: RedisClient,
        *,
        watch: BusWatch | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._client = client
        self._watch = watch or NoWatch()
        name = secrets.token_hex(8)
        self._server = Server(name, settings, client, clock, self._watch, self._start)
        self._servers = Servers(settings, client, name)
        self._rooms: dict[str, SharedRoom] = {}
        self._left: list[SharedRoom] = []
        self._limiters: list[SharedRateLimiter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._closed = False
        self._session = Session(settings, client, self._servers, self)

    @classmethod
    async def connect(
        cls,
        settings: RedisSettings,
        *,
        watch: BusWatch | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """A bus that is connected. Raises :class:`..bus.BusUnavailable`, which says why not.

        ``clock`` gives Unix time in seconds.
        """
        bus = cls(settings, open_client(settings), watch=watch, clock=clock)
        bus._runner = asyncio.create_task(bus._session.run(), name="redis-bus")
        try:
            async with asyncio.timeout(settings.patience_s):
                await asyncio.shield(bus._session.tried)
        except (TimeoutError, *FAILURES) as error:
            await bus.close()
            reason = bus._session.failure or str(error) or "no answer"
            raise BusUnavailable(f"cannot use Redis at {settings.address}: {reason}") from None
        return bus

    @property
    def available(self) -> bool:
        """Whether Redis is there. If not, only rooms of this server alone go on."""
        return self._session.up.is_set()

    async def publish(self, room: str, event: RoomEvent) -> None:
        """See :class:`..bus.Bus`. When it raises :class:`..bus.BusUnavailable`, the event may have
        taken place all the same.
        """
        shared = self._rooms.get(room)
        if shared is None or not shared.entered:
            raise BusUnavailable(f"this server is not in room {room}")
        await shared.publish(event)

    async def subscribe(self, room: str, replica: Replica) -> Subscription:
        while (shared := self._rooms.get(room)) is not None and shared.closing is not None:
            await asyncio.wait([shared.closing])
        if self._closed:
            raise BusUnavailable("the bus is closed")
        if shared is None:
            shared = self._rooms[room] = SharedRoom(room, self._server, self._session)
        shared.users += 1
        try:
            await shared.add(replica)
        finally:
            shared.users -= 1
            self._close_if_idle(shared)
        return _RedisSubscription(self, shared, replica)

    async def announce(self, room: str, card: bytes | None) -> None:
        """See :class:`..bus.Bus`. While Redis is away, the card waits."""
        shared = self._rooms.get(room)
        self._servers.say(room, 0 if shared is None else shared.copy.position, card)
        if self.available and self._telling is None:
            self._telling = self._start(self._tell(), "redis-announce")

    async def announced(self) -> dict[str, bytes]:
        if not self.available:
            raise BusUnavailable(f"Redis: {self._session.failure or 'no answer'}")
        try:
            return await self._servers.cards()
        except FAILURES as error:
            self._session.lose(error)
            raise BusUnavailable(f"Redis: {error}") from None

    def rate_limiter(self, limits: Limits) -> SharedRateLimiter:
        """A limiter whose counts are those of all servers. Ends with the bus."""
        client, prefix = self._client, self._settings.prefix
        limiter = SharedRateLimiter(client, prefix, limits.rates, limits.max_keys)
        self._limiters.append(limiter)
        return limiter

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for limiter in self._limiters:
            await limiter.close()
        for shared in self._rooms.values():
            shared.replicas.clear()
        if self.available:
            rooms = [shared for shared in self._rooms.values() if shared.closing is None]
            await self._each(rooms, self._exit)
            closing = [shared.closing for shared in self._rooms.values() if shared.closing]
            if closing:
                await asyncio.wait(closing, timeout=self._settings.timeout_s)
        available = self.available
        await end(task for task in (self._runner, *self._tasks) if task is not None)
        if available:
            try:
                await self._servers.quit()  # when it cannot say any more that it lives
            except FAILURES as error:
                log.warning("leaving Redis: %s", error)
        await self._client.close()

    def unsubscribe(self, shared: SharedRoom, replica: Replica) -> asyncio.Task[None] | None:
        """The way out for :meth:`Subscription.close`; what to wait for."""
        if replica in shared.replicas:
            shared.replicas.remove(replica)
            self._close_if_idle(shared)
        return shared.closing

    # Rooms ---------------------------------------------------------------------------------------

    def _close_if_idle(self, shared: SharedRoom) -> None:
        if not shared.users and not shared.replicas and shared.closing is None:
            shared.closing = self._start(self._close_room(shared), "redis-exit")

    async def _close_room(self, shared: SharedRoom) -> None:
        await self._exit(shared)
        if self._rooms.get(shared.name) is shared:
            del self._rooms[shared.name]

    async def _exit(self, shared: SharedRoom) -> None:
        try:
            await shared.exit()
        except RedisDataError as error:
            log.warning("room=%s: %s", shared.name, error)  # and nothing of ours is left there
        except FAILURES as error:
            self._session.lose(error)
            self._left.append(shared)  # and told when Redis is back

    async def _each(
        self, rooms: Iterable[SharedRoom], do: Callable[[SharedRoom], Coroutine[Any, Any, None]]
    ) -> None:
        rest = iter(tuple(rooms))
        while some := tuple(islice(rest, _TOGETHER)):
            await asyncio.gather(*map(do, some))

    async def _tell(self) -> None:
        try:
            await self._servers.tell()
        except FAILURES as error:
            self._session.lose(error)
        finally:
            self._telling = None

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What the session says -----------------------------------------------------------------------

    def channels(self) -> Iterable[bytes]:
        yield f"{self._settings.prefix}{{.servers}}".encode()  # there is always one
        for shared in self._rooms.values():
            yield shared.channel

    def heard(self, channel: bytes, data: bytes) -> None:
        name = channel[len(self._settings.prefix) + 1 : -1].decode(errors="replace")
        shared = self._rooms.get(name)
        if shared is not None:
            shared.heard(data)

    async def attempt(self) -> None:
        """Everything once, in a room whose name no room can have."""
        room = SharedRoom(f".{self._server.name}", self._server, self._session)
        await self._session.rehearse(room.channel)
        await room.scripts.rehearse()
        await self._servers.rehearse()

    async def recover(self) -> None:
        left, self._left = self._left, []
        await self._each(left, self._exit)
        await self._each(self._rooms.values(), SharedRoom.recover)

    async def look_after(self, living: set[str] | None) -> None:
        suspects: dict[SharedRoom, set[str]] = {}

        async def look_after(shared: SharedRoom) -> None:
            suspects[shared] = await shared.look_after(living)

        rooms = [shared for shared in self._rooms.values() if shared.needs_care(living)]
        await self._each(rooms, look_after)
        if any(suspects.values()):
            # One that has come back since is in its rooms again, and lives.
            now_living = await self._servers.beat()
            for shared, missing in suspects.items():
                await shared.reap(missing - now_living)

    def went_up(self) -> None:
        self._watch.bus_available(True)

    def went_down(self) -> None:
        self._watch.bus_available(False)
        for shared in self._rooms.values():
            shared.go_on_alone()


class _RedisSubscription:
    def __init__(self, bus: RedisBus, shared: SharedRoom, replica: Replica) -> None:
        self._bus = bus
        self._shared = shared
        self._replica = replica

    async def close(self) -> None:
        closing = self._bus.unsubscribe(self._shared, self._replica)
        if closing is not None:
            await asyncio.wait([closing])
