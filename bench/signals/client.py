"""A WebSocket client that costs little: frames that were made in advance go out as they are, and
what comes in is looked at no more than a measurement asks for.

Its masking key is zero (RFC 6455 section 5.3 lets the client choose): the server works as for any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: playcast.v2\r\n\r\n"
)


class RawClient(asyncio.Protocol):
    """One connection. ``ready`` is resolved with the Welcome, as a dict, or fails in words."""

    __slots__ = (
        "_greeted",
        "_hello",
        "_on_frame",
        "_rest",
        "closed",
        "frames",
        "ready",
        "transport",
    )

    def __init__(self, hello: bytes, on_frame: Callable[[RawClient, bytes], None] | None) -> None:
        """``hello`` is a frame; ``on_frame`` gets every payload after the Welcome."""
        self._hello = hello
        self._on_frame = on_frame
        self._rest = b""
        self._greeted = False
        self.frames = 0
        self.closed = asyncio.get_running_loop().create_future()
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(HANDSHAKE + self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the server closed the connection"))
            self.ready.exception()  # looked at, or not
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self._greeted:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self._greeted = True
            if b" 101 " not in head[:16]:
                self.refuse(head.split(b"\r\n")[0].decode())
                return
        at = 0
        while len(data) - at >= 2:
            size = data[at + 1]
            start = at + 2
            if size > 125:
                wide = 2 if size == 126 else 8
                start += wide
                size = int.from_bytes(data[at + 2 : start], "big")
            if start + size > len(data):
                break
            opcode, payload = data[at] & 0x0F, data[start : start + size]
            at = start + size
            if opcode == 1:
                self._take(payload)
            elif opcode == 8:
                self.transport.close()
            elif opcode == 9:
                self.transport.write(frame(payload, opcode=0xA))
        self._rest = data[at:]

    def _take(self, payload: bytes) -> None:
        if self.ready.done():
            self.frames += 1
            if self._on_frame is not None:
                self._on_frame(self, payload)
            return
        message = msgspec.json.decode(payload)
        if message["type"] == "welcome":
            self.ready.set_result(message)
        elif message["type"] == "error":
            self.refuse(message["code"])

    def refuse(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
            self.ready.exception()
        self.transport.close()


def frame(payload: bytes, *, opcode: int = 1) -> bytes:
    """A client's frame with that payload, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def hello(token: str, room: str, role: str) -> bytes:
    """A hello, as a frame."""
    message = {"type": "hello", "token": token, "room": room, "role": role, "version": 2}
    return frame(msgspec.json.encode(message))


def candidate(peer: str, size: int, mark: str = "") -> bytes:
    """A relayed message of exactly ``size`` bytes for ``peer``, as a frame."""
    message = {"type": "candidate", "peer": peer, "candidate": mark}
    short = size - len(msgspec.json.encode(message))
    message["candidate"] = mark + "x" * short
    return frame(msgspec.json.encode(message))


async def connect(
    port: int, hello_frame: bytes, on_frame: Callable[[RawClient, bytes], None] | None = None
) -> tuple[RawClient, dict[str, Any]]:
    """Open a connection and wait for its Welcome. Raises :class:`ConnectionError`."""
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: RawClient(hello_frame, on_frame), "127.0.0.1", port
    )
    return client, await client.ready
