"""The life of one WebSocket client: hello, room, messages, end.

There is no task for a connection. A message is handled in the callback that brings it; what has to
wait for somebody else (a token's verification, joining, a bus that is elsewhere) runs as a task,
and what comes meanwhile stays in the inbox, so that a client's messages are handled one after the
other. Whether the client is still there is watched by :mod:`.liveness`.

The connection ends in one of three ways: the client goes, :meth:`Connection.close` is called (the
error is sent, then the close frame with its code), or it is dropped. In each its room hears of it
at once: the member is away then, and gone only if it said so.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Literal, get_args

import msgspec
from structlog.contextvars import bind_contextvars

from .bus import BusUnavailable
from .entrance import Entrance, Refusal, join_of
from .identity import Identity
from .jwks import KeysUnavailable
from .limits import MessageKind, take
from .liveness import Liveness
from .messages import (
    CLOSE_CODES,
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    Bye,
    Chat,
    ClientMessage,
    ControlGive,
    ControlRelease,
    ControlRequest,
    Error,
    ErrorCode,
    FreshToken,
    Hello,
    Invite,
    Invited,
    MessageError,
    MessageTooLarge,
    Ping,
    Pong,
    Relayed,
    Role,
    RoomRequest,
    ServerMessage,
    TokenAccepted,
    Trace,
    Welcome,
    decode_client,
)
from .services import Services
from .tracing import keep_report
from .websocket import NORMAL_CLOSURE, WebSocket

log = logging.getLogger(__name__)

_KINDS: dict[type[msgspec.Struct], MessageKind] = {
    **dict.fromkeys(get_args(Relayed), "relay"),
    **dict.fromkeys(get_args(RoomRequest), "request"),
    **dict.fromkeys((ControlRequest, ControlRelease, ControlGive), "control"),
    Chat: "chat",
    FreshToken: "token",
    Ping: "ping",
    Pong: "ping",
    Trace: "trace",
}
"""How each message is counted; what is not here ends the connection anyway."""

_ASKED: frozenset[MessageKind] = frozenset({"request", "control", "chat"})
"""What is counted for the user too."""

MAX_EARLY_MESSAGES = 16
"""What a client may say while its hello is looked at, besides :data:`.messages.MAX_HELLO_BYTES` of
it in all. The clients of this project say nothing then."""

_TAGS = {kind: str(kind.__struct_config__.tag) for kind in get_args(ClientMessage)}
_encoder = msgspec.json.Encoder()


class Connection:
    """One client. Implements :class:`.switchboard.Client` and :class:`.websocket.Receiver`."""

    __slots__ = (
        "_buckets",
        "_ended",
        "_entrance",
        "_hello",
        "_identity",
        "_inbox",
        "_inbox_bytes",
        "_leave_reason",
        "_liveness",
        "_offences_full_at",
        "_secret",
        "_services",
        "_traceparent",
        "_websocket",
        "_when_closed",
        "_worker",
        "link",
        "role",
    )

    def __init__(
        self,
        services: Services,
        websocket: WebSocket,
        address: str,
        when_closed: Callable[[], None],
    ) -> None:
        """``address`` is what the client's counts as (:func:`.limits.address_key`);
        ``when_closed`` is called when the connection is gone.
        """
        self.link = secrets.token_urlsafe(9)
        self._services = services
        self._websocket = websocket
        websocket.take_up_to(MAX_HELLO_BYTES)
        self._entrance = Entrance(services, address)
        self._when_closed = when_closed
        self._hello: Hello | None = None
        self._identity: Identity | None = None
        self.role: Role = "viewer"
        self._ended = False
        self._leave_reason: Literal["bye"] | None = None
        self._secret = ""
        self._traceparent = ""
        self._worker: asyncio.Task[None] | None = None
        self._inbox: deque[bytes] | None = None
        self._inbox_bytes = 0
        self._buckets: dict[MessageKind, float] = {}
        self._offences_full_at = 0.0
        services.came(self)
        self._liveness = Liveness(services, websocket, self)

    @property
    def _log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Its lines say whose connection they are about, whoever's doing they are."""
        return logging.LoggerAdapter(log, self._ids())

    def _ids(self) -> dict[str, str]:
        ids = {"connection": self.link}
        if self._hello is not None and self._identity is not None:
            ids |= {"room": self._hello.room, "user": self._identity.subject}
        if self._traceparent:
            ids["trace"] = self._traceparent.split("-")[1]
        return ids

    @property
    def is_member(self) -> bool:
        """Whether the client is in a room, or on its way into one."""
        return self._hello is not None

    @property
    def rtt_s(self) -> float:
        """The last round trip to the client, in seconds; NaN before the first."""
        return self._liveness.rtt_s

    # What others want of this client: see switchboard.Client -------------------------------------

    def deliver(self, frame: bytes) -> None:
        if self._ended:
            return
        self._services.metrics.sent(_tag_of(frame), len(frame))
        websocket = self._websocket
        if not websocket.send(frame):
            self._too_slow()
        elif websocket.blocked:
            self._liveness.blocked()

    def send(self, message: ServerMessage) -> None:
        """Queue ``message``."""
        self.deliver(_encoder.encode(message))

    def welcome(self, message: Welcome) -> None:
        services, hello = self._services, self._hello
        assert hello is not None
        may_watch = message.role == "host" or any(
            permission.capability == "watch" for permission in message.capabilities
        )
        ice_servers = (
            services.settings.ice_servers.ice_servers(
                room=message.room,
                peer=message.peer,
                now=services.unix_time(),
                region=hello.region,
            )
            if may_watch
            else []
        )
        secret, self._secret = self._secret, ""
        self.send(msgspec.structs.replace(message, ice_servers=ice_servers, secret=secret))

    def invite(self, request: Invite, role: Role) -> None:
        assert self._hello is not None
        assert self._identity is not None
        try:
            token, until = self._services.settings.invitations.make(
                self._hello.room, role, request.for_s, self._identity.subject
            )
        except ValueError as error:
            self.send(Error("forbidden", str(error), id=request.id))
        else:
            self.send(Invited(request.id, token, until))

    def close(self, error: Error) -> None:
        if self._ended:
            return
        self._log.info("closing link=%s code=%s", self.link, error.code)
        frame = _encoder.encode(error)
        self._services.metrics.sent("error", len(frame))
        self._websocket.send(frame, limited=False)
        self._end()
        self._websocket.close(CLOSE_CODES[error.code], error.code)

    def probe(self) -> None:
        if not self._ended:
            self._liveness.ping(self._services.settings.probe_timeout_s)

    # What the client does: see websocket.Receiver ------------------------------------------------

    def received(self, message: bytes, is_text: bool) -> None:
        if self._ended:
            return
        services = self._services
        now = services.now()
        if wait := self._take("host-relay" if self.role == "host" else "frame", now):
            self._refuse("frame", wait, now)
        elif not is_text:
            self._fail("bad-message", "messages are text frames, not binary")
        elif self._worker is not None:
            self._put_aside(message)
        else:
            work = self._guarded(message, now)
            if work is not None:
                self._worker = services.run(self._work(work))

    def overlong(self) -> None:
        most = MAX_HELLO_BYTES if self._hello is None else MAX_MESSAGE_BYTES
        before = " before the hello is answered" if self._hello is None else ""
        self._fail("too-large", f"the frame is longer than {most} bytes{before}")

    def pinged(self) -> bool:
        now = self._services.now()
        if wait := self._take("ping", now):
            self._refuse("ping", wait, now)
            return False
        return not self._ended

    def ponged(self, payload: bytes) -> None:
        if not self._liveness.ponged(payload):
            # Costs as much as a ping.
            now = self._services.now()
            if wait := self._take("ping", now):
                self._refuse("ping", wait, now)

    def closed(self, code: int) -> None:
        self._end()
        self._services.went(self, code)
        self._when_closed()

    # Messages ------------------------------------------------------------------------------------

    def _guarded(self, message: bytes, now: float) -> Coroutine[Any, Any, None] | None:
        """Handle a message as far as that goes without waiting; returns the rest, if any."""
        try:
            return self._handle(message, now)
        except Refusal as refusal:
            self.close(refusal.error)
        except BusUnavailable as error:
            self._cannot_serve(error)
        except Exception:  # noqa: BLE001  # logged there
            self._made_a_mistake()
        return None

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what waits, then what has come meanwhile."""
        try:
            await work
            while self._inbox and not self._ended:
                message = self._inbox.popleft()
                self._inbox_bytes -= len(message)
                more = self._handle(message, self._services.now())
                if more is not None:
                    await more
        except Refusal as refusal:
            self.close(refusal.error)
        except (BusUnavailable, KeysUnavailable) as error:
            self._cannot_serve(error)
        except Exception:  # noqa: BLE001  # logged there
            self._made_a_mistake()
        finally:
            self._worker = None
            if self._inbox is not None and not self._ended:
                self._inbox = None
                self._websocket.resume_reading()
        if self._ended:
            await self._leave()

    def _put_aside(self, message: bytes) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(message)
        self._inbox_bytes += len(message)
        if self._hello is None:
            if len(self._inbox) > MAX_EARLY_MESSAGES or self._inbox_bytes > MAX_HELLO_BYTES:
                self._fail("bad-message", "too much came before the hello was answered")
        elif self._inbox_bytes > self._services.settings.limits.inbox_bytes:
            self._websocket.pause_reading()

    def _handle(self, frame: bytes, now: float) -> Coroutine[Any, Any, None] | None:
        """Raises :class:`Refusal` and :class:`BusUnavailable`."""
        try:
            message = decode_client(frame)
        except MessageTooLarge as error:
            raise Refusal("too-large", str(error)) from error
        except MessageError as error:
            raise Refusal("bad-message", str(error)) from error
        services, kind = self._services, type(message)
        services.metrics.received(_TAGS[kind], len(frame))
        hello = self._hello
        if hello is None:
            if kind is not Hello:
                raise Refusal("bad-message", "the first message must be a hello")
            return self._greet(message)  # type: ignore[arg-type]
        counted = _KINDS.get(kind)
        if counted is not None and not (counted == "relay" and self.role == "host"):
            # What is handed on lands with one other, whose line may be thin: by the KiB.
            cost = len(frame) / 1024 if counted == "relay" else 1.0
            if wait := self._take(counted, now, max(1.0, cost)):
                self._refuse(counted, wait, now, getattr(message, "id", ""))
                return None
            if counted in _ASKED and not self._user_may(counted, message, now):
                return None
        if counted == "relay" or counted in _ASKED:
            work = services.switchboard.say(hello.room, self.link, message)  # type: ignore[arg-type]
            if not services.publishes_at_once:
                return work
            _run_now(work)
            if counted == "relay":
                services.metrics.relayed(services.now() - now)
            return None
        return self._answer(message)

    def _answer(self, message: ClientMessage) -> Coroutine[Any, Any, None] | None:
        match message:
            case Ping(at=at):
                self.send(Pong(at))
            case FreshToken(token=token):
                return self._renew(token)
            case Bye():
                self._leave_reason = "bye"
                self._end()
                self._websocket.close(NORMAL_CLOSURE)
            case Trace():
                self._record_spans(message)
            case Hello():
                self.send(Error("forbidden", f"a {self.role} may not send hello again"))
        return None

    async def _greet(self, hello: Hello) -> None:
        services = self._services
        settings = services.settings
        # For the lines of those that are asked below, within this task.
        self._traceparent = hello.traceparent
        bind_contextvars(**self._ids(), room=hello.room)
        span = settings.tracer.start("signalling.join", parent=hello.traceparent)
        with span:
            span.set("room", hello.room)
            identity, role = await self._entrance.admit(hello)
            marks = await settings.relations.marks(identity, hello.room)
            if self._ended:
                return
            self._enter(hello, identity, role)
            self._secret = secrets.token_urlsafe(24)
            join = join_of(
                hello,
                identity,
                role,
                link=self.link,
                secret=self._secret,
                marks=marks,
                at=services.unix_time(),
                traceparent=span.traceparent,
            )
            await services.switchboard.join(hello.room, join, self)
        self._log.info("joined room=%s role=%s link=%s", hello.room, role, self.link)

    def _enter(self, hello: Hello, identity: Identity, role: Role) -> None:
        services = self._services
        services.users.enter(identity.subject)
        services.rooms.enter(hello.room)
        self._hello, self._identity, self.role = hello, identity, role
        self._websocket.take_up_to(MAX_MESSAGE_BYTES)
        self._liveness.entered(identity)

    async def _renew(self, token: str) -> None:
        hello, identity = self._hello, self._identity
        assert hello is not None
        assert identity is not None
        bind_contextvars(**self._ids())
        fresh = await self._entrance.readmit(token, hello, identity, self.role)
        if self._ended:
            return
        self._identity = fresh
        self._liveness.renewed(fresh)
        self.send(TokenAccepted(self._liveness.token_left_s()))

    def _record_spans(self, trace: Trace) -> None:
        services = self._services
        of_a_viewer = self.role == "host" and trace.traceparent
        since_click_s = keep_report(
            services.settings.tracer,
            of_a_viewer or self._traceparent,
            trace.spans,
            now=services.unix_time(),
            whole=not of_a_viewer,
        )
        if since_click_s is not None:
            services.metrics.first_frame(since_click_s)

    # Limits --------------------------------------------------------------------------------------

    def _take(self, kind: MessageKind, now: float, cost: float = 1.0) -> float:
        """Seconds to wait, or 0. What costs more than there can be costs all of it."""
        buckets = self._buckets
        limit = self._services.settings.limits.rates[kind]
        full_at, wait = take(limit, buckets.get(kind, 0.0), now, min(cost, limit.burst))
        if not wait:
            buckets[kind] = full_at
        return wait

    def _user_may(self, counted: str, message: ClientMessage, now: float) -> bool:
        assert self._identity is not None
        kind = f"user.{counted}"
        wait = self._services.limiter.take(kind, self._identity.subject, now)
        if wait:
            self._refuse(kind, wait, now, getattr(message, "id", ""))
        return not wait

    def _refuse(self, limit: str, wait: float, now: float, request: str = "") -> None:
        """Answer that it was too much; end the connection of who takes no notice."""
        self._services.metrics.refused(limit)
        offences = self._services.settings.limits.offences
        self._offences_full_at, too_many = take(offences, self._offences_full_at, now)
        if too_many:
            text = "you send too much, in spite of warnings"
            self.close(Error("rate-limited", text, retry=True, retry_after_s=too_many))
        else:
            text = "you send too much: wait a little"
            self.send(Error("rate-limited", text, True, request, round(wait, 3)))

    def _too_slow(self) -> None:
        """It gets what is on its way, and the reason; the rest is forgotten."""
        self._services.metrics.dropped("slow")
        self._websocket.discard()
        text = "you read too slowly: what was said has been missed"
        self.close(Error("too-slow", text, retry=True))

    # The end -------------------------------------------------------------------------------------

    def _fail(self, code: ErrorCode, text: str, *, retry: bool = False) -> None:
        self.close(Error(code, text, retry))

    def _cannot_serve(self, error: Exception) -> None:
        self._log.warning("cannot serve link=%s: %s", self.link, error)
        self._fail("internal", "the server cannot reach a service that it needs", retry=True)

    def _made_a_mistake(self) -> None:
        self._log.exception("serving failed link=%s", self.link)
        self._services.metrics.internal_error()
        self._fail("internal", "the server made a mistake", retry=True)

    def drop(self, reason: str, why: str) -> None:
        """See :meth:`.liveness.Watched.drop`."""
        self._log.info("dropped link=%s: it %s", self.link, why)
        self._services.metrics.dropped(reason)
        self._end()
        self._websocket.abort()

    def _end(self) -> None:
        """Nothing of the client's counts any more, and it is told nothing more."""
        if self._ended:
            return
        self._ended = True
        self._inbox = None
        self._liveness.end()
        if self._worker is None and self._hello is not None:
            self._services.run(self._leave())

    async def _leave(self) -> None:
        hello, identity = self._hello, self._identity
        if hello is None or identity is None:
            return
        log_of_member = self._log
        self._hello = None
        self._services.users.leave(identity.subject)
        self._services.rooms.leave(hello.room)
        await self._services.switchboard.leave(hello.room, self.link, self._leave_reason)
        reason = self._leave_reason
        log_of_member.info("left room=%s link=%s reason=%s", hello.room, self.link, reason)


def _run_now(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end what never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AssertionError("a bus in memory does not wait")


_tags: dict[bytes, str] = {}


def _tag_of(frame: bytes) -> str:
    """The type of an encoded message: it comes first."""
    tag = frame[9 : frame.find(b'"', 9)]
    name = _tags.get(tag)
    if name is None:
        _tags[tag] = name = tag.decode()
    return name
