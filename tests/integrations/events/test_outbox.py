import asyncio

import pytest

from integrations.events import (
    Event,
    EventBus,
    EventsUnavailable,
    MemoryLog,
    RedisLog,
)
from integrations.events import outbox as outbox_module
from integrations.events.outbox import Outbox
from integrations.events.types import StreamStarted
from signalling.redis.settings import RedisSettings
from tests.signalling.redis import server as redis_server

from .waiting import until


def started(room):
    return Event.of(StreamStarted(room=room), source="/x")


async def rooms(bus):
    return [event.room async for _, event in bus.replay()]


class Gate(MemoryLog):
    """Takes events only while it is open."""

    def __init__(self):
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.appends = 0

    async def append(self, events):
        self.appends += 1
        await self.open.wait()
        return await super().append(events)


async def test_publishes_in_order_and_together():
    async with EventBus(Gate()) as bus:
        outbox = Outbox(bus)
        assert all(outbox.put(started(f"r{n}")) for n in range(600))
        await outbox.close()
        assert await rooms(bus) == [f"r{n}" for n in range(600)]
        assert (outbox.published, outbox.dropped, outbox.refused) == (600, 0, 0)
        assert bus.log.appends == 3


async def test_put_never_waits_and_what_is_too_much_is_counted():
    async with EventBus(Gate()) as bus:
        bus.log.open.clear()
        outbox = Outbox(bus, capacity=10)
        taken = [outbox.put(started(f"r{n}")) for n in range(15)]
        assert taken == [True] * 10 + [False] * 5
        assert (outbox.waiting, outbox.dropped) == (10, 5)
        bus.log.open.set()
        await outbox.close()
        assert await rooms(bus) == [f"r{n}" for n in range(10)]
        assert not outbox.put(started("late"))
        assert outbox.dropped == 6


async def test_closing_gives_up_after_its_patience():
    async with EventBus(Gate()) as bus:
        bus.log.open.clear()
        outbox = Outbox(bus)
        for n in range(3):
            outbox.put(started(f"r{n}"))
        await outbox.close(patience_s=0.01)
        assert (outbox.published, outbox.dropped, outbox.waiting) == (0, 3, 0)


async def test_one_that_may_not_be_published_spoils_no_other():
    async with EventBus(MemoryLog()) as bus:
        outbox = Outbox(bus)
        outbox.put(started("a"))
        outbox.put(started("x" * 70_000))
        outbox.put(started("b"))
        await outbox.close()
        assert await rooms(bus) == ["a", "b"]
        assert (outbox.published, outbox.refused) == (2, 1)


async def test_waits_for_a_redis_that_is_away(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "_PAUSE_S", 0.02)
    with redis_server.single(tmp_path / "redis") as redis:
        redis.kill()
        async with EventBus(RedisLog(RedisSettings(url=redis.url))) as bus:
            outbox = Outbox(bus)
            for n in range(5):
                outbox.put(started(f"r{n}"))
            with pytest.raises(EventsUnavailable):
                await bus.log.read("0-0", 1)
            await asyncio.to_thread(redis.start)
            await until(lambda: outbox.published == 5)
            await outbox.close()
            assert await rooms(bus) == [f"r{n}" for n in range(5)]
