"""What every bus must do; a new implementation joins the parameters of ``buses``."""

import asyncio
import itertools

import pytest

from signalling.bus import MemoryBus
from signalling.messages import Chat
from signalling.redis.bus import RedisBus
from signalling.redis.settings import RedisSettings
from signalling.rooms import Away, Join, Leave, Room, Say

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


class Copy:
    """A replica that remembers what it was told; can be waited for."""

    def __init__(self):
        self.room = Room("r")
        self.events = []
        self.mine = []
        self._more = asyncio.Event()

    def deliver(self, event, mine):
        self.room.apply(event)
        self.events.append(event)
        self.mine.append(mine)
        self._more.set()

    def snapshot(self):
        return self.room.snapshot()

    def restore(self, snapshot):
        assert not self.events
        self.room.restore(snapshot)

    async def until(self, last):
        async with asyncio.timeout(DEADLINE_S):
            while last not in self.events:
                self._more.clear()
                await self._more.wait()
        return self.events


def join(link, role="viewer"):
    return Join(link=link, at=1.0, subject=link, role=role)


def say(link, text):
    return Say(link, 1.0, Chat(text))


END = say("-", "end")


async def test_every_subscriber_gets_every_event_in_one_order(buses):
    here, there = buses
    first, second, third = Copy(), Copy(), Copy()
    await there.subscribe("r", first)
    await there.subscribe("r", second)
    await here.subscribe("r", third)
    events = [join("h", "host"), join("v"), say("v", "hello"), END]
    for event in events:
        await here.publish("r", event)
    for copy in (first, second, third):
        assert await copy.until(END) == events
        assert copy.room.state == first.room.state
    assert list(first.room.state.members) == ["h", "v"]


async def test_events_of_two_publishers_have_one_order(buses):
    here, there = buses
    first, second = Copy(), Copy()
    await here.subscribe("r", first)
    await there.subscribe("r", second)

    async def talk(bus, name):
        for i in range(100):
            await bus.publish("r", say(name, str(i)))

    await asyncio.gather(talk(here, "a"), talk(there, "b"), talk(here, "c"))
    await here.publish("r", END)
    assert await first.until(END) == await second.until(END)
    for name in "abc":
        said = [event.message.text for event in first.events if event.link == name]
        assert said == [str(i) for i in range(100)]


async def test_one_of_all_is_to_do_what_is_done_once(buses):
    here, there = buses
    first, second = Copy(), Copy()
    await here.subscribe("r", first)
    await there.subscribe("r", second)
    for bus, link in ((here, "a"), (there, "b"), (here, "c")):
        await bus.publish("r", join(link))
    await here.publish("r", END)
    for copy in (first, second):
        await copy.until(END)
    if here is there:
        assert any(first.mine)
        assert any(second.mine) is (not isinstance(here, MemoryBus))
    else:
        assert [a != b for a, b in zip(first.mine, second.mine, strict=True)] == [True] * 4


async def test_rooms_are_apart(buses):
    here, there = buses
    copy, other = Copy(), Copy()
    await there.subscribe("r", copy)
    await here.subscribe("r", Copy())
    await here.subscribe("other", other)
    await here.publish("other", join("h", "host"))
    await other.until(join("h", "host"))
    await here.publish("r", END)
    assert await copy.until(END) == [END]


async def test_who_subscribes_late_becomes_what_the_others_are(buses):
    here, there = buses
    first, late = Copy(), Copy()
    await here.subscribe("r", first)
    for event in (join("h", "host"), join("gone"), join("v"), say("v", "hello"), Away("v", 2.0)):
        await here.publish("r", event)
    await here.publish("r", Leave("gone", 3.0, "bye"))
    await here.publish("r", END)
    await first.until(END)
    await there.subscribe("r", late)
    assert late.room.state == first.room.state
    assert late.room.state.members["v"].away_since == 2.0
    again = join("w")
    await there.publish("r", again)
    await first.until(again)
    await late.until(again)
    assert late.events[-1] == again
    assert late.room.state == first.room.state


async def test_who_subscribes_while_others_talk_misses_nothing_and_gets_nothing_twice(buses):
    here, there = buses
    whole = Copy()
    await here.subscribe("r", whole)

    async def come():
        for i in range(60):
            await here.publish("r", join(f"v{i}"))

    talking = asyncio.create_task(come())
    copies = []
    for _ in range(10):
        copy = Copy()
        await there.subscribe("r", copy)
        copies.append(copy)
        await asyncio.sleep(0)
    await talking
    await here.publish("r", END)
    for copy in (whole, *copies):
        await copy.until(END)
        assert copy.room.state == whole.room.state
    assert list(whole.room.state.members) == [f"v{i}" for i in range(60)]


async def test_a_closed_subscription_gets_nothing_more(buses):
    here, there = buses
    closed, kept = Copy(), Copy()
    await here.subscribe("r", Copy())
    subscription = await there.subscribe("r", closed)
    await there.subscribe("r", kept)
    await subscription.close()
    await subscription.close()
    await here.publish("r", join("h", "host"))
    assert await kept.until(join("h", "host")) == [join("h", "host")]
    assert closed.events == []


async def test_the_directory_is_everybodys(buses):
    here, there = buses
    await here.announce("r", b"first")
    await here.announce("q", b"other")
    await here.announce("r", b"second")
    await until(lambda: there.announced(), {"r": b"second", "q": b"other"})
    await there.announce("r", None)
    await until(lambda: here.announced(), {"q": b"other"})


async def until(ask, expected):
    async with asyncio.timeout(DEADLINE_S):
        while await ask() != expected:  # noqa: ASYNC110  # there is nothing to wait on
            await asyncio.sleep(0.005)


async def test_a_bus_says_whether_it_can_be_reached(buses):
    assert all(bus.available for bus in buses)


async def test_a_room_that_nobody_follows_leaves_nothing_behind():
    bus = MemoryBus()
    subscription = await bus.subscribe("r", Copy())
    await bus.publish("r", join("h", "host"))
    await subscription.close()
    await bus.publish("nobody", END)
    late = Copy()
    await bus.subscribe("r", late)
    assert late.room.empty
    assert set(bus._rooms) == {"r"}
