"""A client that speaks JSON: what it gets is what was on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from signalling.messages import SUBPROTOCOL

DEADLINE_S = 20.0


class RawClient:
    def __init__(self, socket):
        self.socket = socket
        self.seen = []
        """Everything that came, as text."""

    @classmethod
    async def enter(cls, url, token, role, room="play", **hello):
        """Say hello. What comes back is not waited for."""
        client = cls(await connect(url, subprotocols=[SUBPROTOCOL]))
        await client.send(**{"type": "hello", "token": token, "room": room, "role": role, **hello})
        return client

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def until(self, *types):
        """The next message of one of these types."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                self.seen.append(await self.socket.recv())
                message = json.loads(self.seen[-1])
                if message["type"] in types:
                    return message

    async def done(self, **request):
        """Ask for something that must be done."""
        await self.send(id="r", **request)
        answer = await self.until("done", "error")
        assert answer["type"] == "done", answer

    async def closed(self):
        """Until the server ends the connection."""
        with contextlib.suppress(ConnectionClosed):
            await self.until("no such type")

    async def leave(self):
        await self.send(type="bye")
        await self.socket.wait_closed()
