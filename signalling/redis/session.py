"""The connection of a server to Redis: made, watched, and made again.

A session is one listening connection, and what is done while it lasts: the channels of all rooms
are subscribed to, then every room is entered, then Redis is *up*. With every tick the connection is
tried, the server's lease renewed, and the rooms looked after. Whatever fails ends the session, and
another begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Iterable
from typing import Protocol

from redis.exceptions import AuthenticationError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from .client import RedisClient
from .pipeline import Listener
from .servers import Servers
from .settings import RedisSettings
from .tasks import end
from .wire import RedisDataError

log = logging.getLogger(__name__)

FAILURES = (RedisError, RedisClusterException, RedisDataError, OSError)
"""What using Redis may raise. An :class:`OSError` may be a :class:`TimeoutError`."""

_BACKOFF_S = (0.05, 0.5)


class House(Protocol):
    """All rooms of this server, as the session sees them."""

    def channels(self) -> Iterable[bytes]:
        """The channels to listen to."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """A message came over a channel."""

    async def attempt(self) -> None:
        """Whether Redis lets us do everything that we shall do. Called once."""

    async def recover(self) -> None:
        """Redis is there (again): come up to date."""

    async def look_after(self, living: set[str] | None) -> None:
        """A tick has passed. ``living``: the servers that live, if that is known by now."""

    def went_up(self) -> None: ...

    def went_down(self) -> None: ...


class Session:
    """See the module. ``house`` is told what happens."""

    def __init__(
        self, settings: RedisSettings, client: RedisClient, servers: Servers, house: House
    ) -> None:
        self._settings = settings
        self._client = client
        self._servers = servers
        self._house = house
        self._listener: Listener | None = None
        self._living: set[str] = set()
        self._lost = asyncio.Event()
        self.up = asyncio.Event()
        """Redis is there, and this server is up to date."""
        self.failure: BaseException | None = None
        """What Redis failed with last."""
        self.tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when Redis was up for the first time; fails when that is hopeless."""

    async def run(self) -> None:
        """Sessions, until cancelled."""
        delay = _BACKOFF_S[0]
        while True:
            began = time.monotonic()
            try:
                await self._one()
            except FAILURES as error:
                self.lose(error)
                log.debug("Redis: %s", error)
                if _is_hopeless(error) and not self.tried.done():
                    self.tried.set_exception(error)
            except Exception as error:
                # A mistake of ours, or of the library's: without a session this server would be cut
                # off for good.
                log.exception("the session with Redis failed, and another begins")
                self.lose(error)
            if time.monotonic() - began > 2 * _BACKOFF_S[1]:
                delay = _BACKOFF_S[0]
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, _BACKOFF_S[1])

    def lose(self, error: BaseException) -> None:
        """Redis has failed: end this session."""
        if self._lost.is_set():
            return
        self.failure = error
        self._lost.set()
        if self.up.is_set():
            self.up.clear()
            log.warning("Redis is away, rooms of several servers wait: %s", error)
            self._house.went_down()

    async def listen_to(self, channels: Iterable[bytes]) -> None:
        """Returns when Redis has confirmed that these channels' messages come here."""
        if self._listener is None:
            raise RedisConnectionError("the listening connection is lost")
        await self._listener.subscribe(channels)

    def ignore(self, channel: bytes) -> None:
        """Listen to this channel no more."""
        if self._listener is not None:
            self._listener.unsubscribe(channel)

    async def rehearse(self, channel: bytes) -> None:
        """Whether Redis lets us listen, and end it."""
        await self.listen_to([channel])
        assert self._listener is not None
        self._listener.unsubscribe(channel)
        await self._listener.ping()

    async def _one(self) -> None:
        self._lost.clear()
        listener = self._listener = await self._client.listener(self._house.heard)
        tasks = [
            asyncio.create_task(work, name=f"redis-{name}")
            for name, work in (
                ("listen", self._until_deaf(listener)),
                ("beat", self._beat(listener)),
                ("keep", self._keep()),
                ("lost", self._until_lost()),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            try:
                await end(tasks)
            finally:
                self._listener = None
                listener.close()

    async def _until_lost(self) -> None:
        await self._lost.wait()

    async def _until_deaf(self, listener: Listener) -> None:
        await listener.lost.wait()
        assert listener.failure is not None
        raise listener.failure

    async def _keep(self) -> None:
        began = time.monotonic()
        await self.listen_to(self._house.channels())
        if not self.tried.done():
            await self._house.attempt()
        # First of all: who is in a room and not among the living would be taken for dead.
        await self._servers.beat()
        await self._house.recover()
        if self._lost.is_set():
            return
        self.up.set()
        self._house.went_up()
        if not self.tried.done():
            self.tried.set_result(None)
        log.info("Redis at %s is there", self._settings.address)
        while True:
            await asyncio.sleep(self._settings.tick_s)
            # Whoever was away as long as the others must not declare them dead on coming back.
            known = time.monotonic() - began > self._settings.lease_s
            await self._house.look_after(self._living if known else None)

    async def _beat(self, listener: Listener) -> None:
        while True:
            await listener.ping()
            self._living = await self._servers.beat()
            await asyncio.sleep(self._settings.tick_s)


def _is_hopeless(error: BaseException | None) -> bool:
    """Whether a first attempt that failed so needs no second."""
    if isinstance(error, AuthenticationError | ResponseError | ssl.SSLError):
        return True
    return error is not None and _is_hopeless(error.__cause__ or error.__context__)
