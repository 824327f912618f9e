"""One connection to a Redis, in RESP2: commands one behind the other, or the messages of channels.

Every message between servers passes here twice, and redis-py lends out a connection for each
command and wakes a task for each part of an answer (``python -m bench.transports --against
redis-py``). Where Redis is, and which node has a key, stays redis-py's affair, in :mod:`.client`.

An answer that does not come ends the connection, with all that wait on it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self, cast

import hiredis
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

_NOT_SERVED = frozenset(
    {"LOADING", "READONLY", "MASTERDOWN", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"}
)


class NotServed(RedisConnectionError):
    """This Redis does not serve the key, or not now: it has another role, or is starting."""


@dataclass(frozen=True)
class Access:
    """How a server is reached, and who says so."""

    timeout_s: float
    """To connect, and for each answer, in seconds."""

    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0


class Pipeline(asyncio.Protocol):
    """A connection for commands. Made by :meth:`connect`."""

    def __init__(self, timeout_s: float) -> None:
        self.lost = asyncio.Event()
        """The connection is gone, and :attr:`failure` says why."""
        self.failure: BaseException | None = None
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=_error)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, host: str, port: int, access: Access) -> Self:
        """Raises :class:`redis.exceptions.RedisError` or :class:`OSError`."""
        try:
            async with asyncio.timeout(access.timeout_s):
                await self._loop.create_connection(lambda: self, host, port, ssl=access.tls)
        except TimeoutError:
            raise TimeoutError(f"{host}:{port} cannot be reached") from None
        try:
            if access.password is not None:
                names = () if access.username is None else (access.username,)
                await self.send("AUTH", *names, access.password)
            if access.database:
                await self.send("SELECT", access.database)
        except BaseException:
            self.close()
            raise
        return self

    def send(self, *words: str | bytes | int | float) -> asyncio.Future[Any]:
        """The answer to a command.

        It fails with :class:`redis.exceptions.ResponseError` where Redis refuses,
        :class:`NotServed` where it cannot yet or any more, another
        :class:`redis.exceptions.ConnectionError` or a :class:`TimeoutError` when the connection is
        lost.
        """
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.is_set() or self._transport is None:
            answer.set_exception(self.failure or RedisConnectionError("not connected"))
            return answer
        self._pending.append((answer, self._loop.time() + self._timeout_s))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look_at_the_oldest)
        self._transport.write(_packed(words))
        return answer

    def _write(self, *words: str | bytes) -> None:
        """A command whose answer nobody waits for."""
        if not self.lost.is_set() and self._transport is not None:
            self._transport.write(_packed(words))

    def close(self, failure: BaseException | None = None) -> None:
        """Whatever waits fails with ``failure``. May be called again."""
        self._lose(failure or RedisConnectionError("Connection closed"))

    def _lose(self, failure: BaseException) -> None:
        if self.lost.is_set():
            return
        self.failure = failure
        self.lost.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self._pending:
            answer, _ = self._pending.popleft()
            if not answer.done():
                answer.set_exception(failure)

    def _look_at_the_oldest(self) -> None:
        self._timer = None
        if not self._pending:
            return
        _, until = self._pending[0]
        if until <= self._loop.time():
            self._lose(TimeoutError(f"no answer within {self._timeout_s:g} s"))
        else:
            self._timer = self._loop.call_at(until, self._look_at_the_oldest)

    def _answered(self, reply: Any) -> None:
        if not self._pending:
            raise InvalidResponse(f"an answer to nothing: {reply!r:.100}")
        answer, _ = self._pending.popleft()
        if answer.done():
            return  # nobody waits for it any more
        if isinstance(reply, Exception):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)

    # asyncio.Protocol ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        if self.lost.is_set():
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while not self.lost.is_set() and (reply := self._reader.gets()) is not False:
                self._answered(reply)
        except InvalidResponse as error:
            self._lose(RedisConnectionError(f"not an answer of Redis: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc or RedisConnectionError("Connection closed by server."))


class Listener(Pipeline):
    """A connection that hears channels: ``heard(channel, data)`` for each message, at once."""

    def __init__(self, timeout_s: float, heard: Callable[[bytes, bytes], None]) -> None:
        super().__init__(timeout_s)
        self._heard = heard

    async def subscribe(self, channels: Iterable[bytes]) -> None:
        """Returns when all messages of these channels come here. Raises as :meth:`send`."""
        self._write("SUBSCRIBE", *channels)
        await self.ping()  # is answered after it

    def unsubscribe(self, channel: bytes) -> None:
        """Hear this channel no more."""
        self._write("UNSUBSCRIBE", channel)

    async def ping(self) -> None:
        """Whether Redis is still there. Raises as :meth:`send`."""
        await self.send("PING")

    def _answered(self, reply: Any) -> None:
        match reply:
            case [b"message", bytes(channel), bytes(data)]:
                self._heard(channel, data)
            case [b"subscribe" | b"unsubscribe", *_]:
                pass
            case Exception():
                self._lose(reply)  # it would be deaf to something, and not know it
            case _:
                super()._answered(reply)


def _packed(words: tuple[str | bytes | int | float, ...]) -> bytes:
    return cast(bytes, hiredis.pack_command(words))  # type: ignore[arg-type]  # of one, it says


def _error(message: str) -> RedisError:
    """What Redis refuses with, as redis-py would raise it."""
    word = message.partition(" ")[0]
    if word == "NOSCRIPT":
        return NoScriptError(message)
    if word in _NOT_SERVED or message.startswith("ERR max number of clients"):
        return NotServed(message)
    if word in ("NOAUTH", "WRONGPASS") or message.startswith("ERR invalid password"):
        return AuthenticationError(message)
    return ResponseError(message)
