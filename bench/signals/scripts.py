"""What it costs a server to have Redis run a script: through our pipeline, and through redis-py."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from signalling.redis.client import open_client
from signalling.redis.scripts import sha
from signalling.redis.settings import RedisSettings

SCRIPT = "return {'ok', tonumber(ARGV[6])}"
KEYS = [f"bench:{{room}}:{number}" for number in range(7)]
ARGUMENTS = ["server", "channel", "epoch", "token", 120_000, 42, 43, "other", "", b"x" * 300]

Run = Callable[[], Awaitable[Any]]


async def script_cpu_us(name: str, url: str, seconds: float) -> float:
    """CPU time of this process for one script, in microseconds, over ``seconds``.

    ``name``: ``ours`` or ``redis-py``.
    """
    if name == "ours":
        client = open_client(RedisSettings(url=url))
        try:
            return await _measure(lambda: client.run(sha(SCRIPT), SCRIPT, KEYS, ARGUMENTS), seconds)
        finally:
            await client.close()
    async with Redis.from_url(url, protocol=2) as redis:
        digest = await redis.script_load(SCRIPT)
        return await _measure(
            lambda: redis.evalsha(digest, len(KEYS), *KEYS, *ARGUMENTS),  # type: ignore[arg-type]
            seconds,
        )


async def _measure(run: Run, seconds: float) -> float:
    answer = await run()
    assert answer == [b"ok", 42], answer
    count, began, until = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        await run()
        count += 1
    return 1e6 * (time.process_time() - began) / count
