"""One TCP connection until it is a WebSocket: requests, one after the other, each in good time.

A request's head must be there within ``head_timeout_s`` of the connection (or of the answer
before), and its answer be read within ``answer_timeout_s``. Nothing else is buffered than one head.
While an answer is being made or waits for its reader, nothing more is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, cast

from .http11 import END_OF_HEAD, MAX_HEAD_BYTES, BadRequest, Request, Response, parse_request
from .limits import Address, parse_address
from .websocket import Reactor, Receiver, WebSocket

LINGER_BYTES = 256 * 1024
"""What is read and thrown away of a client that still sends when it has its last answer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a TCP connection."""

    address: Address | None
    """``None`` where there is none, as with a UNIX socket."""

    tls: bool


@dataclass(frozen=True, slots=True)
class Upgrade:
    """An answer: this connection becomes a WebSocket."""

    key: str
    """``Sec-WebSocket-Accept``: see :func:`.handshake.accept_key`."""

    accept: Callable[[WebSocket], Receiver]
    """Called when it does."""

    subprotocol: str | None = None


Answer = Response | Upgrade | Awaitable[Response]
"""An awaitable must end soon."""


class Site(Protocol):
    """Whose connections these are."""

    @property
    def head_timeout_s(self) -> float: ...

    @property
    def answer_timeout_s(self) -> float: ...

    @property
    def linger_s(self) -> float: ...

    @property
    def reactor(self) -> Reactor: ...

    @property
    def requesting(self) -> set[HttpConnection]:
        """The connections that are no WebSocket (yet)."""

    def opened(self, peer: Peer) -> bool:
        """Whether a new TCP connection may stay."""

    def closed(self, peer: Peer) -> None:
        """A connection that might stay is gone. A WebSocket's is told by its receiver."""

    def answer(self, request: Request, peer: Peer) -> Answer:
        """What to answer."""

    def common_fields(self, peer: Peer) -> tuple[tuple[str, str], ...]:
        """The header fields of every response."""

    def run(self, work: Coroutine[Any, Any, None]) -> object:
        """Run it as a task."""


class HttpConnection(asyncio.BufferedProtocol):
    """One connection of a :class:`Site`."""

    __slots__ = (
        "_blocked",
        "_busy",
        "_counted",
        "_ending",
        "_head",
        "_lingered",
        "_site",
        "_timer",
        "_transport",
        "came",
        "peer",
    )

    def __init__(self, site: Site, peer: Peer | None = None) -> None:
        """``peer`` counts as ``opened`` already, and as ``closed`` when the connection is, once it
        :attr:`came`. ``None``: whom the transport names, if the site lets them in.
        """
        self.came = False
        """Whether there has been a connection: with TLS, after its handshake."""

        self.peer = peer or Peer(None, tls=False)
        self._counted = peer is not None
        self._site = site
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._lingered = 0
        self._busy = False  # an answer is being made
        self._blocked = False  # an answer is not read yet
        self._ending = False
        self._timer: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every loop's transports are derived from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if not self._counted:
            peername = transport.get_extra_info("peername")
            address = parse_address(peername[0]) if isinstance(peername, tuple) else None
            self.peer = Peer(address, tls=transport.get_extra_info("ssl_object") is not None)
            if not self._site.opened(self.peer):
                self._transport.abort()
                return
        self.came = True
        self._site.requesting.add(self)
        self._limit(self._site.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit(None)
        self._transport = None
        if self in self._site.requesting:
            self._site.requesting.remove(self)
            self._site.closed(self.peer)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._site.reactor.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._ending:
            self._lingered += nbytes
            if self._lingered > LINGER_BYTES:
                self.abort()
            return
        self._head += self._site.reactor.buffer[:nbytes]
        self._serve()

    def eof_received(self) -> bool:
        # Some close their sending half and still read; an answer that is on its way gets there.
        return self._busy and not self.peer.tls

    def pause_writing(self) -> None:
        self._blocked = True
        self._read_or_not()

    def resume_writing(self) -> None:
        self._blocked = False
        self._read_or_not()
        self._serve()

    # Requests ------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not (self._busy or self._blocked or self._ending or self._transport is None):
            end = self._head.find(END_OF_HEAD, 0, MAX_HEAD_BYTES)
            if end < 0:
                if len(self._head) >= MAX_HEAD_BYTES:
                    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                    text = f"A request's head has less than {MAX_HEAD_BYTES} bytes."
                    self._respond(Response.words(status, text), None)
                return
            head = bytes(self._head[:end])
            del self._head[: end + len(END_OF_HEAD)]
            try:
                self._answer(parse_request(head))
            except BadRequest as error:
                self._respond(Response.words(error.status, str(error)), None)

    def _answer(self, request: Request) -> None:
        answer = self._site.answer(request, self.peer)
        if isinstance(answer, Response):
            self._respond(answer, request)
        elif isinstance(answer, Upgrade):
            self._upgrade(answer)
        else:
            self._busy = True
            self._limit(self._site.answer_timeout_s)
            self._read_or_not()
            self._site.run(self._answer_later(answer, request))

    async def _answer_later(self, answer: Awaitable[Response], request: Request) -> None:
        response = await answer
        self._busy = False
        if self._transport is None or self._transport.is_closing():
            return
        self._read_or_not()
        self._respond(response, request)
        self._serve()

    def _read_or_not(self) -> None:
        """Read on, unless an answer is being made or waits for its reader."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._ending:
            return
        if self._busy or self._blocked:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _respond(self, response: Response, request: Request | None) -> None:
        """``request`` is ``None`` when it was not understood: what follows it is anything. So it is
        when an upgrade was asked for: a proxy that takes no notice of the answer hands on unread,
        and without its own header fields, whatever the client sends next.
        """
        assert self._transport is not None
        persistent = request is not None and request.persistent and not request.get_all("upgrade")
        head_only = request is not None and request.method == "HEAD"
        common = self._site.common_fields(self.peer)
        data = response.to_bytes(common, head_only=head_only, persistent=persistent)
        self._transport.write(data)
        if persistent:
            self._limit(self._site.head_timeout_s)
        else:
            self._end()

    def _end(self) -> None:
        """Let the client read what it got: closing at once, with something of it still unread,
        would take that away from it (RFC 9112 section 9.6).
        """
        assert self._transport is not None
        self._ending = True
        self._head.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._limit(self._site.linger_s)
        else:
            self._transport.close()
            self._limit(self._site.answer_timeout_s)

    def _upgrade(self, upgrade: Upgrade) -> None:
        fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        fields.append(("Sec-WebSocket-Accept", upgrade.key))
        if upgrade.subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", upgrade.subprotocol))
        response = Response(HTTPStatus.SWITCHING_PROTOCOLS, fields=tuple(fields))
        transport = self._transport
        assert transport is not None
        transport.write(response.to_bytes((), head_only=True, persistent=True))
        self._limit(None)
        self._ending = True
        self._site.requesting.remove(self)
        websocket = WebSocket(self._site.reactor, transport)
        websocket.open(upgrade.accept(websocket), bytes(self._head))

    def _limit(self, seconds: float | None) -> None:
        """Abort unless something else happens in time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self._site.reactor.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._head and not (self._busy or self._blocked or self._ending):
            text = "The request's head did not come in time."
            self._respond(Response.words(HTTPStatus.REQUEST_TIMEOUT, text), None)
        else:
            self.abort()
