"""Servers that leave, die or are cut off, what becomes of their clients, and the directory."""

import asyncio

import pytest

from signalling.bus import BusUnavailable
from signalling.rooms import Away

from .replica import Copy, answer, bye, eventually, host, same, viewer
from .test_bus import subscribed

QUICK = {"lease_s": 1.0, "tick_s": 0.1}


async def together(buses, *events):
    """A copy for each bus, after each has published its event."""
    copies = [await subscribed(bus) for bus in buses]
    for bus, event in zip(buses, events, strict=True):
        await bus.publish("r", event)
    for copy in copies:
        await copy.until(events[-1])
    return copies


async def dies(client):
    """As kill -9 does: from now on this server is not heard of."""
    await client.drop()


async def test_clients_of_a_server_that_dies_are_away_and_one_server_acts(
    redis, connected, clients
):
    buses = [await connected(redis.url, **QUICK) for _ in range(3)]
    _, second, third = await together(buses, host(), viewer("a"), viewer("b"))
    await dies(clients[0])
    for copy in (second, third):
        await copy.until(lambda copy: copy.present == {"a", "b"})
        assert copy.room.host.away_since is not None
    gone = Away("h", second.room.host.away_since)
    assert gone in second.events
    assert gone in third.events
    assert [gone in copy.mine for copy in (second, third)].count(True) == 1
    await same(second, third)


