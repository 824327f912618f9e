import asyncio

import pytest

from signalling.limits import RATES, Limit
from signalling.redis.client import open_client
from signalling.redis.rate_limiter import SharedRateLimiter
from signalling.redis.settings import RedisSettings

from .cuttable import CuttableClient
from .replica import eventually

RATE = Limit(per_s=5, burst=10)
RATES_OF_THE_TEST = {**RATES, "user.chat": RATE}


@pytest.fixture
async def limiters(redis):
    """Those of two servers, and the client of the first."""
    settings = RedisSettings(url=redis.url, timeout_s=0.3)
    client = CuttableClient(open_client(settings))
    made = [SharedRateLimiter(client, "playcast:", RATES_OF_THE_TEST, 4) for _ in range(2)]
    yield [*made, client]
    for limiter in made:
        await limiter.close()
    await client.close()


def take(limiter, key="someone", **more):
    return limiter.take("user.chat", key, asyncio.get_running_loop().time(), **more)


async def test_each_server_grants_at_once_what_its_own_bucket_has(limiters):
    first, second, _ = limiters
    assert [take(first) for _ in range(10)] == [0.0] * 10
    assert take(first) == pytest.approx(1 / 5, abs=0.05)
    assert take(second) == 0.0


async def test_servers_share_one_budget(limiters, redis):
    first, second, _ = limiters
    assert [take(first) for _ in range(9)] == [0.0] * 9
    with redis.client() as client:
        await eventually(lambda: client.keys("playcast:*rates*"))
    granted = 0
    while not take(second):
        granted += 1
        await asyncio.sleep(0.02)
    assert 1 <= granted <= 6
    assert 0 < take(second) < 1.0
    await eventually(lambda: take(second) == 0.0)


async def test_what_was_taken_twice_over_is_owed(limiters):
    first, second, _ = limiters
    for limiter in (first, second):
        assert take(limiter, cost=10) == 0.0
    await eventually(lambda: take(first, cost=0) > 1.5)
    assert take(first) == pytest.approx(2.2, abs=0.3)


async def test_others_are_not_concerned(limiters):
    first, second, _ = limiters
    take(first, cost=10)
    take(second, cost=10)
    await eventually(lambda: take(second, cost=0) > 1)
    assert take(second, key="another") == 0.0
    assert second.take("user.request", "someone", asyncio.get_running_loop().time()) == 0.0


async def test_without_redis_each_server_counts_alone(limiters):
    first, second, client = limiters
    client.cut = True
    for limiter in (first, second):
        assert take(limiter, cost=10) == 0.0
        assert take(limiter) == pytest.approx(0.2, abs=0.05)
    await eventually(lambda: client.refused)
    for limiter in (first, second):
        assert take(limiter) < 0.2


async def test_what_is_kept_is_bounded(limiters, redis):
    first, _, _ = limiters
    for i in range(100):
        assert take(first, key=f"user {i}") == 0.0
    with redis.client() as client:
        await eventually(lambda: len(client.keys("playcast:*rates*")) == 4)
        assert b"user" not in b"".join(client.keys("*"))
        await eventually(lambda: not client.keys("*"))
