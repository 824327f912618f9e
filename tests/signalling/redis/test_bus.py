"""Rooms of several servers over one real Redis, which goes away and comes back."""

import asyncio
import time

import msgspec
import pytest

from signalling.bus import BusUnavailable
from signalling.redis.bus import RedisBus
from signalling.redis.scripts import FOUND
from signalling.redis.settings import RedisSettings

from . import server as redis_server
from .replica import (
    DEADLINE_S,
    Copy,
    answer,
    away,
    bye,
    eventually,
    host,
    same,
    say,
    viewer,
)

RECOVERY_S = 2.0

HOST, VIEWER = host(), viewer()

quiet_before = pytest.mark.parametrize("quiet_s", [0.0, 600.0], ids=["busy room", "quiet room"])
"""Of a room in which nothing has happened for longer than servers keep what happened."""


def earlier(event, quiet_s):
    return msgspec.structs.replace(event, at=time.time() - quiet_s)


async def pair(here, there, room="r", *, quiet_s=0.0):
    """A host here, a viewer there, and each server's copy."""
    first, second = Copy(room), Copy(room)
    await here.subscribe(room, first)
    await there.subscribe(room, second)
    await here.publish(room, earlier(HOST, quiet_s))
    await there.publish(room, earlier(VIEWER, quiet_s))
    for copy in (first, second):
        await copy.until(lambda copy: copy.present == {"h", "v"})
    return first, second


class Talk:
    """Both publish numbered messages until :meth:`stop`; each must be heard once, in order."""

    def __init__(self, here, there):
        self.confirmed = {"h": 0, "v": 0}
        self._progress = asyncio.Event()
        self._stopping = False
        self._tasks = [
            asyncio.create_task(self._talk(here, "h", "v")),
            asyncio.create_task(self._talk(there, "v", "h")),
        ]

    async def _talk(self, bus, source, target):
        while not self._stopping:
            await bus.publish("r", answer(source, target, str(self.confirmed[source])))
            self.confirmed[source] += 1
            self._progress.set()
            await asyncio.sleep(0.002)

    async def progress(self, more=20):
        """Until both have said ``more`` than now."""
        goal = {name: n + more for name, n in self.confirmed.items()}
        async with asyncio.timeout(DEADLINE_S):
            while any(self.confirmed[name] < n for name, n in goal.items()):
                self._progress.clear()
                await self._progress.wait()
                for task in self._tasks:
                    assert not task.done() or task.result() is None

    async def stop(self):
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def check(self, *copies):
        for copy in copies:
            for source, n in self.confirmed.items():
                await copy.until(lambda copy, s=source, n=n: f"{n - 1}" in copy.said_by(s))
                assert copy.said_by(source) == [str(i) for i in range(n)]
            assert copy.present == {"h", "v"}
        await same(*copies)


async def subscribed(bus, room="r"):
    copy = Copy(room)
    await bus.subscribe(room, copy)
    return copy


# Late subscribers --------------------------------------------------------------------------------


