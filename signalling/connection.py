"""The life of one WebSocket client: hello, room, messages, end.

Two tasks serve a client. The reader (:meth:`Connection.run`) takes its messages one at a time to
the switchboard. The writer owns the sending half: whatever anyone has for this client goes through
the bounded outbox, so that nobody ever waits for a slow client; one that lets the outbox fill or a
single message linger is dropped. The connection ends in one of three ways: the client goes
(reader), :meth:`Connection.close` is called (the writer sends the error, then closes with its
code), or it is dropped. In each it leaves its room first.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections import deque
from typing import Literal

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .auth import Identity, KeysUnavailable, NotPermitted, TokenError, TokenExpired
from .bus import BusUnavailable
from .messages import (
    CLOSE_CODES,
    PROTOCOL_VERSION,
    Bye,
    ClientMessage,
    Error,
    ErrorCode,
    FreshToken,
    Hello,
    Invite,
    MessageError,
    MessageTooLarge,
    Ping,
    Pong,
    Role,
    ServerMessage,
    TokenAccepted,
    TokenExpiring,
    Trace,
    Welcome,
    decode_client,
    encode,
)
from .rooms import Join, Resume
from .settings import SignallingSettings
from .switchboard import Switchboard

log = logging.getLogger(__name__)

NORMAL_CLOSURE = 1000


class Connection:
    """One client. Implements :class:`.switchboard.Client`."""

    def __init__(
        self, socket: ServerConnection, settings: SignallingSettings, switchboard: Switchboard
    ) -> None:
        self.peer = secrets.token_urlsafe(9)
        self._socket = socket
        self._settings = settings
        self._switchboard = switchboard
        self._outbox = _Outbox(settings.outbox_bytes)
        self._close_code = NORMAL_CLOSURE
        self._close_reason = ""
        self._joined: Hello | None = None
        self._membership = asyncio.Lock()  # joining and leaving reach the bus in this order
        self._leave_reason: Literal["bye"] | None = None
        self._secret = secrets.token_urlsafe(24)
        self._probe: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the client until it is gone. Returns after the connection has ended."""
        writer = asyncio.create_task(self._write(), name=f"signalling-writer-{self.peer}")
        token = _TokenTimer(self, self._settings.token_notice_s)
        try:
            hello, identity = await self._greet()
            token.start(identity.expires_at)
            await self._join(hello, identity)
            await self._converse(hello, identity.subject, token)
        except _Refusal as refusal:
            self.close(refusal.error)
        except (BusUnavailable, KeysUnavailable) as error:
            log.warning("cannot serve peer=%s: %s", self.peer, error)
            text = "the server cannot reach a service that it needs"
            self.close(Error("internal", text, retry=True))
        except ConnectionClosed:
            self._outbox.finish()
        except Exception:
            log.exception("serving failed peer=%s", self.peer)
            self.close(Error("internal", "the server made a mistake", retry=True))
        finally:
            self._outbox.finish()
            token.cancel()
            await writer
            if self._probe is not None:
                self._probe.cancel()
                await asyncio.wait([self._probe])

    # What others want of this client: see switchboard.Client -------------------------------------

    def send(self, message: ServerMessage) -> None:
        self.deliver(encode(message).encode())

    def deliver(self, frame: bytes) -> None:
        if not self._outbox.put(frame.decode()):
            self._drop("reads too slowly")

    def welcome(self, message: Welcome) -> None:
        ice_servers = list(self._settings.ice_servers)
        welcome = msgspec.structs.replace(message, ice_servers=ice_servers, secret=self._secret)
        self.send(welcome)

    def invite(self, request: Invite, role: Role) -> None:
        self.send(Error("forbidden", "this server makes no invitations", id=request.id))

    def close(self, error: Error) -> None:
        if self._outbox.finished:
            return
        log.info("closing peer=%s code=%s", self.peer, error.code)
        self.send(error)
        self._close_code = CLOSE_CODES[error.code]
        self._close_reason = error.code
        self._outbox.finish()

    def probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ping_once(), name=f"probe-{self.peer}")

    # Reader --------------------------------------------------------------------------------------

    async def _greet(self) -> tuple[Hello, Identity]:
        try:
            async with asyncio.timeout(self._settings.hello_timeout_s):
                hello = await self._receive()
        except TimeoutError:
            raise _Refusal("timeout", "no hello came in time", retry=True) from None
        if not isinstance(hello, Hello):
            raise _Refusal("bad-message", "the first message must be a hello")
        if hello.version != PROTOCOL_VERSION:
            text = f"this server speaks version {PROTOCOL_VERSION} of the protocol"
            raise _Refusal("version", text)
        return hello, await self._verify(hello.token, hello.room, hello.role)

    async def _verify(self, token: str, room: str, role: Role) -> Identity:
        try:
            identity = await self._settings.verifier.verify(token)
        except TokenExpired as error:
            raise _Refusal("token-expired", str(error)) from error
        except NotPermitted as error:
            raise _Refusal("forbidden", str(error)) from error
        except TokenError as error:
            raise _Refusal("bad-token", str(error)) from error
        if identity.role_for(room, role) is None:
            raise _Refusal("forbidden", f"the token does not let you into room {room} as {role}")
        return identity

    async def _join(self, hello: Hello, identity: Identity) -> None:
        async with self._membership:
            if self._outbox.finished:
                return
            self._joined = hello
            role = identity.role_for(hello.room, hello.role)
            assert role is not None  # verified
            resume = None
            if (wish := hello.resume) is not None:
                resume = Resume(wish.peer, _hash(wish.secret), wish.seq)
            join = Join(
                link=self.peer,
                at=time.time(),
                subject=identity.subject,
                role=role,
                name=_printable(hello.name or identity.name),
                seat=hello.seat,
                secret_hash=_hash(self._secret),
                marks=identity.marks,
                resume=resume,
                traceparent=hello.traceparent,
            )
            await self._switchboard.join(hello.room, join, self)
        log.info("joined room=%s role=%s peer=%s", hello.room, hello.role, self.peer)

    async def _converse(self, hello: Hello, subject: str, token: _TokenTimer) -> None:
        while True:
            message = await self._receive()
            if self._outbox.finished:
                continue  # being closed: its room has let it go already
            match message:
                case Trace():
                    pass
                case Ping(at=at):
                    self.send(Pong(at))
                case Pong():
                    pass
                case Bye():
                    self._leave_reason = "bye"
                    self._outbox.finish()
                case FreshToken(token=fresh):
                    identity = await self._verify(fresh, hello.room, hello.role)
                    if identity.subject != subject:
                        raise _Refusal("bad-token", "the fresh token is somebody else's")
                    token.start(identity.expires_at)
                    self.send(TokenAccepted(token.left_s))
                case Hello():
                    self.send(Error("forbidden", "you are in already: there is one hello"))
                case _:
                    await self._switchboard.say(hello.room, self.peer, message)

    async def _receive(self) -> ClientMessage:
        """The next message. Raises :class:`_Refusal` or :class:`ConnectionClosed`."""
        frame = await self._socket.recv()
        if isinstance(frame, bytes):
            raise _Refusal("bad-message", "messages are text frames, not binary")
        try:
            return decode_client(frame)
        except MessageTooLarge as error:
            raise _Refusal("too-large", str(error)) from error
        except MessageError as error:
            raise _Refusal("bad-message", str(error)) from error

    async def _ping_once(self) -> None:
        try:
            async with asyncio.timeout(self._settings.probe_timeout_s):
                await (await self._socket.ping())
        except TimeoutError:
            self._drop("did not answer a probe")
        except ConnectionClosed:
            log.debug("probed peer=%s was closed already", self.peer)

    # Writer --------------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while (frame := await self._outbox.get()) is not None:
                async with asyncio.timeout(self._settings.write_timeout_s):
                    await self._socket.send(frame)
        except TimeoutError:
            self._drop("reads too slowly")
        except ConnectionClosed:
            self._outbox.finish()
        await self._leave()
        try:
            # A little more than the socket's own limit, which does not cover a full send buffer.
            async with asyncio.timeout(self._settings.close_timeout_s + 1.0):
                await self._socket.close(self._close_code, self._close_reason)
        except TimeoutError:
            self._drop("did not let itself be closed")

    async def _leave(self) -> None:
        async with self._membership:
            if self._joined is None:
                return
            room, reason = self._joined.room, self._leave_reason
            await self._switchboard.leave(room, self.peer, reason)
        log.info("left room=%s peer=%s reason=%s", room, self.peer, reason or "lost")

    def _drop(self, why: str) -> None:
        log.info("dropped peer=%s: it %s", self.peer, why)
        self._outbox.discard()
        self._socket.transport.abort()


