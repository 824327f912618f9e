"""Signalling servers on loopback that follow a script, and clients in virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from peer.signalling_client import (
    SignallingClient,
    SignallingClientSettings,
)
from signalling.messages import (
    SUBPROTOCOL,
    ClientMessage,
    Hello,
    Welcome,
    decode_client,
    encode,
)

Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def server(*scripts: Script) -> AsyncIterator[str]:
    """A server whose n-th connection follows the n-th script; yields its URL."""
    left = list(scripts)

    async def handle(socket: ServerConnection) -> None:
        await left.pop(0)(socket)

    async with serve(
        handle, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], close_timeout=1
    ) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"


async def receive(socket: ServerConnection) -> ClientMessage:
    return decode_client(await socket.recv())


async def admit(socket: ServerConnection, welcome: Welcome | str = "me") -> Hello:
    """Take the hello, and send the welcome: a name alone stands for a plain one."""
    hello = await receive(socket)
    assert isinstance(hello, Hello)
    if isinstance(welcome, str):
        welcome = Welcome(welcome, hello.room, hello.role, True)
    await socket.send(encode(welcome))
    return hello


class Time:
    """Virtual time: sleeping returns at once, and is written down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        self.now += delay

    def clock(self) -> float:
        return self.now


def client(url: str, time: Time | None = None, **settings: object) -> SignallingClient:
    time = time or Time()
    values: dict[str, object] = {"token": "secret", "room": "den", **settings}
    return SignallingClient(
        SignallingClientSettings(url=url, **values),  # type: ignore[arg-type]
        sleep=time.sleep,
        clock=time.clock,
        jitter=random.Random(1),
    )


@asynccontextmanager
async def no_playcast(status: str = "404 Not Found") -> AsyncIterator[str]:
    """A web server of somebody else's."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"


async def drain(messages: AsyncIterator[object]) -> None:
    async for _ in messages:
        pass
