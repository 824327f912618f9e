"""Measurements that run inside one process, or need one: routing, verifying, an outage of Redis."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from peer.signalling_client import SignallingClient
from peer.signalling_settings import SignallingClientSettings
from signalling.auth import Verifier, VerifierSettings
from signalling.bus import MemoryBus
from signalling.dev import AUDIENCE, ISSUER, DevIssuer
from signalling.messages import Candidate, Error, Invite, Role, Welcome
from signalling.rooms import Join
from signalling.switchboard import Switchboard
from tests.signalling.redis.server import RedisServer, single

BEAT_S = 0.01
BEFORE_S, DOWN_S, AFTER_S = 2.0, 2.0, 8.0


class Sink:
    """A client of a switchboard that counts what it gets."""

    def __init__(self, link: str) -> None:
        self.link = link
        self.peer = ""
        self.frames = 0

    def deliver(self, frame: bytes) -> None:
        self.frames += 1

    def welcome(self, message: Welcome) -> None:
        self.peer = message.peer

    def invite(self, request: Invite, role: Role) -> None:
        raise AssertionError(request)

    def close(self, error: Error) -> None:
        raise AssertionError(error)

    def probe(self) -> None:
        raise AssertionError


async def joined() -> tuple[Switchboard, Sink, Sink]:
    """A room with a host and a viewer, on a bus in memory."""
    board = Switchboard(MemoryBus())
    host, viewer = Sink("host-link"), Sink("viewer-link")
    for sink, role in ((host, "host"), (viewer, "viewer")):
        join = Join(link=sink.link, at=time.time(), subject=sink.link, role=role)  # type: ignore[arg-type]
        await board.join("doom", join, sink)
    return board, host, viewer


@contextlib.asynccontextmanager
async def slow_issuer(issuer: DevIssuer, *, delay_s: float) -> AsyncIterator[Verifier]:
    """A verifier whose issuer hands out its keys over HTTP, slowly."""

    async def jwks(request: web.Request) -> web.Response:
        await asyncio.sleep(delay_s)
        return web.json_response(issuer.jwks())

    app = web.Application()
    app.router.add_get("/jwks", jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    verifier = Verifier(
        VerifierSettings(issuer=ISSUER, audience=AUDIENCE, jwks=f"http://127.0.0.1:{port}/jwks")
    )
    yield verifier
    await verifier.close()
    await runner.cleanup()


async def loop_stands_still_s(work: Coroutine[Any, Any, object]) -> float:
    """The longest that the event loop does nothing else while it does ``work``, in seconds."""
    longest, ended = 0.0, False

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not ended:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.05)
    longest = 0.0
    await work
    ended = True
    await beating
    return longest


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A real one, on a free port; it keeps what it has over a restart."""
    options = ("appendonly yes", "appendfsync everysec")
    with tempfile.TemporaryDirectory() as folder, single(Path(folder), *options) as redis:
        yield redis


def _client(info: dict[str, Any], role: Role) -> SignallingClient:
    settings = SignallingClientSettings(
        url=f"ws://127.0.0.1:{info['port']}/ws",
        token=info["tokens"][role],
        room="doom",
        role=role,
        first_delay_s=0.05,
    )
    return SignallingClient(settings)


async def outage(redis: RedisServer, one: dict[str, Any], two: dict[str, Any]) -> dict[str, float]:
    """A host on one server sends numbers to a viewer on the other, while Redis is killed and comes
    back. Both are the project's own client, which resumes its session.
    """
    arrived: dict[int, float] = {}
    sent: dict[int, float] = {}
    viewer_peer = asyncio.get_running_loop().create_future()

    async def receive(viewer: SignallingClient) -> None:
        async for message in viewer:
            if isinstance(message, Welcome) and not viewer_peer.done():
                viewer_peer.set_result(message.peer)
            elif isinstance(message, Candidate):
                arrived.setdefault(int(message.candidate), time.perf_counter())

    async def ignore(host: SignallingClient) -> None:
        async for _ in host:
            pass

    async with _client(one, "host") as host, _client(two, "viewer") as viewer:
        tasks = [asyncio.create_task(receive(viewer)), asyncio.create_task(ignore(host))]
        peer = await asyncio.wait_for(viewer_peer, 10)
        start = time.perf_counter()
        killed = restarted = 0.0
        number = 0
        while (now := time.perf_counter()) < start + BEFORE_S + DOWN_S + AFTER_S:
            if not killed and now > start + BEFORE_S:
                await asyncio.to_thread(redis.kill)
                killed = now
            if killed and not restarted and now > killed + DOWN_S:
                await asyncio.to_thread(redis.start)
                restarted = time.perf_counter()
            if await host.send(Candidate(peer, str(number))):
                sent[number] = time.perf_counter()
            number += 1
            await asyncio.sleep(BEAT_S)
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    later = [at for sent_number, at in arrived.items() if sent.get(sent_number, 0) > restarted]
    recovered = min(later, default=float("inf"))
    missing = [at for sent_number, at in sent.items() if sent_number not in arrived]
    return {
        "recovery_s": recovered - restarted,
        "lost": sum(not killed - 0.1 <= at <= recovered for at in missing),
        "refused": sum(killed - 0.1 <= at <= recovered for at in missing),
    }
