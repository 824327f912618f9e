"""A site that says every message again: the server's HTTP and WebSocket without its rooms."""

import asyncio
import contextlib
from http import HTTPStatus

from signalling.handshake import accept_key
from signalling.http11 import Response
from signalling.http_connection import HttpConnection, Upgrade
from signalling.websocket import Reactor

MAX_MESSAGE_BYTES = 128 * 1024
SUBPROTOCOL = "echo"


class Echo:
    """Implements :class:`signalling.websocket.Receiver`."""

    def __init__(self, site, websocket):
        self.site = site
        self.websocket = websocket
        self.pongs = []
        site.echoes.append(self)

    def received(self, message, is_text):
        # The server sends text alone.
        self.websocket.send(message if is_text else message.hex().encode())

    def overlong(self):
        pass

    def pinged(self):
        return True

    def ponged(self, payload):
        self.pongs.append(payload)

    def closed(self, code):
        self.site.codes.put_nowait(code)


class EchoSite:
    """Implements :class:`signalling.http_connection.Site`."""

    head_timeout_s = answer_timeout_s = 10.0
    linger_s = 2.0

    def __init__(self):
        self.reactor = Reactor(
            max_message_bytes=MAX_MESSAGE_BYTES, outbox_bytes=8 * 1024 * 1024, close_timeout_s=2.0
        )
        self.requesting = set()
        self.requests = []
        self.echoes = []
        self.codes = asyncio.Queue()
        self.port = 0
        self._tasks = set()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/ws"

    def opened(self, peer):
        return True

    def closed(self, peer):
        pass

    def answer(self, request, peer):
        self.requests.append(request)
        if request.path == "/ws":
            key = accept_key(request)
            if key is None:
                return Response.words(HTTPStatus.UPGRADE_REQUIRED, "a WebSocket")
            offered = request.has_token("sec-websocket-protocol", SUBPROTOCOL)
            return Upgrade(
                key, lambda websocket: Echo(self, websocket), SUBPROTOCOL if offered else None
            )
        if request.path == "/later":
            return self._later()
        return Response.words(HTTPStatus.OK, request.target)

    async def _later(self):
        await asyncio.sleep(0)
        return Response.words(HTTPStatus.OK, "later")

    def common_fields(self, peer):
        return ()

    def run(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


@contextlib.asynccontextmanager
async def echo_site(tls=None):
    site = EchoSite()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpConnection(site), "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for connection in tuple(site.requesting):
            connection.abort()
        for echo in site.echoes:
            echo.websocket.abort()
