"""The server's own transports beside the libraries': WebSockets, and scripts run by Redis.

256-byte messages are relayed over WebSockets by the least server (`bench/signals/relays.py`): no
rooms, no JSON. `…relay_us` is the server's CPU time for each message from one client to another,
one message at a time on each of 16 connections; `…burst_us` with eight on their way on each.
`…idle_kib` is what one more connection that says nothing costs in resident memory. asyncio's own
event loop.

`…script_us` is a server's CPU time for a script that Redis runs, one at a time, with as many
arguments as an event of a room has, and for its answer.

--against picows,websockets,redis-py: those libraries in the same run, in what they do.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from bench.common.report import Report, alternate, parse_options
from bench.common.tools import Process
from bench.signals.inside import redis_server
from bench.signals.scripts import script_cpu_us

SIZE = 256
CONNECTIONS = 16
IDLE = 2000
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SENT = b"\x81\xfe" + SIZE.to_bytes(2, "big") + bytes(4) + b"x" * SIZE
RECEIVED_BYTES = 4 + SIZE


def main() -> int:
    """Run it. Returns the exit status."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options = parse_options(
        "transports", __doc__ or "", contenders=("picows", "websockets", "redis-py")
    )
    seconds = 1.0 if options.quick else 3.0
    report = Report("transports", options, {"bytes": SIZE, "connections": CONNECTIONS})
    names = ("ours", *options.against)
    for results in alternate(options.runs, *((lambda n=n: _measure(n, seconds)) for n in names)):
        for name, found in zip(names, results, strict=True):
            for metric, value in found.items():
                unit = "KiB" if metric.endswith("kib") else "us"
                report.add(f"transports.{name}.{metric}", value, unit)
    return report.finish()


def _measure(name: str, seconds: float) -> dict[str, float]:
    found = {}
    if name in ("ours", "redis-py"):
        with redis_server() as redis:
            found["script_us"] = asyncio.run(script_cpu_us(name, redis.url, seconds))
    if name != "redis-py":
        found |= _relay(name, seconds)
    return found


def _relay(name: str, seconds: float) -> dict[str, float]:
    command = (sys.executable, "-m", "bench.signals.relays", name)
    with Process(*command, stdin=True) as server:
        port = int(server.expect("port"))
        found = {}
        for metric, window in (("relay_us", 1), ("burst_us", 8)):
            found[metric] = asyncio.run(_load(server, port, window, seconds))
        found["idle_kib"] = asyncio.run(_idle(server, port))
        return found


async def _load(server: Process, port: int, window: int, seconds: float) -> float:
    await _spent(server, "others")
    clients = [await _connect(port) for _ in range(CONNECTIONS)]
    for client in clients:
        client.transport.write(SENT * window)
    before = await _spent(server)
    await asyncio.sleep(seconds)
    after = await _spent(server)
    for client in clients:
        client.transport.abort()
    return 1e6 * (after["cpu_s"] - before["cpu_s"]) / (after["relayed"] - before["relayed"])


async def _idle(server: Process, port: int) -> float:
    clients = [await _connect(port) for _ in range(200)]
    before = await _spent(server)
    clients += [await _connect(port) for _ in range(IDLE)]
    after = await _spent(server)
    for client in clients:
        client.transport.abort()
    return (after["rss"] - before["rss"]) / IDLE / 1024


async def _spent(server: Process, word: str = "") -> dict[str, float]:
    server.say(word)
    spent: dict[str, float] = json.loads(await asyncio.to_thread(server.expect, "spent"))
    return spent


async def _connect(port: int) -> _Client:
    _, client = await asyncio.get_running_loop().create_connection(_Client, "127.0.0.1", port)
    await client.opened
    return client


class _Client(asyncio.Protocol):
    """Answers each message with one of its own."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = b""
        self._received = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self._waiting += data
            head, end, data = self._waiting.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head[:16], head
            self.opened.set_result(None)
        self._received += len(data)
        messages, self._received = divmod(self._received, RECEIVED_BYTES)
        if messages:
            self.transport.write(SENT * messages)


if __name__ == "__main__":
    sys.exit(main())
