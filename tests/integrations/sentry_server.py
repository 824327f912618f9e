"""A Sentry for tests: takes envelopes over HTTP on loopback and keeps them."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from sentry_sdk.envelope import Envelope


class SentryServer:
    def __init__(self) -> None:
        self.envelopes: asyncio.Queue[Envelope] = asyncio.Queue()
        self.dsn = ""

    async def event(self) -> dict:
        """The next report, within five seconds."""
        async with asyncio.timeout(5):
            while True:
                event = (await self.envelopes.get()).get_event()
                if event is not None:
                    return event

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.envelopes.put_nowait(Envelope.deserialize(body))
        return web.json_response({})


@asynccontextmanager
async def sentry_server() -> AsyncIterator[SentryServer]:
    server = SentryServer()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/api/7/envelope/", server._take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.dsn = f"http://public@127.0.0.1:{port}/7"
    try:
        yield server
    finally:
        await runner.cleanup()
