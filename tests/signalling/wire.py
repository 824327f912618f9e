"""Clients of a signalling server that speak in messages."""

import asyncio
import contextlib

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from signalling.dev import DevIssuer
from signalling.messages import (
    Bans,
    Controls,
    Error,
    Hello,
    PeerJoined,
    PeerLeft,
    Permissions,
    Settings,
    Welcome,
    decode_server,
    encode,
)

ISSUER = DevIssuer.generate()


class Client:
    """A WebSocket client that speaks in messages."""

    def __init__(self, websocket):
        self.websocket = websocket

    async def send(self, *messages):
        for message in messages:
            await self.websocket.send(encode(message))

    async def receive(self):
        """The next message that is not the room's settings, controls or permissions."""
        async with asyncio.timeout(5):
            while True:
                message = decode_server(await self.websocket.recv())
                if not isinstance(message, Settings | Controls | Permissions | Bans):
                    return plain(message)

    async def loses(self, peer, role):
        """Hears that someone is away, and then gone."""
        away = await self.receive()
        assert isinstance(away, PeerJoined)
        assert (away.peer, away.role, away.away) == (peer, role, True)
        assert await self.receive() == PeerLeft(peer, role, "lost")

    async def end(self):
        """Everything up to the end of the connection, and its close code."""
        messages = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                messages.append(await self.receive())
        return messages, self.websocket.close_code

    async def refused(self):
        """The error that ended the connection, its code checked against the close reason."""
        (error,), code = await self.end()
        assert isinstance(error, Error)
        assert self.websocket.close_reason == error.code
        return error, code


def plain(message):
    """Without what numbers and dates the messages of a room."""
    changes = {"seq": 0} if hasattr(message, "seq") else {}
    if isinstance(message, Welcome):
        changes |= {"at": 0.0, "controls": [], "members": []}
    return msgspec.structs.replace(message, **changes)


@contextlib.asynccontextmanager
async def client(server, **options):
    async with connect(server.websocket_url, close_timeout=2, **options) as websocket:
        yield Client(websocket)


@contextlib.asynccontextmanager
async def member(
    server,
    role,
    *,
    room="doom",
    name="",
    token=None,
    subject="",
    resume=None,
    wanted=None,
    **options,
):
    """A client that has said hello."""
    async with client(server, **options) as joined:
        token = token or ISSUER.mint(subject or f"some-{role}", room, role)
        wanted = wanted or ("host" if role == "host" else "viewer")
        await joined.send(Hello(token, room, wanted, name=name, resume=resume))
        joined.welcome = await joined.receive()
        assert isinstance(joined.welcome, Welcome), joined.welcome
        yield joined


async def until(true):
    """Wait for what nobody tells of."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
