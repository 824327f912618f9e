"""What every bus must do; a new implementation joins the parameters of ``buses``."""

import asyncio
import itertools

import pytest

from signalling.bus import MemoryBus
from signalling.messages import Answer
from signalling.redis.bus import RedisBus
from signalling.redis.client import RedisSettings
from signalling.rooms import Join, Leave, Relay

from .redis import server as redis_server

DEADLINE_S = 10.0
_prefixes = (f"contract{i}:" for i in itertools.count())


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with redis_server.single(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis", "two over redis"])
async def buses(request):
    """Where to publish, and where to subscribe."""
    if request.param == "memory":
        bus = MemoryBus()
        yield bus, bus
        await bus.close()
        return
    url, prefix = request.getfixturevalue("redis").url, next(_prefixes)
    here = there = await RedisBus.connect(RedisSettings(url=url, prefix=prefix))
    if request.param == "two over redis":
        there = await RedisBus.connect(RedisSettings(url=url, prefix=prefix))
    yield here, there
    await here.close()
    await there.close()


class Heard(list):
    """What a subscription delivered; can be waited for."""

    def __init__(self):
        self._more = asyncio.Event()

    def __call__(self, event):
        self.append(event)
        self._more.set()

    async def until(self, last):
        async with asyncio.timeout(DEADLINE_S):
            while last not in self:
                self._more.clear()
                await self._more.wait()
        return self


END = Relay("-", Answer("-", "end"))


async def test_every_subscriber_gets_every_event_in_one_order(buses):
    here, there = buses
    first, second, third = Heard(), Heard(), Heard()
    await there.subscribe("r", first)
    await there.subscribe("r", second)
    await here.subscribe("r", third)
    events = [Join("h", "host"), Join("v", "viewer"), Relay("v", Answer("h", "s")), END]
    for event in events:
        await here.publish("r", event)
    for heard in (first, second, third):
        assert await heard.until(END) == events


async def test_events_of_two_publishers_have_one_order(buses):
    here, there = buses
    first, second = Heard(), Heard()
    await here.subscribe("r", first)
    await there.subscribe("r", second)

    async def talk(bus, name):
        for i in range(100):
            await bus.publish("r", Relay(name, Answer("h", str(i))))

    await asyncio.gather(talk(here, "a"), talk(there, "b"), talk(here, "c"))
    await here.publish("r", END)
    assert await first.until(END) == await second.until(END)
    for name in "abc":
        said = [event.message.sdp for event in first if event.source == name]
        assert said == [str(i) for i in range(100)]


async def test_rooms_are_apart(buses):
    here, there = buses
    seen = Heard()
    await there.subscribe("r", seen)
    await here.publish("other", Join("h", "host"))
    await here.publish("r", END)
    assert await seen.until(END) == [END]


async def test_who_subscribes_late_learns_who_is_in_oldest_first(buses):
    here, there = buses
    for event in (
        Join("h", "host"),
        Join("gone", "viewer"),
        Join("v", "viewer", "Vi"),
        Relay("v", Answer("h", "s")),
        Leave("gone", "bye"),
    ):
        await here.publish("r", event)
    seen = Heard()
    await there.subscribe("r", seen)
    assert seen == [Join("h", "host"), Join("v", "viewer", "Vi")]
    await here.publish("r", Leave("v", "lost"))
    await seen.until(Leave("v", "lost"))
    assert seen[2:] == [Leave("v", "lost")]


async def test_who_subscribes_while_others_talk_misses_nothing_and_gets_nothing_twice(buses):
    here, there = buses
    whole = Heard()
    await here.subscribe("r", whole)

    async def come():
        for i in range(60):
            await here.publish("r", Join(f"v{i}", "viewer"))

    talking = asyncio.create_task(come())
    late = []
    for _ in range(10):
        heard = Heard()
        await there.subscribe("r", heard)
        late.append(heard)
        await asyncio.sleep(0)
    await talking
    await here.publish("r", END)
    for heard in (whole, *late):
        assert await heard.until(END) == [*(Join(f"v{i}", "viewer") for i in range(60)), END]


async def test_a_closed_subscription_gets_nothing_more(buses):
    here, there = buses
    closed, kept = Heard(), Heard()
    subscription = await there.subscribe("r", closed)
    await there.subscribe("r", kept)
    await subscription.close()
    await subscription.close()
    await here.publish("r", Join("h", "host"))
    assert await kept.until(Join("h", "host")) == [Join("h", "host")]
    assert closed == []


async def test_a_room_that_all_have_left_leaves_nothing_behind():
    bus = MemoryBus()
    subscription = await bus.subscribe("r", lambda event: None)
    await bus.publish("r", Join("h", "host"))
    await bus.publish("r", Leave("h", "bye"))
    await subscription.close()
    await bus.publish("nobody", Relay("x", Answer("y", "s")))
    assert not bus._rooms


async def test_a_room_that_all_have_left_leaves_nothing_in_redis(redis):
    here = await RedisBus.connect(RedisSettings(url=redis.url, prefix="behind:"))
    there = await RedisBus.connect(RedisSettings(url=redis.url, prefix="behind:"))
    subscriptions = [await bus.subscribe("r", lambda event: None) for bus in (here, there)]
    await here.publish("r", Join("h", "host"))
    with redis.client() as client:
        assert client.keys("behind:*")
        await here.publish("r", Leave("h", "bye"))
        for subscription in subscriptions:
            await subscription.close()
        await here.publish("nobody", Relay("x", Answer("y", "s")))
        assert not client.keys("behind:*")
    assert not here._rooms
    await here.close()
    await there.close()
