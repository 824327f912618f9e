"""Loads, each a process of its own: ``python -m bench.signals.loads NAME '{"port": …}'``.

Prints one line of JSON with what it saw. ``ready`` lines before it tell the measuring side that
a phase has begun.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from typing import Any

from bench.common.report import percentile
from bench.signals.client import RawClient, candidate, connect, frame, hello

RELAYED = b'{"type":"candidate"'


def tell(**words: Any) -> None:
    """A line for the measuring side."""
    print(json.dumps(words), flush=True)


class Pair:
    """A host and a viewer of one room who hand each other a message of so many bytes, for ever."""

    def __init__(
        self, host: RawClient, viewer: RawClient, peers: tuple[str, str], size: int
    ) -> None:
        self.host, self.viewer = host, viewer
        self._messages = {host: candidate(peers[1], size), viewer: candidate(peers[0], size)}
        self.relayed = 0

    def start(self, window: int) -> None:
        for client, message in self._messages.items():
            client.transport.write(message * window)

    def bounce(self, client: RawClient, payload: bytes) -> None:
        if payload.startswith(RELAYED):
            self.relayed += 1
            client.transport.write(self._messages[client])


async def make_pair(options: dict[str, Any], room: str, size: int) -> Pair:
    """Join a room as its host and as a viewer."""
    pairs: list[Pair] = []

    def bounce(client: RawClient, payload: bytes) -> None:
        if pairs:
            pairs[0].bounce(client, payload)

    tokens = options["tokens"]
    ports = options.get("ports", [options["port"]])
    host, hosted = await connect(ports[0], hello(tokens["host"], room, "host"), bounce)
    viewer, viewed = await connect(ports[-1], hello(tokens["viewer"], room, "viewer"), bounce)
    pairs.append(Pair(host, viewer, (hosted["peer"], viewed["peer"]), size))
    return pairs[0]


async def relay(options: dict[str, Any]) -> None:
    """Pairs that keep ``window`` messages each under way; counts for ``seconds``."""
    pairs = [
        await make_pair(options, f"relay-{number}", options["size"])
        for number in range(options["pairs"])
    ]
    for pair in pairs:
        pair.start(options["window"])
    await asyncio.sleep(options.get("settle", 0.5))
    tell(ready=True)
    before, start = sum(pair.relayed for pair in pairs), time.perf_counter()
    await asyncio.sleep(options["seconds"])
    relayed, took = sum(pair.relayed for pair in pairs) - before, time.perf_counter() - start
    tell(relayed=relayed, seconds=took)


class Probe:
    """A pair that sends one message at a time, ``per_s``, and times its way."""

    def __init__(self, pair: Pair, peer: str) -> None:
        self.pair = pair
        self._peer = peer
        self._sent_at = 0.0
        self._waiting = False
        self.took: list[float] = []
        self.lost = 0
        pair.bounce = self._arrived  # type: ignore[method-assign]

    def send(self) -> None:
        if self._waiting:
            return  # that one is still on its way: its delay says it all
        self._waiting = True
        self._sent_at = time.perf_counter()
        self.pair.host.transport.write(candidate(self._peer, 256))

    def _arrived(self, client: RawClient, payload: bytes) -> None:
        if client is self.pair.viewer and payload.startswith(RELAYED):
            self.took.append(time.perf_counter() - self._sent_at)
            self._waiting = False


async def make_probes(options: dict[str, Any], count: int) -> list[Probe]:
    """Pairs that measure; in rooms of their own."""
    probes = []
    for number in range(count):
        pair = await make_pair(options, f"probe-{number}-{random.randrange(10**9)}", 256)
        message = json.loads(pair._messages[pair.host][8:])
        probes.append(Probe(pair, message["peer"]))
    return probes


async def probe_for(probes: list[Probe], seconds: float, per_s: float) -> list[float]:
    """The delays of ``seconds``, in seconds."""
    for probe in probes:
        probe.took.clear()
    loop = asyncio.get_running_loop()
    start, sent = loop.time(), 0
    while (now := loop.time()) < start + seconds:
        due = int((now - start) * per_s)
        while sent < due:
            probes[sent % len(probes)].send()
            sent += 1
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.2)
    return [took for probe in probes for took in probe.took]


async def probe(options: dict[str, Any]) -> None:
    """Relays that are timed, for as long as the standard input says: each line asks for a phase of
    so many seconds.
    """
    probes = await make_probes(options, options["pairs"])
    tell(ready=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        took = await probe_for(probes, float(line), options["per_s"])
        tell(
            count=len(took),
            p50_ms=percentile(took, 0.5) * 1000,
            p99_ms=percentile(took, 0.99) * 1000,
            max_ms=max(took, default=0.0) * 1000,
        )


async def storm(options: dict[str, Any]) -> None:
    """``clients`` viewers join at ``per_s``, ``in_room`` to a room; then they stay until standard
    input ends.
    """
    refused: dict[str, int] = {}
    delays: list[float] = []
    clients: list[RawClient] = []

    async def join(number: int) -> None:
        room = f"storm-{options.get('name', '')}-{number // options['in_room']}"
        begun = time.perf_counter()
        try:
            client, _ = await connect(
                options["port"], hello(options["tokens"]["viewer"], room, "viewer")
            )
        except OSError as error:
            why = str(error) or type(error).__name__
            refused[why] = refused.get(why, 0) + 1
            return
        clients.append(client)
        delays.append(time.perf_counter() - begun)

    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    start, begun = loop.time(), 0
    while begun < options["clients"]:
        due = min(options["clients"], int((loop.time() - start) * options["per_s"]) + 1)
        while begun < due:
            task = loop.create_task(join(begun))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            begun += 1
        await asyncio.sleep(0.005)
    while tasks:
        await asyncio.wait(tasks)
    took = loop.time() - start
    tell(
        joined=len(clients),
        refused=refused,
        seconds=took,
        join_p50_ms=percentile(delays, 0.5) * 1000,
        join_p99_ms=percentile(delays, 0.99) * 1000,
    )
    await asyncio.to_thread(sys.stdin.read)
    open_now = sum(not client.closed.done() for client in clients)
    tell(open=open_now)


async def hostile(options: dict[str, Any]) -> None:
    """Clients that do one bad thing, for ``seconds``: see :data:`HOSTILE`."""
    until = time.perf_counter() + options["seconds"]
    tell(ready=True)
    done = await HOSTILE[options["kind"]](options, until)
    tell(done=done)


async def _slow_readers(options: dict[str, Any], until: float) -> int:
    """Viewers that do not read what their host sends as fast as it can."""
    pairs = [await make_pair(options, f"slow-{number}", 8000) for number in range(20)]
    messages = 0
    for pair in pairs:
        pair.bounce = lambda client, payload: None  # type: ignore[method-assign]
        pair.viewer.transport.pause_reading()
    while time.perf_counter() < until:
        for pair in pairs:
            if pair.host.transport.get_write_buffer_size() < 64_000:
                pair.host.transport.write(pair._messages[pair.host])
                messages += 1
        await asyncio.sleep(0.01)
    return messages


async def _flood(options: dict[str, Any], until: float) -> int:
    """Viewers that send as fast as they can, and come again when they are put out."""
    burst = frame(b'{"type":"ping","at":1}') * 500
    count = 0
    number = 0

    async def one() -> None:
        nonlocal count, number
        while time.perf_counter() < until:
            number += 1
            try:
                client, _ = await connect(
                    options["port"],
                    hello(options["tokens"]["viewer"], f"flood-{number % 50}", "viewer"),
                )
            except OSError:
                await asyncio.sleep(0.05)
                continue
            while not client.closed.done() and time.perf_counter() < until:
                if client.transport.get_write_buffer_size() < 64_000:
                    client.transport.write(burst)
                    count += 500
                await asyncio.sleep(0.01)
            client.transport.abort()

    await asyncio.gather(*(one() for _ in range(10)))
    return count


async def _oversize(options: dict[str, Any], until: float) -> int:
    """Frames that are too long."""
    count = 0
    huge = frame(b"x" * 100_000)
    while time.perf_counter() < until:
        try:
            client, _ = await connect(
                options["port"], hello(options["tokens"]["viewer"], f"big-{count % 50}", "viewer")
            )
        except OSError:
            await asyncio.sleep(0.05)
            continue
        client.transport.write(huge)
        await asyncio.wait([client.closed], timeout=1)
        client.transport.abort()
        count += 1
    return count


async def _half_open(options: dict[str, Any], until: float) -> int:
    """Connections that say nothing, or begin a request and never end it."""
    held = []
    count = 0
    while time.perf_counter() < until:
        for _ in range(10):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", options["port"])
            except OSError:
                continue
            if count % 2:
                writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
            held.append(writer)
            count += 1
        if len(held) > 3000:
            for writer in held[:1000]:
                writer.transport.abort()
            del held[:1000]
        await asyncio.sleep(0.02)
    return count


async def _bad_tokens(options: dict[str, Any], until: float) -> int:
    """1,000 hellos a second with tokens of somebody else's making."""
    greeting = hello(options["bad_token"], "doom", "viewer")
    loop = asyncio.get_running_loop()
    count = 0

    async def one() -> None:
        try:
            await connect(options["port"], greeting)
        except OSError:
            return

    tasks: set[asyncio.Task[None]] = set()
    start = loop.time()
    while time.perf_counter() < until:
        due = int((loop.time() - start) * 1000)
        while count < due and len(tasks) < 2000:
            task = loop.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            count += 1
        await asyncio.sleep(0.005)
    for task in tasks:
        task.cancel()
    return count


HOSTILE = {
    "slow_readers": _slow_readers,
    "floods": _flood,
    "oversize": _oversize,
    "half_open": _half_open,
    "bad_tokens": _bad_tokens,
}

LOADS = {"relay": relay, "probe": probe, "storm": storm, "hostile": hostile}


def main() -> None:
    """Run the load that the command line names."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work = LOADS[sys.argv[1]](json.loads(sys.argv[2]))
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
