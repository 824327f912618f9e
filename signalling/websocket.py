"""The server's side of WebSocket (RFC 6455) over an asyncio transport, built for ten thousand idle
connections and for bursts.

Bytes come into one buffer that all connections of a server share (:class:`Reactor`), are parsed
there, and whole messages go to the connection's :class:`Receiver`; nothing is kept for a connection
but a frame that is not all there yet. What is sent waits until the event loop's turn is over and
then leaves in one write for each connection. There is no task, no timer and no buffer per
connection. No extension is negotiated, so neither is compression.

::

    event loop -> buffer_updated -> frames -> Receiver.received
    send ... send -> (end of the turn) -> one transport.write;  while the client reads too slowly
                                          they wait here, up to Reactor.outbox_bytes
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

# In C where it is built for this platform.
try:
    from websockets.speedups import apply_mask as _apply_mask
except ImportError:
    from websockets.utils import apply_mask as _apply_mask

_unmask: Callable[[memoryview, memoryview], bytes] = _apply_mask  # type: ignore[assignment]
"""``_unmask(data, mask)``: it takes any buffer, whatever its stub says."""

NORMAL_CLOSURE = 1000
PROTOCOL_ERROR = 1002
NO_STATUS = 1005
ABNORMAL_CLOSURE = 1006
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009

MAX_CONTROL_BYTES = 125
MAX_FRAGMENTS = 64
"""The most frames that one message may come in."""

READ_BYTES = 64 * 1024

FRAMES_PER_TURN = 32
"""Frames of one client that are taken in before all others get their turn."""

HIGH_WATER_BYTES = 64 * 1024
"""What asyncio holds for one client before what follows waits here."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN = 0x80
_STATUS_CODES = frozenset(range(1000, 1015)) - {1004, NO_STATUS, ABNORMAL_CLOSURE}
_TEXT_HEADERS = tuple(bytes((_FIN | _TEXT, length)) for length in range(126))


class Receiver(Protocol):
    """Who is told of what a client does. No method blocks or raises."""

    def received(self, message: bytes, is_text: bool) -> None:
        """A whole message. Text is not checked to be UTF-8."""

    def overlong(self) -> None:
        """A message comes that is longer than :meth:`WebSocket.take_up_to` allows. None of what
        comes now is read; unless the receiver closes in its own words, 1009 says so.
        """

    def pinged(self) -> bool:
        """Whether to answer a ping of the client's."""

    def ponged(self, payload: bytes) -> None:
        """The client answered a ping, or sent a pong unasked."""

    def closed(self, code: int) -> None:
        """The connection has ended; nothing follows. ``code`` is the client's close code, ours if
        it was we who closed, :data:`ABNORMAL_CLOSURE` without either.
        """


