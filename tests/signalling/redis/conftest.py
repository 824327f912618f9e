import contextlib

import pytest

from signalling.redis.bus import RedisBus
from signalling.redis.client import open_client
from signalling.redis.settings import RedisSettings

from . import server as redis_server
from .cuttable import CuttableClient


@pytest.fixture
def redis(tmp_path):
    with redis_server.single(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def connected():
    """Makes buses, and closes them after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(url, *, watch=None, **changes):
            bus = await RedisBus.connect(RedisSettings(url=url, **changes), watch=watch)
            stack.push_async_callback(bus.close)
            return bus

        yield connected


@pytest.fixture
def clients(monkeypatch):
    """The clients of the buses, in the order in which they were made: each can be cut off."""
    clients = []

    def cuttable(settings):
        clients.append(CuttableClient(open_client(settings)))
        return clients[-1]

    monkeypatch.setattr("signalling.redis.bus.open_client", cuttable)
    return clients