async def test_a_server_that_leaves_takes_its_clients_along(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    first, _ = await together([here, there], host(), viewer())
    await there.close()
    await first.until(lambda copy: copy.present == {"h"})
    assert first.room.viewers == 1  # away


async def test_a_server_that_left_does_not_say_afterwards_that_it_lives(redis, connected):
    # Each says so all the time, and between leaving and the end too if it still could.
    buses = [await connected(redis.url, lease_s=60.0, tick_s=0.0001) for _ in range(3)]
    for bus in buses:
        await bus.close()
    with redis.client() as client:
        assert client.zcard("playcast:{.servers}:alive") == 0


async def test_what_was_on_its_way_when_a_server_left_arrives(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    first, second = Copy(), Copy()
    await here.subscribe("r", first)
    subscription = await there.subscribe("r", second)
    await here.publish("r", host())
    for i in range(8):
        await there.publish("r", viewer(f"v{i}"))
    leaves = [bye(f"v{i}") for i in range(8)]
    async with asyncio.TaskGroup() as group:
        for leave in leaves:
            group.create_task(there.publish("r", leave))
        await asyncio.sleep(0)
        group.create_task(subscription.close())
    await first.until(lambda copy: all(leave in copy.events for leave in leaves))
    assert first.room.viewers == 0


async def test_a_room_that_its_last_server_left_is_found_by_the_next(redis, connected):
    here = await connected(redis.url)
    copy = await subscribed(here)
    for event in (host(), viewer(), answer("v", "h", "s")):
        await here.publish("r", event)
    await here.close()
    after = await subscribed(await connected(redis.url))
    assert set(after.room.state.members) == {"h", "v"}
    assert after.present == set()
    assert [sent.seq for sent in after.room.state.recent][: len(copy.room.state.recent)] == [
        sent.seq for sent in copy.room.state.recent
    ]


async def test_a_room_whose_last_server_died_is_found_and_its_clients_are_away(
    redis, connected, clients
):
    here = await connected(redis.url, **QUICK)
    await subscribed(here)
    await here.publish("r", host())
    await dies(clients[0])
    after = await subscribed(await connected(redis.url, **QUICK))
    await after.until(lambda copy: copy.room.host.away_since is not None)
    assert after.mine == [Away("h", after.room.host.away_since)]


async def test_a_room_that_nobody_comes_back_to_is_forgotten(redis, connected):
    here = await connected(redis.url, window_s=0.2, lease_s=0.1, tick_s=0.02)
    copy = Copy()
    subscription = await here.subscribe("r", copy)
    await here.publish("r", host())
    await here.publish("r", bye("h"))
    await subscription.close()
    with redis.client() as client:
        await eventually(lambda: not client.keys("playcast:{r}:*"))


async def test_a_room_that_nothing_happened_in_leaves_nothing(redis, connected):
    here = await connected(redis.url)
    subscription = await here.subscribe("r", Copy())
    with redis.client() as client:
        assert client.keys("playcast:{r}:*")
        await subscription.close()
        assert client.keys("playcast:{r}:*") == []


async def test_clients_of_a_server_that_leaves_a_lost_room_are_away(redis, connected):
    here, there = [await connected(redis.url, **QUICK) for _ in range(2)]
    first = await subscribed(here)
    subscription = await there.subscribe("r", Copy())
    await here.publish("r", host())
    await there.publish("r", viewer())
    await first.until(lambda copy: copy.present == {"h", "v"})
    with redis.client() as client:
        client.flushall()
    await subscription.close()
    await first.until(lambda copy: copy.present == {"h"})
    assert there.available


async def test_clients_of_a_server_that_leaves_a_room_that_waits_are_away(
    redis, connected, clients
):
    buses = [await connected(redis.url, **QUICK) for _ in range(3)]
    first, second, third = Copy(), Copy(), Copy()
    await buses[0].subscribe("r", first)
    subscription = await buses[1].subscribe("r", second)
    await buses[2].subscribe("r", third)
    for bus, event in zip(buses, (host(), viewer("a"), viewer("b")), strict=True):
        await bus.publish("r", event)
    await first.until(lambda copy: copy.present == {"h", "a", "b"})
    await clients[2].drop()
    with redis.client() as client:
        client.flushall()
        await eventually(lambda: client.scard("playcast:{r}:waiting") == 1)
        await subscription.close()
        await first.until(lambda copy: copy.present == {"h"})
        servers = client.hkeys("playcast:{r}:servers")
    assert len(servers) == 1


async def test_who_gave_up_entering_does_not_take_part(redis, connected, clients):
    here, there = await connected(redis.url), await connected(redis.url, patience_s=0.5)
    await subscribed(here)
    await here.publish("r", host())
    clients[1].deaf = True
    with pytest.raises(BusUnavailable):
        await there.subscribe("r", Copy())
    clients[1].deaf = False
    with redis.client() as client:
        await eventually(lambda: client.hlen("playcast:{r}:servers") == 1)


async def test_a_room_left_during_an_outage_does_not_delay_the_others(redis, connected):
    here, there = [await connected(redis.url, **QUICK, patience_s=1.0) for _ in range(2)]
    first = Copy()
    subscription = await here.subscribe("r", first)
    await here.publish("r", host())
    other = await subscribed(there)
    await there.publish("r", viewer())
    await first.until(lambda copy: copy.present == {"h", "v"})
    redis.kill()
    with pytest.raises(BusUnavailable):
        await here.publish("r", bye("h"))
    await subscription.close()
    redis.start()
    async with asyncio.timeout(0.9):  # less than the patience
        await eventually(lambda: here.available)
    await other.until(lambda copy: copy.present == {"v"})


async def test_a_server_cut_off_for_long_learns_that_its_clients_were_given_up(
    redis, connected, clients
):
    buses = [await connected(redis.url, **QUICK) for _ in range(3)]
    first, second, third = await together(buses, host(), viewer("a"), viewer("b"))
    await clients[0].drop()
    await second.until(lambda copy: copy.present == {"a", "b"})
    assert first.present == {"h", "a", "b"}
    clients[0].cut = False
    await first.until(lambda copy: copy.present == {"a", "b"})
    end = answer("a", "b", "end")
    await buses[1].publish("r", end)
    for copy in (first, second, third):
        await copy.until(end)
    await same(first, second, third)


async def test_nobody_is_given_up_because_redis_was_away(redis, connected):
    buses = [await connected(redis.url, **QUICK, timeout_s=0.3) for _ in range(2)]
    first, second = await together(buses, host(), viewer())
    redis.pause()
    await asyncio.sleep(2 * QUICK["lease_s"])  # all leases end meanwhile
    redis.resume()
    end = answer("h", "v", "end")
    await buses[0].publish("r", end)
    await second.until(end)
    assert first.present == second.present == {"h", "v"}


# The directory -----------------------------------------------------------------------------------


async def cards(bus, wanted):
    """Until these are the announced cards."""

    async def true():
        return await bus.announced() == wanted

    await eventually(true)


async def test_cards_are_seen_by_all_and_go_with_their_server(redis, connected, clients):
    here, there, third = [await connected(redis.url, **QUICK) for _ in range(3)]
    await here.announce("a", b'{"n": 1}')
    await there.announce("b", b"\x00\xff b \n")
    await third.announce("c", b"c")
    await cards(here, {"a": b'{"n": 1}', "b": b"\x00\xff b \n", "c": b"c"})
    await here.announce("a", b"other")
    await there.announce("b", None)
    await cards(there, {"a": b"other", "c": b"c"})
    await third.close()
    await cards(there, {"a": b"other"})
    await dies(clients[0])
    await cards(there, {})


async def test_whoever_takes_a_card_down_need_not_have_put_it_up(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    await here.announce("a", b"card")
    await cards(there, {"a": b"card"})
    await there.announce("a", None)
    await cards(here, {})


async def test_an_announcement_that_comes_late_changes_nothing(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    await together([here, there], host(), viewer())
    await there.publish("r", answer("v", "h", "1"))
    await there.announce("r", None)
    await cards(there, {})
    with redis.client() as client:
        await eventually(lambda: client.hexists("playcast:{.servers}:cards", "r"))
    here._servers.say("r", 1, b"of an earlier event")
    await here._servers.tell()
    assert await there.announced() == {}


async def test_cards_are_put_up_again_when_redis_lost_them(redis, connected):
    here = await connected(redis.url, **QUICK)
    await here.announce("a", b"card")
    redis.kill()
    with pytest.raises(BusUnavailable):
        await here.announced()
    await here.announce("b", b"said meanwhile")
    redis.start()
    await eventually(lambda: here.available)
    await cards(here, {"a": b"card", "b": b"said meanwhile"})
