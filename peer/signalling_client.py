"""The client of a signalling server: one WebSocket at a time, opened again after a loss.

::

    settings = SignallingClientSettings(url=url, token=token, room="den", role="host")
    async with SignallingClient(settings) as client:
        async for message in client:  # Welcome first, and again after every reconnect
            await client.send(Offer(peer, sdp))

    await client.request(Kick("anna"))  # from another task: the iteration brings the answer

States, changed in one setter::

             iteration                welcome
    IDLE ───────────────▶ CONNECTING ─────────▶ JOINED
                           ▲   │  ╲ waiting       │  ▲ welcome
                           │   │   ▼              │  │
                           │   │  KNOCKING ───────│──╯
                     delay │   │ loss  │ loss     │ loss
                           │   ▼       ▼          │
                           ╰── WAITING ◀──────────╯
    close(), or refused for good: CLOSED

A link that is lost is not the end of the session: the next hello names it, and a server that still
has it goes on with it. Then ``welcome.resumed`` is true, the peer id is what it was, and what was
missed follows, each message once; where too much was missed, ``welcome.complete`` is false, and
the welcome alone says how things stand. Otherwise the session is a new one.

A token that lives shorter than the session needs a callback that has fresh ones (``fresh_token``):
it is asked before each hello, and again when the server says that the token ends soon.

A loss is retried with exponential backoff and jitter, never sooner than the server asks for; what
cannot get better by trying again ends the iteration with :class:`SignallingRefused`. Of several
servers the next one is tried where one cannot be reached, shuts down, or is no server of ours; the
client then stays with the one that took it.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from peer.requests import Answer, RequestRefused, Requests
from peer.server_choice import ServerChoice
from peer.signalling_link import FINAL, Lost, SignallingRefused, end_of, open_link
from peer.signalling_settings import SignallingClientSettings, TokenSource, TokenUnavailable
from peer.spans import Spans
from peer.token_renewal import TokenRenewal
from signalling.messages import (
    Bye,
    ClientMessage,
    Error,
    Hello,
    MessageError,
    Ping,
    Pong,
    Resume,
    Role,
    RoomMessage,
    RoomRequest,
    ServerMessage,
    TokenAccepted,
    TokenExpiring,
    Waiting,
    Welcome,
    decode_server,
    encode,
)

__all__ = [
    "FINAL",
    "ClientState",
    "RequestRefused",
    "SignallingClient",
    "SignallingClientSettings",
    "SignallingRefused",
    "TokenSource",
    "TokenUnavailable",
]

log = logging.getLogger(__name__)


class ClientState(enum.Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    KNOCKING = "knocking"
    """The token is good; somebody of the room must still let us in."""
    JOINED = "joined"
    WAITING = "waiting"
    """Until the next try."""
    CLOSED = "closed"


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
        spans: Spans | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: random.Random | None = None,
    ) -> None:
        """``fresh_token`` has the tokens; without it ``settings.token`` is the only one. ``spans``
        are told how long it took to come in; their trace is then in the place of
        ``settings.traceparent``.

        ``sleep``, ``clock`` and ``jitter`` stand for time and chance in tests.
        """
        self._settings = settings
        self._fresh_token = fresh_token
        self._spans = spans or Spans(settings.traceparent)
        self._renewal = TokenRenewal(fresh_token, sleep, clock)
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter or random.Random()
        self._socket: ClientConnection | None = None
        self._state = ClientState.IDLE
        self._stopped = asyncio.Event()
        self._requests = Requests()
        self._refusal: Error | None = None
        self._session: Welcome | None = None
        self._seq = 0
        self._tries = 0
        self._taken = 0
        self._servers = ServerChoice(settings.urls)
        self.trouble = ""
        """Why there is no connection now, in words; empty while there is one."""
        self.on_state: Callable[[ClientState], None] = lambda _: None
        """Hears of each new state; must neither block nor raise."""
        self.seat = ""
        """What a viewer says when it joins again: the seat of the offer that it answered."""

    @property
    def state(self) -> ClientState:
        return self._state

    @property
    def url(self) -> str:
        """The server of the link that there is, or is tried next."""
        return self._servers.url

    @property
    def peer(self) -> str:
        """Our name in the room; empty before the first welcome."""
        return self._session.peer if self._session else ""

    @property
    def role(self) -> Role | None:
        """What we became there; ``None`` before the first welcome."""
        return self._session.role if self._session else None

    @property
    def rtt_ms(self) -> float | None:
        """The last heartbeat's round trip to the server, in milliseconds."""
        socket = self._socket
        return 1000 * socket.latency if socket is not None and socket.latency else None

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
        return self._state is ClientState.JOINED and await self._send(message)

    async def request(self, request: RoomRequest, *, timeout_s: float | None = None) -> Answer:
        """Ask the room for something, and wait for the answer: the iteration must go on meanwhile.

        Raises :class:`RequestRefused`, with the code ``timeout`` where no answer came.
        """
        if self._state is not ClientState.JOINED:
            why = self.trouble or "there is no link to the server now"
            raise RequestRefused("timeout", why, retry=True)
        asked = self._requests.begin(request)
        # Where the link breaks meanwhile, the answer may come with what the next one brings.
        await self._send(asked)
        return await self._requests.answer_to(asked, timeout_s or self._settings.request_timeout_s)

    async def reconnect(self) -> None:
        """Give the link up and open another. The session goes on over it, with ``seat``."""
        if self._socket is not None:
            await self._socket.close()

    async def close(self) -> None:
        """Say bye, close, and end the iteration. May be called again."""
        if self._state is ClientState.IDLE:
            self._set_state(ClientState.CLOSED)
            return
        if not self._stopped.is_set():
            if self._state in (ClientState.JOINED, ClientState.KNOCKING):
                await self._send(Bye())
            self._stopped.set()
        if self._socket is not None:
            await self._socket.close()

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        assert self._state is ClientState.IDLE, "a client is iterated over once"
        try:
            while not self._stopped.is_set():
                self._set_state(ClientState.CONNECTING)
                after_s = 0.0
                try:
                    async with aclosing(self._connection()) as messages:
                        async for message in messages:
                            yield message
                except Lost as loss:
                    self.trouble = str(loss)
                    if loss.elsewhere:
                        self._servers.go_on()
                    after_s = loss.after_s
                if self._stopped.is_set():
                    return
                self._set_state(ClientState.WAITING)
                await self._wait(after_s)
        finally:
            self._set_state(ClientState.CLOSED)
            self._requests.abandon("the session has ended")

    async def _connection(self) -> AsyncGenerator[ServerMessage, None]:
        """The messages of one connection. Raises :class:`Lost` or :class:`SignallingRefused`."""
        self._spans.begin("signalling.connect")
        try:
            socket = await open_link(self.url, self._settings)
        except SignallingRefused as refusal:
            raise self._servers.is_unusable(refusal) from refusal
        self._spans.end("signalling.connect")
        if self._stopped.is_set():
            await socket.close()
            return
        self._socket = socket
        self._refusal = None
        joined_at = None
        try:
            async with asyncio.timeout(self._settings.open_timeout_s):
                message = await self._greet(socket)
            while True:
                if isinstance(message, Waiting):
                    self._set_state(ClientState.KNOCKING)
                elif isinstance(message, Welcome):
                    self._servers.took_us()
                    joined_at = self._clock()
                    self._joined(message)
                    with suppress(ConnectionClosed):  # what came before is still to be read
                        await socket.ping()
                yield message
                message = await self._receive(socket)
        except TimeoutError:
            raise Lost("the server does not answer the hello", elsewhere=True) from None
        except ConnectionClosed as error:
            raise self._loss(error, was_joined=joined_at is not None) from None
        finally:
            self._socket = None
            await self._renewal.end()
            if joined_at is not None and self._clock() - joined_at >= self._settings.stable_s:
                self._tries = 0
            await socket.close()

    async def _greet(self, socket: ClientConnection) -> ServerMessage:
        """Say hello. Returns the :class:`Waiting` or :class:`Welcome` that comes first."""
        settings, session = self._settings, self._session
        hello = Hello(
            await self._token(),
            settings.room,
            settings.role,
            name=settings.name,
            seat=self.seat,
            settings=settings.room_settings,
            resume=Resume(session.peer, session.secret, self._seq) if session else None,
            traceparent=self._spans.traceparent,
            region=settings.region,
        )
        self._spans.begin("signalling.hello")
        await socket.send(encode(hello))
        while True:
            message = await self._receive(socket)
            if isinstance(message, Waiting | Welcome):
                return message

    def _joined(self, welcome: Welcome) -> None:
        self._session = welcome
        if not welcome.resumed:  # else what was missed follows, answers too
            self._requests.abandon("the session ended before the answer")
        if not (welcome.resumed and welcome.complete):
            self._seq = welcome.seq
        self._taken = 0
        self._spans.end("signalling.hello")
        self.trouble = ""
        self._set_state(ClientState.JOINED)

    async def _token(self) -> str:
        if self._fresh_token is None:
            return self._settings.token
        self._spans.begin("signalling.token")
        try:
            token = await self._fresh_token()
        except TokenUnavailable as error:
            raise Lost(f"there is no token: {error}") from error
        self._spans.end("signalling.token")
        return token

    async def _send(self, message: ClientMessage) -> bool:
        socket = self._socket
        if socket is None:
            return False
        try:
            await socket.send(encode(message))
        except ConnectionClosed:
            return False
        return True

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
                self._renewal.begin(socket, message.left_s)
            elif isinstance(message, Pong | TokenAccepted) or self._is_known(message):
                continue
            elif not self._requests.take(message):
                if isinstance(message, Error):
                    self._refusal = message
                return message

    def _is_known(self, message: ServerMessage) -> bool:
        """Has this message of the room come before?"""
        if not isinstance(message, RoomMessage) or isinstance(message, Welcome | Waiting):
            return False
        if 0 < message.seq <= self._seq:
            return True
        self._seq = max(self._seq, message.seq)
        return False

    def _loss(self, closed: ConnectionClosed, *, was_joined: bool) -> Exception:
        """What the end of a link means for the next try."""
        end = end_of(closed, self._refusal)
        if end.code == "room-taken":
            self._taken += 1
            if self._taken >= self._settings.room_taken_tries:
                return SignallingRefused(end.code, end.text)
        # Another token may be had; one that is refused at once is no better.
        renewable = end.code == "token-expired" and was_joined and self._fresh_token is not None
        if not end.retry and not renewable:
            refusal = SignallingRefused(end.code, end.text)
            return self._servers.is_unusable(refusal) if end.code == "version" else refusal
        return Lost(end.text, elsewhere=end.elsewhere, after_s=end.after_s)

    async def _wait(self, after_s: float) -> None:
        """Wait before the next try, with full jitter; :meth:`close` cuts it short."""
        settings = self._settings
        bound = min(settings.max_delay_s, settings.first_delay_s * 2 ** min(self._tries, 30))
        self._tries += 1
        delay = after_s + bound * (0.5 + 0.5 * self._jitter.random())
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
            self.on_state(state)
