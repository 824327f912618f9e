"""The least server over each WebSocket library: what client 2n says goes to client 2n+1, and back.

``python -m bench.signals.relays NAME`` prints ``port N``. Each line on its standard input is
answered with ``spent {"cpu_s": …, "relayed": …, "rss": bytes}``; it ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from signalling.handshake import accept_key
from signalling.http11 import Request
from signalling.http_connection import Answer, HttpConnection, Peer, Upgrade
from signalling.websocket import Reactor, WebSocket

MAX_BYTES = 128 * 1024


class Relay:
    """Who is connected, and how much was handed on."""

    def __init__(self) -> None:
        self.relayed = 0
        self._clients: dict[int, Callable[[bytes], object]] = {}

    def enter(self, send: Callable[[bytes], object]) -> int:
        """A client's number."""
        number = len(self._clients)
        self._clients[number] = send
        return number

    def hand_on(self, number: int, message: bytes) -> None:
        """What ``number`` said, to the one beside it."""
        self.relayed += 1
        if (send := self._clients.get(number ^ 1)) is not None:
            send(message)

    def forget(self) -> None:
        """The next clients are other ones."""
        self._clients.clear()


class _Ours:
    """Implements :class:`signalling.http_connection.Site`, and hands on."""

    head_timeout_s = answer_timeout_s = linger_s = 10.0

    def __init__(self, relay: Relay) -> None:
        self.reactor = Reactor(
            max_message_bytes=MAX_BYTES, outbox_bytes=1 << 20, close_timeout_s=2.0
        )
        self.requesting: set[HttpConnection] = set()
        self._relay = relay

    def opened(self, peer: Peer) -> bool:
        return True

    def closed(self, peer: Peer) -> None:
        pass

    def common_fields(self, peer: Peer) -> tuple[tuple[str, str], ...]:
        return ()

    def run(self, work: Coroutine[Any, Any, None]) -> object:
        return asyncio.ensure_future(work)

    def answer(self, request: Request, peer: Peer) -> Answer:
        key = accept_key(request)
        assert key is not None
        return Upgrade(key, lambda websocket: _OurClient(self._relay, websocket))


class _OurClient:
    __slots__ = ("_number", "_relay")

    def __init__(self, relay: Relay, websocket: WebSocket) -> None:
        self._relay = relay
        self._number = relay.enter(websocket.send)

    def received(self, message: bytes, is_text: bool) -> None:
        self._relay.hand_on(self._number, message)

    def overlong(self) -> None:
        pass

    def pinged(self) -> bool:
        return True

    def ponged(self, payload: bytes) -> None:
        pass

    def closed(self, code: int) -> None:
        pass


async def _serve_ours(relay: Relay) -> int:
    site = _Ours(relay)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpConnection(site), "127.0.0.1", 0, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _serve_picows(relay: Relay) -> int:
    import picows

    class Client(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            text, send = picows.WSMsgType.TEXT, transport.send
            self.number = relay.enter(lambda message: send(text, message))

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            relay.hand_on(self.number, frame.get_payload_as_bytes())

    server = await picows.ws_create_server(
        lambda request: Client(),
        "127.0.0.1",
        0,
        backlog=1024,
        max_frame_size=MAX_BYTES,
        read_buffer_init_size=2048,  # as small as it gets
        use_aiofastnet=False,  # 5 KiB a connection more
    )
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _serve_websockets(relay: Relay) -> int:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosedError

    async def handle(socket: ServerConnection) -> None:
        # As a server has to: nobody waits for another's slow client.
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        number = relay.enter(outbox.put_nowait)
        writer = asyncio.create_task(_write(socket, outbox))
        try:
            async for message in socket:
                relay.hand_on(number, message.encode() if isinstance(message, str) else message)
        except ConnectionClosedError:
            pass  # the load just drops its connections
        finally:
            writer.cancel()

    server = await serve(
        handle, "127.0.0.1", 0, compression=None, max_size=MAX_BYTES, backlog=1024,
        ping_interval=None,
    )  # fmt: skip
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _write(socket: Any, outbox: asyncio.Queue[bytes]) -> None:
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.send(await outbox.get(), text=True)


SERVERS = {"ours": _serve_ours, "picows": _serve_picows, "websockets": _serve_websockets}


async def main(name: str) -> None:
    """Serve until standard input ends."""
    relay = Relay()
    print("port", await SERVERS[name](relay), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "others":
            relay.forget()
        gc.collect()
        spent = {"cpu_s": time.process_time(), "relayed": relay.relayed, "rss": _resident()}
        print("spent", json.dumps(spent), flush=True)
    print("{}", flush=True)


def _resident() -> int:
    """In bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    logging.disable()  # "socket.send() raised exception." for each client that is gone
    asyncio.run(main(sys.argv[1]))
