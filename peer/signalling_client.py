"""The client of a signalling server: one WebSocket at a time, opened again after a loss.

::

    settings = SignallingClientSettings(url=url, token=token, room="den", role="host")
    async with SignallingClient(settings) as client:
        async for message in client:  # Welcome first, and again after every reconnect
            await client.send(Offer(peer, sdp))

States, changed in one setter::

             iteration                welcome
    IDLE ───────────────▶ CONNECTING ─────────▶ JOINED
                            ▲     │ loss           │ loss
                      delay │     ▼                │
                            └── WAITING ◀──────────┘
    close(), or refused for good: CLOSED

A token that lives shorter than the session needs a callback that has fresh ones (``fresh_token``):
it is asked before each hello, and again when the server says that the token ends soon.

A loss is retried with exponential backoff and jitter; what cannot get better by trying again ends
the iteration with :class:`SignallingRefused`.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from signalling.messages import (
    CLOSE_CODES,
    MAX_MESSAGE_BYTES,
    SUBPROTOCOL,
    Bye,
    ClientMessage,
    Error,
    ErrorCode,
    FreshToken,
    Hello,
    MessageError,
    Ping,
    Pong,
    Role,
    ServerMessage,
    TokenAccepted,
    TokenExpiring,
    Welcome,
    decode_server,
    encode,
)

log = logging.getLogger(__name__)

# At DEBUG the library logs every frame: tokens, session descriptions, addresses.
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)

FINAL: frozenset[ErrorCode] = frozenset(
    {"bad-message", "bad-token", "token-expired", "forbidden", "version", "too-large"}
)
"""Errors after which the same hello would only be refused again."""

CLOSING = FINAL | {"room-taken", "shutting-down", "timeout", "internal"}
"""Errors that end a connection; the others answer one message."""

# Of the errors that share a close code, the first speaks for all.
_CODE_OF_CLOSE: dict[int, ErrorCode] = {n: code for code, n in reversed(CLOSE_CODES.items())}


TokenSource = Callable[[], Awaitable[str]]
"""Returns a token that is good now; raises :class:`TokenUnavailable` when there is none now."""


class TokenUnavailable(Exception):
    """No token can be had now. Says why; it is asked for again later."""


class SignallingRefused(Exception):
    """The server will not have us, and trying again does not help."""

    def __init__(self, code: ErrorCode | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        """The protocol's error code; ``None`` when it is no Playcast server that answers."""