async def test_a_newcomer_has_the_room_as_it_is(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    first, second = await pair(here, there)
    await there.publish("r", answer("v", "h", "said"))
    await first.until(lambda copy: copy.said_by("v") == ["said"])
    third = await subscribed(await connected(redis.url))
    assert third.restored == 1
    assert third.events == []
    await same(first, second, third)
    assert [sent.message.sdp for sent in third.room.state.recent if hasattr(sent.message, "sdp")]


async def test_a_second_copy_on_the_same_server_has_the_room_as_it_is(redis, connected):
    here = await connected(redis.url)
    first = await subscribed(here)
    await here.publish("r", HOST)
    second = await subscribed(here)
    await here.publish("r", VIEWER)
    assert first.events == [HOST, VIEWER]
    assert second.events == [VIEWER]
    await same(first, second)


async def test_the_log_of_a_busy_room_is_cut_and_a_newcomer_lacks_nothing(redis, connected):
    quick = {"snapshot_s": 0.05}
    here, there = [await connected(redis.url, **quick) for _ in range(2)]
    first, second = await pair(here, there)
    with redis.client() as client:
        name = "playcast:{r}:log"
        while (first_kept := int(client.xrange(name, count=1)[0][0].split(b"-")[0])) < 256:
            for _ in range(64):
                await there.publish("r", answer("v", "h", "x"))
            assert client.xlen(name) < 2000
        assert first_kept % 64 == 0
        assert client.xlen(name) >= 64
    await first.until(second.events[-1])
    third = await subscribed(await connected(redis.url, **quick))
    await same(first, second, third)


async def test_a_room_that_never_rests_is_cut_by_its_length(redis, connected):
    here = await connected(redis.url, log_length=128)
    await subscribed(here)
    await here.publish("r", HOST)
    for _ in range(16):
        await asyncio.gather(*(here.publish("r", answer("h", "v", "x")) for _ in range(32)))
    with redis.client() as client:
        await eventually(lambda: client.xlen("playcast:{r}:log") <= 3 * 64)


# Redis goes and comes back -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["appendonly yes"]], ids=["empty", "with its data"])
async def test_redis_killed_under_load_comes_back_and_nobody_notices(tmp_path, connected, options):
    with redis_server.single(tmp_path / "redis", *options) as redis:
        here, there = await connected(redis.url), await connected(redis.url)
        first, second = await pair(here, there)
        talk = Talk(here, there)
        await talk.progress()
        redis.kill()
        redis.start()
        back = time.monotonic()
        await talk.progress()
        assert time.monotonic() - back < RECOVERY_S
        await talk.stop()
        await talk.check(first, second)
        assert first.restored == 0
        assert second.restored == 1
        late = await subscribed(await connected(redis.url))
        await same(first, second, late)


async def test_a_redis_restored_from_an_older_copy_is_brought_up_to_date(tmp_path, connected):
    with redis_server.single(tmp_path / "redis", "dir " + str(tmp_path / "redis")) as redis:
        here, there = await connected(redis.url), await connected(redis.url)
        first, second = await pair(here, there)
        talk = Talk(here, there)
        await talk.progress()
        with redis.client() as client:
            client.save()
        await talk.progress()
        redis.kill()
        redis.start()
        await talk.progress()
        await talk.stop()
        await talk.check(first, second)
        assert (first.restored, second.restored) == (0, 1)
        late = await subscribed(await connected(redis.url))
        await same(first, second, late)


async def test_a_redis_restored_from_a_copy_older_than_what_servers_keep_is_brought_up_to_date(
    tmp_path, connected
):
    with redis_server.single(tmp_path / "redis", "dir " + str(tmp_path / "redis")) as redis:
        here, there = [await connected(redis.url, settle_s=20.0) for _ in range(2)]
        first, second = await pair(here, there, quiet_s=900.0)
        with redis.client() as client:
            client.save()
        for quiet_s in (600.0, 300.0, 0.0):
            last = earlier(answer("v", "h", f"{quiet_s}"), quiet_s)
            await there.publish("r", last)
        await first.until(last)
        redis.kill()
        redis.start()
        end = answer("h", "v", "end")
        await here.publish("r", end)
        await second.until(end)
        await same(first, second)
        assert first.events[-4:] == second.events[-4:]
        assert (first.restored, second.restored) == (0, 1)


async def test_two_servers_that_bring_a_room_back_at_once_do_so_once(tmp_path, connected, clients):
    with redis_server.single(tmp_path / "redis", "dir " + str(tmp_path / "redis")) as redis:
        here, there = [await connected(redis.url, settle_s=20.0) for _ in range(2)]
        first, second = await pair(here, there, quiet_s=900.0)
        with redis.client() as client:
            client.save()
        for quiet_s in (600.0, 0.0):
            last = earlier(answer("v", "h", f"{quiet_s}"), quiet_s)
            await there.publish("r", last)
        await first.until(last)
        both = asyncio.Barrier(2)
        for client in clients:
            client.hold(FOUND, both)
        redis.kill()
        redis.start()
        end = answer("h", "v", "end")
        await here.publish("r", end)
        await second.until(end)
        assert (first.restored, second.restored) == (0, 1)


async def test_a_redis_restored_from_an_older_copy_waits_for_who_came_since(
    tmp_path, connected, clients
):
    with redis_server.single(tmp_path / "redis", "dir " + str(tmp_path / "redis")) as redis:
        here, there = [await connected(redis.url, settle_s=20.0) for _ in range(2)]
        first = await subscribed(here)
        await here.publish("r", HOST)
        with redis.client() as client:
            client.save()
        second = await subscribed(there)
        await there.publish("r", VIEWER)
        await first.until(VIEWER)
        await clients[0].drop()
        lost = answer("v", "h", "confirmed, and not heard here")
        await there.publish("r", lost)
        await clients[1].drop()
        redis.kill()
        redis.start()
        clients[0].cut = False
        end = answer("h", "v", "end")
        publishing = asyncio.create_task(here.publish("r", end))
        with redis.client() as client:
            await eventually(lambda: client.scard("playcast:{r}:waiting") == 1)
        assert not publishing.done()
        clients[1].cut = False
        await publishing
        for copy in (first, second):
            await copy.until(end)
            assert copy.events[-2:] == [lost, end]


async def test_a_newcomer_after_redis_lost_a_room_finds_its_members(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    first, second = await pair(here, there)
    redis.kill()
    redis.start()
    newcomer = viewer("n")
    await there.publish("r", newcomer)
    await first.until(newcomer)
    await second.until(newcomer)
    assert first.present == second.present == {"h", "v", "n"}


@quiet_before
async def test_who_makes_a_lost_room_anew_before_its_servers_are_back_gives_way(
    redis, connected, clients, quiet_s
):
    here, stranger = [await connected(redis.url, lease_s=60.0) for _ in range(2)]
    first = await subscribed(here)
    for event in (earlier(HOST, quiet_s), earlier(VIEWER, quiet_s), away("v")):
        await here.publish("r", event)
    await clients[0].drop()
    with redis.client() as client:
        client.flushall()
    second = await subscribed(stranger)
    await stranger.publish("r", viewer("n"))
    assert second.present == {"n"}
    clients[0].cut = False
    await second.until(lambda copy: copy.restored == 2)
    await same(first, second)
    assert first.present == {"h"}
    assert first.restored == 0


async def test_messages_go_on_when_redis_drops_the_listening_connections(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    first, second = await pair(here, there)
    talk = Talk(here, there)
    for _ in range(3):
        await talk.progress()
        with redis.client() as client:
            assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
    await talk.progress()
    await talk.stop()
    await talk.check(first, second)


async def test_a_frozen_redis_is_noticed_and_waited_for(redis, connected):
    watches = Watch(), Watch()
    here, there = [await connected(redis.url, watch=watch, timeout_s=0.3) for watch in watches]
    first, second = await pair(here, there)
    talk = Talk(here, there)
    await talk.progress()
    redis.pause()
    for watch, bus in zip(watches, (here, there), strict=True):
        await watch.until_available(False)
        assert not bus.available
    redis.resume()
    await talk.progress()
    await talk.stop()
    await talk.check(first, second)


class Watch:
    """A :class:`signalling.redis.watch.BusWatch` that can be waited for."""

    def __init__(self):
        self.lags = []
        self.changes = []
        self.failed = 0
        self._available = None
        self._more = asyncio.Event()

    def bus_available(self, available):
        self._available = available
        self.changes.append(available)
        self._more.set()

    def bus_lag(self, seconds):
        self.lags.append(seconds)

    def bus_failed(self):
        self.failed += 1

    async def until_available(self, available):
        async with asyncio.timeout(DEADLINE_S):
            while self._available is not available:
                self._more.clear()
                await self._more.wait()


async def test_how_long_events_take_is_measured_on_the_channel(redis, connected):
    watch = Watch()
    here, there = await connected(redis.url, watch=watch), await connected(redis.url)
    first, _ = await pair(here, there)
    for i in range(10):
        await here.publish("r", answer("h", "v", f"{i}"))
    await there.publish("r", answer("v", "h", "end"))
    await first.until(lambda copy: copy.said_by("v"))
    assert len(watch.lags) == 11
    assert 0 < max(watch.lags) < 1.0


async def test_a_room_of_one_server_goes_on_without_redis(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    copy = await subscribed(here)
    await here.publish("r", HOST)
    await here.publish("r", viewer("gone"))
    redis.kill()
    began = time.monotonic()
    events = [VIEWER, answer("v", "h", "s"), bye("gone")]
    for event in events:
        await here.publish("r", event)
    assert copy.events[2:] == events
    assert time.monotonic() - began < 1.0
    assert not here.available
    redis.start()
    elsewhere = await subscribed(there)
    await same(copy, elsewhere)
    assert elsewhere.present == {"h", "v"}
    end = viewer("end")
    await there.publish("r", end)
    await copy.until(end)
    assert copy.restored == 0


@quiet_before
async def test_what_a_server_did_alone_is_added_to_a_redis_that_kept_its_data(
    tmp_path, connected, quiet_s
):
    with redis_server.single(tmp_path / "redis", "appendonly yes") as redis:
        here, there = [await connected(redis.url, settle_s=20.0) for _ in range(2)]
        copy = await subscribed(here)
        await here.publish("r", earlier(HOST, quiet_s))
        redis.kill()
        await here.publish("r", earlier(VIEWER, quiet_s))
        await here.publish("r", answer("v", "h", "alone"))
        redis.start()
        elsewhere = await subscribed(there)
        await elsewhere.until(lambda copy: copy.present == {"h", "v"})
        await same(copy, elsewhere)
        assert copy.restored == 0


async def test_a_long_outage_alone_loses_nothing_with_a_redis_that_kept_its_data(
    tmp_path, connected
):
    with redis_server.single(tmp_path / "redis", "appendonly yes") as redis:
        here, there = [
            await connected(redis.url, settle_s=20.0, log_length=8, snapshot_s=60.0)
            for _ in range(2)
        ]
        copy = await subscribed(here)
        await here.publish("r", HOST)
        redis.kill()
        for event in (VIEWER, *(say("v") for _ in range(16)), viewer("w")):
            await here.publish("r", event)
        redis.start()
        elsewhere = await subscribed(there)
        await elsewhere.until(lambda copy: copy.present == {"h", "v", "w"})
        await same(copy, elsewhere)
        assert copy.restored == 0
        end = answer("h", "v", "end")
        await there.publish("r", end)
        await copy.until(end)


async def test_what_was_on_its_way_when_redis_went_away_is_no_reason_to_give_the_rest_up(
    tmp_path, connected, clients
):
    with redis_server.single(tmp_path / "redis", "appendonly yes") as redis:
        here, there = [
            await connected(redis.url, settle_s=20.0, log_length=8, snapshot_s=60.0)
            for _ in range(2)
        ]
        copy = await subscribed(here)
        await here.publish("r", HOST)
        clients[0].deaf = True
        publishing = asyncio.create_task(here.publish("r", answer("h", "v", "on its way")))
        with redis.client() as client:
            await eventually(lambda: client.xlen("playcast:{r}:log") == 2)
        redis.kill()
        await publishing
        for event in (VIEWER, *(answer("h", "v", f"{i}") for i in range(16))):
            await here.publish("r", event)
        clients[0].deaf = False
        redis.start()
        elsewhere = await subscribed(there)
        await elsewhere.until(lambda copy: copy.present == {"h", "v"})
        await same(copy, elsewhere)
        assert copy.restored == 0


async def test_a_room_of_two_servers_waits_only_so_long(redis, connected):
    watch = Watch()
    here = await connected(redis.url, patience_s=0.3, watch=watch)
    there = await connected(redis.url, patience_s=0.3)
    await pair(here, there)
    redis.kill()
    with pytest.raises(BusUnavailable, match="Redis"):
        await here.publish("r", answer("h", "v", "s"))
    with pytest.raises(BusUnavailable, match="Redis"):
        await here.subscribe("new", Copy("new"))
    with pytest.raises(BusUnavailable, match="Redis"):
        await here.announced()
    assert watch.failed == 1


def _chat(copy):
    return [line.message.text for line in copy.room.state.chat]


@quiet_before
async def test_what_redis_confirmed_and_lost_before_all_heard_it_is_brought_back(
    redis, connected, clients, quiet_s
):
    here, there = [await connected(redis.url, settle_s=20.0) for _ in range(2)]
    first, second = await pair(here, there, quiet_s=quiet_s)
    await clients[1].drop()
    lost = say("h", "lost")
    await here.publish("r", lost)
    redis.kill()
    redis.start()
    clients[1].cut = False
    await here.publish("r", say("h", "end"))
    # Brought back as an event, or with the state where that had to be taken.
    for copy in (first, second):
        await copy.until(lambda copy: _chat(copy) == ["lost", "end"])
    assert first.said_by("h") == ["lost", "end"]
    assert second.said_by("h") in ([], ["end"], ["lost", "end"])


async def test_who_was_away_for_longer_than_the_log_goes_back_takes_the_state(
    redis, connected, clients
):
    patient = {"snapshot_s": 0.05, "lease_s": 60.0}
    here, there = await connected(redis.url, **patient), await connected(redis.url, **patient)
    first, second = await pair(here, there)
    await clients[0].drop()
    with redis.client() as client:
        while int(client.xrange("playcast:{r}:log", count=1)[0][0].split(b"-")[0]) < 64:
            await there.publish("r", answer("v", "h", "x"))
    clients[0].cut = False
    await first.until(lambda copy: copy.restored)
    await same(first, second)
    assert first.restored == 1
    assert first.said_by("v") == []


async def test_servers_that_went_on_apart_take_what_is_in_redis(redis, connected, clients):
    here, there = await connected(redis.url), await connected(redis.url)
    first = await subscribed(here)
    await here.publish("r", HOST)
    await clients[0].drop()
    await here.publish("r", viewer("alone"))
    assert first.present == {"h", "alone"}
    second = await subscribed(there)
    await there.publish("r", VIEWER)
    said = answer("v", "h", "to the host")
    await there.publish("r", said)
    clients[0].cut = False
    await first.until(lambda copy: copy.restored == 2)  # an empty room first: all are closed
    # What is left of its clients is away, as they are to join again.
    for copy in (first, second):
        await copy.until(lambda copy: copy.present == {"v"})
    await same(first, second)
    assert said not in first.events  # the state has it: nothing is carried out twice
    end = answer("h", "v", "end")
    await here.publish("r", end)
    await second.until(end)


async def test_who_left_in_a_history_that_is_given_up_is_not_in_the_other(
    redis, connected, clients
):
    here, there = await connected(redis.url), await connected(redis.url)
    first = await subscribed(here)
    for event in (HOST, viewer("left")):
        await here.publish("r", event)
    await clients[0].drop()
    await here.publish("r", bye("left"))
    second = await subscribed(there)
    await there.publish("r", VIEWER)
    clients[0].cut = False
    for copy in (first, second):
        await copy.until(lambda copy: copy.present == {"v"})
    await here.publish("r", host("again"))
    await second.until(lambda copy: copy.present == {"v", "again"})


async def test_a_room_whose_keys_are_not_ours_harms_no_other(redis, connected):
    here, there = [await connected(redis.url, patience_s=1.5) for _ in range(2)]
    first, second = await pair(here, there)
    with redis.client() as client:
        client.set("playcast:{bad}:meta", "what is this")
        with pytest.raises(BusUnavailable):
            await here.subscribe("bad", Copy("bad"))
        client.delete("playcast:{r}:log")
        client.set("playcast:{r}:log", "and this")
        with pytest.raises(BusUnavailable):
            await here.publish("r", answer("h", "v", "refused"))
        assert here.available
        await pair(here, there, "other")
        client.delete(*client.keys("playcast:{r}:*"))
    end = answer("h", "v", "end")
    await here.publish("r", end)
    await second.until(end)
    await same(first, second)


async def test_a_room_whose_keys_are_not_ours_can_be_left(redis, connected):
    watch = Watch()
    here = await connected(redis.url, watch=watch)
    subscription = await here.subscribe("r", Copy())
    await here.publish("r", HOST)
    with redis.client() as client:
        client.delete("playcast:{r}:meta")
        client.set("playcast:{r}:meta", "what is this")
    await subscription.close()
    assert here.available
    assert watch.changes == [True]


async def test_a_room_whose_keys_are_half_gone_harms_no_other(redis, connected):
    here, there = [await connected(redis.url, patience_s=0.5) for _ in range(2)]
    await subscribed(here)
    await here.publish("r", HOST)
    with redis.client() as client:
        client.delete("playcast:{r}:state")
    with pytest.raises(BusUnavailable):
        await there.subscribe("r", Copy())
    assert there.available
    await pair(here, there, "other")


async def test_a_redis_that_is_not_there_is_named():
    port = redis_server.free_port()
    settings = RedisSettings(url=f"redis://127.0.0.1:{port}", patience_s=0.3)
    with pytest.raises(BusUnavailable, match=f"cannot use Redis at redis://127.0.0.1:{port}"):
        await RedisBus.connect(settings)