class Reactor:
    """What the WebSockets of one server share: a buffer to read into, and whose turn it is to
    write."""

    def __init__(
        self, *, max_message_bytes: int, outbox_bytes: int, close_timeout_s: float
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.max_message_bytes = max_message_bytes
        self.outbox_bytes = outbox_bytes
        self.close_timeout_s = close_timeout_s
        self._unwritten: list[WebSocket] = []

    def write_soon(self, websocket: WebSocket) -> None:
        if not self._unwritten:
            self.loop.call_soon(self._write)
        self._unwritten.append(websocket)

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for websocket in unwritten:
            websocket.write()


class WebSocket(asyncio.BufferedProtocol):
    """One connection. Takes the transport over after the opening handshake."""

    __slots__ = (
        "_close_code",
        "_close_timer",
        "_ended",
        "_fragments",
        "_fragments_are_text",
        "_fragments_left",
        "_left",
        "_max_message_bytes",
        "_needed",
        "_outbox",
        "_outbox_size",
        "_paused",
        "_reactor",
        "_reading",
        "_receiver",
        "_rest",
        "_transport",
        "_yielded",
        "close_sent",
    )

    def __init__(self, reactor: Reactor, transport: asyncio.Transport) -> None:
        self.close_sent = False
        self._reactor = reactor
        self._transport = transport
        self._receiver: Receiver | None = None
        self._ended = False
        self._rest: bytearray | None = None
        self._needed = 0
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._fragments_left = 0
        self._max_message_bytes = reactor.max_message_bytes
        self._left = reactor.max_message_bytes  # of the message that has begun, or comes next
        self._outbox: list[bytes] = []
        self._outbox_size = 0
        self._paused = False
        self._reading = True
        self._yielded = False
        self._close_code = ABNORMAL_CLOSURE
        self._close_timer: asyncio.TimerHandle | None = None

    def open(self, receiver: Receiver, rest: bytes) -> None:
        """Begin; ``rest`` is what came behind the handshake."""
        self._receiver = receiver
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport.set_protocol(self)
        if rest:
            self._parse(memoryview(rest))

    # Sending -------------------------------------------------------------------------------------

    @property
    def unwritten_bytes(self) -> int:
        """What was handed to the transport and waits for the client to read. While
        :attr:`blocked`, nothing is added to it.
        """
        return self._transport.get_write_buffer_size()

    @property
    def blocked(self) -> bool:
        """Whether the client does not read what is there for it."""
        return self._paused

    def send(self, text: bytes, *, limited: bool = True) -> bool:
        """Queue a text message. ``False``: too much waits for this client, and nothing was queued;
        last words are not ``limited``.

        After :meth:`close` it goes nowhere.
        """
        if self.close_sent:
            return True
        size = len(text)
        if self._outbox_size + size > self._reactor.outbox_bytes and limited:
            return False
        if size < 126:
            header = _TEXT_HEADERS[size]
        elif size < 65536:
            header = b"\x81\x7e" + size.to_bytes(2, "big")
        else:
            header = b"\x81\x7f" + size.to_bytes(8, "big")
        outbox = self._outbox
        if not outbox and not self._paused:
            self._reactor.write_soon(self)
        outbox.append(header)
        outbox.append(text)
        self._outbox_size += size
        return True

    def ping(self, payload: bytes) -> None:
        """Ask the client to answer with ``payload``, of up to 125 bytes."""
        self._control(_PING, payload)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame behind what is queued, and end the connection when the client has
        answered, or after the reactor's ``close_timeout_s``.

        ``code`` is sent (RFC 6455 section 7.4); ``reason`` is cut to what fits.
        """
        if self.close_sent:
            return
        self._close_code = code
        self._control(_CLOSE, code.to_bytes(2, "big") + _cut(reason))
        self.close_sent = True
        self._abort_later()

    def discard(self) -> None:
        """Forget what waits here for the client. What the transport has goes out all the same."""
        self._outbox.clear()
        self._outbox_size = 0

    def abort(self) -> None:
        """End the connection now."""
        self._ended = True
        self._transport.abort()

    def write(self) -> None:
        """Hand what is queued to the transport, as much as it takes. For the reactor."""
        outbox = self._outbox
        if self._paused or not outbox:
            return
        if self._outbox_size <= HIGH_WATER_BYTES:
            data = b"".join(outbox)
            outbox.clear()
            self._outbox_size = 0
            self._transport.write(data)
            return
        written = 0
        while not self._paused and written < len(outbox):
            header, payload = outbox[written : written + 2]
            self._outbox_size -= len(payload)
            written += 2
            self._transport.write(header + payload)
        del outbox[:written]

    def _control(self, opcode: int, payload: bytes) -> None:
        if self.close_sent:
            return
        if not self._outbox and not self._paused:
            self._reactor.write_soon(self)
        self._outbox += (bytes((_FIN | opcode, len(payload))), payload)
        self._outbox_size += len(payload)

    def _abort_later(self) -> None:
        if self._close_timer is None:
            reactor = self._reactor
            self._close_timer = reactor.loop.call_later(reactor.close_timeout_s, self.abort)

    # Flow control --------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Take nothing more from the client; frames that have come already are still delivered."""
        self._reading = False
        self._read_or_not()

    def take_up_to(self, max_message_bytes: int) -> None:
        """Read no longer messages from now on; at first it is the reactor's bound."""
        self._left += max_message_bytes - self._max_message_bytes
        self._max_message_bytes = max_message_bytes

    def resume_reading(self) -> None:
        self._reading = True
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._transport.is_closing():
            return
        if self._reading and not self._yielded:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._paused = False
        self.write()

    # Receiving -----------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """See :class:`asyncio.BufferedProtocol`."""
        return self._reactor.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        if self._ended:
            return
        data = self._reactor.buffer[:nbytes]
        rest = self._rest
        if rest is not None:
            rest += data
            if self._yielded or len(rest) < self._needed:
                return
            self._rest = None
            data = memoryview(rest)
        self._parse(data)

    def eof_received(self) -> bool:
        """See :class:`asyncio.BaseProtocol`."""
        return False  # close

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._ended = True
        self.close_sent = True
        self.discard()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(self._close_code)

    def _parse(self, data: memoryview) -> None:
        at = 0
        end = len(data)
        frames = 0
        while not self._ended:
            left = end - at
            if left < 2:
                self._keep(data[at:], 2)
                return
            first = data[at]
            size = data[at + 1] ^ 0x80  # the mask bit: 0 now if it is there
            start = at + 6
            if size > MAX_CONTROL_BYTES:
                if size > 127:
                    self._fail(PROTOCOL_ERROR, "a client's frames are masked")
                    return
                start += 2 if size == 126 else 8
                if left < start - at:
                    self._keep(data[at:], start - at)
                    return
                least = 126 if size == 126 else 65536
                size = int.from_bytes(data[at + 2 : start - 4], "big")
                if size < least or first & 0x08:
                    self._fail(PROTOCOL_ERROR, "a frame's length is malformed")
                    return
                if size > self._left:
                    self._refuse_length()
                    return
            stop = start + size
            if stop > end:
                self._keep(data[at:], stop - at)
                return
            if frames == FRAMES_PER_TURN:
                self._yield(data[at:])
                return
            frames += 1
            payload = _unmask(data[start:stop], data[start - 4 : start])
            at = stop
            if first == _FIN | _TEXT and self._fragments is None:
                assert self._receiver is not None
                self._receiver.received(payload, True)
            else:
                self._take(first, payload)
            if at == end:
                return

    def _yield(self, rest: memoryview) -> None:
        """Go on with the rest when all others had their turn."""
        self._rest = bytearray(rest)
        self._yielded = True
        self._read_or_not()
        self._reactor.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        rest, self._rest = self._rest, None
        self._yielded = False
        assert rest is not None
        self._parse(memoryview(rest))
        if not self._yielded:
            self._read_or_not()

    def _keep(self, rest: memoryview, needed: int) -> None:
        self._needed = needed
        if rest:
            self._rest = bytearray(rest)

    def _take(self, first: int, payload: bytes) -> None:
        """A frame that is not simply a text message."""
        opcode = first & 0x0F
        if first & 0x70:
            self._fail(PROTOCOL_ERROR, "no extension was agreed upon")
        elif opcode & 0x08:
            if not first & _FIN:
                self._fail(PROTOCOL_ERROR, "control frames are not fragmented")
            else:
                self._take_control(opcode, payload)
        elif opcode > _BINARY:
            self._fail(PROTOCOL_ERROR, "a frame's opcode is not known")
        else:
            self._take_data(opcode, bool(first & _FIN), payload)

    def _take_data(self, opcode: int, is_last: bool, payload: bytes) -> None:
        assert self._receiver is not None
        fragments = self._fragments
        if (opcode == _CONTINUATION) != (fragments is not None):
            self._fail(PROTOCOL_ERROR, "a fragment is out of order")
        elif fragments is None:
            if is_last:
                self._receiver.received(payload, opcode == _TEXT)
            else:
                self._fragments = bytearray(payload)
                self._left -= len(payload)
                self._fragments_are_text = opcode == _TEXT
                self._fragments_left = MAX_FRAGMENTS - 1
        elif len(payload) > self._left:
            self._refuse_length()
        elif self._fragments_left == 0:
            self._fail(POLICY_VIOLATION, "a message comes in too many fragments")
        else:
            fragments += payload
            self._left -= len(payload)
            self._fragments_left -= 1
            if is_last:
                self._fragments = None
                self._left = self._max_message_bytes
                self._receiver.received(bytes(fragments), self._fragments_are_text)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        assert self._receiver is not None
        if opcode == _PING:
            if self._receiver.pinged():
                self._control(_PONG, payload)
        elif opcode == _PONG:
            self._receiver.ponged(payload)
        elif opcode == _CLOSE:
            self._take_close(payload)
        else:
            self._fail(PROTOCOL_ERROR, "a frame's opcode is not known")

    def _take_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if payload else NO_STATUS
        if not _may_be_received(code, payload):
            self._fail(PROTOCOL_ERROR, "a close frame is malformed")
            return
        if not self.close_sent:
            self._close_code = code
            self._control(_CLOSE, payload[:2])
            self.close_sent = True
        self._end()

    def _refuse_length(self) -> None:
        assert self._receiver is not None
        self._receiver.overlong()
        self._fail(TOO_BIG, "")

    def _fail(self, code: int, reason: str) -> None:
        """RFC 6455 section 7.1.7: close, and look at nothing more of what comes.

        Closing at once, with something still unread, would take from the client what it was sent,
        the reason too: so only our half is closed, where it can be (section 7.1.1).
        """
        self.close(code, reason)
        self._ended = True
        self._rest = self._fragments = None
        self.write()
        self._abort_later()
        if self._outbox or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()

    def _end(self) -> None:
        """Read nothing more; the connection ends when all is written, or soon."""
        self._ended = True
        self._rest = self._fragments = None
        self.write()
        self._abort_later()
        self._transport.close()


def _cut(reason: str) -> bytes:
    return reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()


def _may_be_received(code: int, payload: bytes) -> bool:
    """RFC 6455 sections 5.5.1 and 7.4."""
    if len(payload) == 1:
        return False
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return False
    if not payload:
        return True
    return 3000 <= code <= 4999 or code in _STATUS_CODES