class ClientState(enum.Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    JOINED = "joined"
    WAITING = "waiting"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class SignallingClientSettings:
    """Where to and as whom. Raises :class:`ValueError` naming the field that makes no sense."""

    url: str
    """The server's WebSocket: ``ws://…/ws`` or ``wss://…/ws``."""

    token: str
    """May be empty for a client with a ``fresh_token`` callback."""

    room: str
    role: Role = "host"
    name: str = ""
    """Shown to the others."""

    first_delay_s: float = 0.25
    """The bound of the delay before the first retry, in seconds; it doubles with every try."""

    max_delay_s: float = 15.0
    """The bound that it never exceeds."""

    stable_s: float = 10.0
    """A connection that held this long starts the backoff afresh."""

    open_timeout_s: float = 10.0
    """How long the WebSocket, and then the welcome, may take."""

    ping_interval_s: float = 10.0
    """How often the connection is pinged, and how long an answer may take."""

    room_taken_tries: int = 6
    """A room that has another host is given up after this many refusals in a row. The server
    needs some seconds to find out that a host has vanished: it may be ourselves."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"url: {self.url!r} is not a ws:// or wss:// address")
        for name in ("first_delay_s", "max_delay_s", "open_timeout_s", "ping_interval_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")


class SignallingClient:
    """One member of one room.

    Iterate over it once: that is what joins, and leaving the loop leaves the room. :meth:`close`
    ends the iteration.
    """

    def __init__(
        self,
        settings: SignallingClientSettings,
        *,
        fresh_token: TokenSource | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: random.Random | None = None,
    ) -> None:
        """``fresh_token`` has the tokens; without it ``settings.token`` is the only one.

        ``sleep``, ``clock`` and ``jitter`` stand for time and chance in tests.
        """
        self._settings = settings
        self._fresh_token = fresh_token
        self._renewal: asyncio.Task[None] | None = None
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter or random.Random()
        self._socket: ClientConnection | None = None
        self._state = ClientState.IDLE
        self._stopped = asyncio.Event()
        self._tries = 0
        self._taken = 0
        self.trouble = ""
        """Why there is no connection now, in words; empty while there is one."""
        self.seat = ""
        """What a viewer says when it joins again: the seat of the offer that it answered."""

    @property
    def state(self) -> ClientState:
        return self._state

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(self, message: ClientMessage) -> bool:
        """Send one message. ``False`` when there is no room to send it in now: it is not kept."""
        socket = self._socket
        if socket is None or self._state is not ClientState.JOINED:
            return False
        try:
            await socket.send(encode(message))
        except ConnectionClosed:
            return False
        return True

    async def close(self) -> None:
        """Say bye, close, and end the iteration. May be called again."""
        if self._state is ClientState.IDLE:
            self._set_state(ClientState.CLOSED)
            return
        if not self._stopped.is_set():
            await self.send(Bye())
            self._stopped.set()
        if self._socket is not None:
            await self._socket.close()

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        assert self._state is ClientState.IDLE, "a client is iterated over once"
        try:
            while not self._stopped.is_set():
                self._set_state(ClientState.CONNECTING)
                try:
                    async with aclosing(self._connection()) as messages:
                        async for message in messages:
                            yield message
                except _Lost as loss:
                    self.trouble = str(loss)
                if self._stopped.is_set():
                    return
                self._set_state(ClientState.WAITING)
                await self._wait()
        finally:
            self._set_state(ClientState.CLOSED)

    async def _connection(self) -> AsyncGenerator[ServerMessage, None]:
        """The messages of one connection. Raises :class:`_Lost` or :class:`SignallingRefused`."""
        socket = await self._open()
        if self._stopped.is_set():
            await socket.close()
            return
        self._socket = socket
        joined_at = None
        refusal: Error | None = None
        try:
            async with asyncio.timeout(self._settings.open_timeout_s):
                welcome = await self._join(socket)
            joined_at = self._clock()
            self._taken = 0
            self.trouble = ""
            self._set_state(ClientState.JOINED)
            yield welcome
            while True:
                message = await self._receive(socket)
                if isinstance(message, Error) and message.code in CLOSING:
                    refusal = message
                yield message
        except TimeoutError:
            raise _Lost("the server does not answer the hello") from None
        except ConnectionClosed as error:
            raise self._loss(error, refusal, was_joined=joined_at is not None) from None
        finally:
            self._socket = None
            await self._give_up_renewal()
            if joined_at is not None and self._clock() - joined_at >= self._settings.stable_s:
                self._tries = 0
            await socket.close()

    async def _join(self, socket: ClientConnection) -> Welcome:
        settings = self._settings
        token = await self._token()
        hello = Hello(token, settings.room, settings.role, name=settings.name, seat=self.seat)
        await socket.send(encode(hello))
        refusal: Error | None = None
        try:
            while True:
                message = await self._receive(socket)
                if isinstance(message, Welcome):
                    return message
                if isinstance(message, Error):
                    refusal = message
        except ConnectionClosed as error:
            raise self._loss(error, refusal, was_joined=False) from None

    async def _token(self) -> str:
        if self._fresh_token is None:
            return self._settings.token
        try:
            return await self._fresh_token()
        except TokenUnavailable as error:
            raise _Lost(f"there is no token: {error}") from error

    async def _renew(self, socket: ClientConnection, source: TokenSource) -> None:
        """Send a fresh token. Without one the server closes, and the next hello asks again."""
        try:
            token = await source()
            await socket.send(encode(FreshToken(token)))
        except TokenUnavailable as error:
            log.warning("signalling: the token ends soon and there is no other: %s", error)
        except ConnectionClosed:
            log.debug("signalling: the connection ended before its token was renewed")

    async def _give_up_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
            self._renewal = None

    def _token_expiring(self, socket: ClientConnection, message: TokenExpiring) -> None:
        if self._fresh_token is None:
            log.warning("signalling: the token ends in %.0f s", message.left_s)
        elif self._renewal is None or self._renewal.done():
            renewal = self._renew(socket, self._fresh_token)
            self._renewal = asyncio.create_task(renewal, name="token-renewal")

    async def _receive(self, socket: ClientConnection) -> ServerMessage:
        """The next message that is not about the connection. Raises :class:`ConnectionClosed`."""
        while True:
            frame = await socket.recv()
            try:
                message = decode_server(frame)
            except MessageError as error:
                log.warning("signalling: dropped a frame that is no message: %s", error)
                continue
            if isinstance(message, Ping):
                await socket.send(encode(Pong(message.at)))
            elif isinstance(message, TokenExpiring):
                self._token_expiring(socket, message)
            elif not isinstance(message, Pong | TokenAccepted):
                return message

    async def _open(self) -> ClientConnection:
        settings = self._settings
        host = urlsplit(settings.url).hostname or ""
        try:
            return await connect(
                settings.url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                user_agent_header=None,
                open_timeout=settings.open_timeout_s,
                ping_interval=settings.ping_interval_s,
                ping_timeout=settings.ping_interval_s,
                close_timeout=2.0,
                max_size=2 * MAX_MESSAGE_BYTES,
                logger=_library_log,
                proxy=None if host in ("127.0.0.1", "::1", "localhost") else True,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            text = f"{settings.url} answers with HTTP status {status}"
            if 400 <= status < 500 and status not in (408, 429):
                raise SignallingRefused(None, f"{text}: is the address right?") from error
            raise _Lost(text) from error
        except ssl.SSLCertVerificationError as error:
            text = f"{settings.url} has no valid certificate: {error.verify_message}"
            raise SignallingRefused(None, text) from error
        except InvalidHandshake as error:
            text = f"{settings.url} is not a Playcast server: {error}"
            raise SignallingRefused(None, text) from error
        except TimeoutError as error:
            raise _Lost(f"{settings.url} does not answer") from error
        except OSError as error:
            raise _Lost(f"cannot reach {settings.url}: {_os_error_text(error)}") from error

    def _loss(
        self, closed: ConnectionClosed, refusal: Error | None, *, was_joined: bool
    ) -> Exception:
        """What the end of a connection means for the next try."""
        code: ErrorCode | None
        if refusal is not None:
            code, text = refusal.code, refusal.message
        else:
            code = _CODE_OF_CLOSE.get(closed.rcvd.code) if closed.rcvd is not None else None
            text = f"the server closed the connection ({code})" if code else "the connection broke"
        if code == "room-taken":
            self._taken += 1
            if self._taken >= self._settings.room_taken_tries:
                return SignallingRefused(code, text)
        if code == "token-expired" and was_joined and self._fresh_token is not None:
            return _Lost(text)  # another may be had; one that is refused at once is no better
        if code in FINAL and not (refusal is not None and refusal.retry):
            return SignallingRefused(code, text)
        return _Lost(text)

    async def _wait(self) -> None:
        """Wait before the next try, with full jitter; :meth:`close` cuts it short."""
        settings = self._settings
        bound = min(settings.max_delay_s, settings.first_delay_s * 2 ** min(self._tries, 30))
        self._tries += 1
        delay = bound * (0.5 + 0.5 * self._jitter.random())
        log.warning("signalling: %s; trying again in %.1f s", self.trouble, delay)
        sleeping = asyncio.ensure_future(self._sleep(delay))
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({sleeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopped.cancel()

    def _set_state(self, state: ClientState) -> None:
        if state is not self._state:
            log.debug("signalling: %s -> %s", self._state.value, state.value)
            self._state = state


class _Lost(Exception):
    """The connection is gone or did not come about; another may do better."""


def _os_error_text(error: OSError) -> str:
    # asyncio's own text of a refused connection is "Connect call failed ('127.0.0.1', 8080)".
    return os.strerror(error.errno) if error.errno else str(error)