class _TokenTimer:
    """Warns the client before its token ends, then closes the connection."""

    LEAST_NOTICE_S = 0.5

    def __init__(self, connection: Connection, notice_s: float) -> None:
        self._connection = connection
        self._notice_s = notice_s
        self._expires_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def left_s(self) -> float:
        return max(0.0, self._expires_at - time.time())

    def start(self, expires_at: float) -> None:
        """Count towards the end of this token, and no longer towards an earlier one's."""
        self.cancel()
        self._expires_at = expires_at
        left_s = self.left_s
        expired = Error("token-expired", "the token has expired: get a new one and join again")
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(left_s, self._connection.close, expired)]
        # Half of what is left at the latest: who answers with the same token is asked again, and
        # ever sooner, but not for ever.
        notice_s = min(self._notice_s, left_s / 2)
        if notice_s >= self.LEAST_NOTICE_S:
            self._timers.append(loop.call_later(left_s - notice_s, self._warn))

    def cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _warn(self) -> None:
        self._connection.send(TokenExpiring(self.left_s))


class _Outbox:
    """Frames on their way to the writer; bounded, closed once."""

    def __init__(self, limit_bytes: int) -> None:
        self.finished = False
        self._limit = limit_bytes
        self._size = 0
        self._frames: deque[str] = deque()
        self._changed = asyncio.Event()

    def put(self, frame: str) -> bool:
        """``False`` when there is no room for it. After :meth:`finish` it goes nowhere."""
        if self.finished:
            return True
        if self._size + len(frame) > self._limit:
            return False
        self._frames.append(frame)
        self._size += len(frame)
        self._changed.set()
        return True

    def finish(self) -> None:
        """Take nothing more; :meth:`get` returns what is left, then ``None``."""
        self.finished = True
        self._changed.set()

    def discard(self) -> None:
        """Like :meth:`finish`, but forgets what is left."""
        self._frames.clear()
        self.finish()

    async def get(self) -> str | None:
        while not self._frames and not self.finished:
            self._changed.clear()
            await self._changed.wait()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame


class _Refusal(Exception):
    """Ends the connection with an error."""

    def __init__(self, code: ErrorCode, text: str, *, retry: bool = False) -> None:
        super().__init__(text)
        self.error = Error(code, text, retry)


def _hash(secret: str) -> str:
    """What the room keeps of a session's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _printable(name: str) -> str:
    """Names are shown to people, on terminals too: no control characters."""
    return "".join(character for character in name if character.isprintable())
