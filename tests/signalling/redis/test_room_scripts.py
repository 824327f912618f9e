"""What each step inside Redis lets happen, whoever runs it."""

import pytest

from signalling.redis.client import open_client
from signalling.redis.room_copy import RoomCopy
from signalling.redis.room_scripts import RoomScripts
from signalling.redis.settings import RedisSettings
from signalling.redis.wire import Differs, Follow, RedisDataError, State, encode_event

from .replica import viewer

EVENT = encode_event(viewer())


@pytest.fixture
async def servers(redis):
    """Makes the scripts of servers, by name, in one room."""
    settings = RedisSettings(url=redis.url, settle_s=60.0, snapshot_s=60.0, log_length=8)
    client = open_client(settings)

    def make(name):
        copy = RoomCopy(name, length=8, age_s=60.0)
        return RoomScripts("r", name, settings, client, copy), copy

    yield make
    await client.close()


async def enter(scripts, copy):
    found = await scripts.enter(has_copy=False)
    if found is None:
        assert await scripts.found(b"nothing yet", ())
        found = await scripts.enter(has_copy=False)
    assert isinstance(found, State)
    copy.epoch = found.epoch
    copy.adopt(found)
    return found


def other(*qs):
    return dict.fromkeys(qs, ("other", "", EVENT))


async def test_what_is_sent_twice_is_taken_once(servers):
    scripts, copy = servers("a")
    await enter(scripts, copy)
    assert await scripts.publish(other(3, 5)) == ("ok", [1, 2])
    assert await scripts.publish(other(3, 5, 8)) == ("ok", [0, 0, 3])


async def test_who_entered_again_elsewhere_or_is_given_up_takes_part_no_more(servers):
    late, copy = servers("a")
    await enter(late, copy)
    again, its_copy = servers("a")
    await enter(again, its_copy)
    assert await late.publish(other(1)) == ("enter", [])
    assert await late.check() is None
    others, others_copy = servers("b")
    await enter(others, others_copy)
    await others.reap(1, "a", 0.0, dead=True)
    assert await again.publish(other(1)) == ("enter", [])
    assert await others.check() == (0, {"b"}, False)


async def test_who_is_ahead_of_redis_must_say_so_first(servers):
    scripts, copy = servers("a")
    await enter(scripts, copy)
    copy.position = 1
    assert await scripts.publish(other(1)) == ("enter", [])


async def test_a_room_that_was_lost_waits_for_those_who_had_it(servers, redis):
    (here, copy), (there, its_copy) = servers("a"), servers("b")
    for scripts, its in ((here, copy), (there, its_copy)):
        await enter(scripts, its)
    with redis.client() as client:
        client.flushall()
    assert await here.enter(has_copy=True) is None
    assert await here.found(b"", {"b"}) is True
    assert await there.found(b"", {"a"}) is False
    found = await here.enter(has_copy=True)
    assert isinstance(found, Follow)
    copy.epoch = found.epoch
    assert await here.publish(other(1)) == ("settle", [])
    assert isinstance(await there.enter(has_copy=True), Follow)
    assert await here.publish(other(1)) == ("ok", [1])


async def test_a_redis_that_may_have_lost_something_waits_too(servers, redis):
    (here, copy), (there, its_copy) = servers("a"), servers("b")
    for scripts, its in ((here, copy), (there, its_copy)):
        await enter(scripts, its)
    with redis.client() as client:
        client.hset("playcast:{r}:meta", "run", "another")
    await here.enter(has_copy=True)
    assert await here.publish(other(1)) == ("settle", [])
    await there.enter(has_copy=True)
    assert await here.publish(other(1)) == ("ok", [1])


async def test_how_a_copy_differs_is_said(servers):
    scripts, copy = servers("a")
    await enter(scripts, copy)
    for q in range(1, 21):
        await scripts.publish(other(q))
    for n in (8, 16):
        await scripts.save(n, f"a {n}", b"state")
    copy.position, copy.mark = 9, "a 9"
    assert isinstance(await scripts.enter(has_copy=True), Follow)
    copy.mark = "b 9"
    assert await scripts.enter(has_copy=True) == Differs("conflict", 20, "a 20")
    copy.position, copy.mark = 7, "a 7"
    assert await scripts.enter(has_copy=True) == Differs("old", 20, "a 20")
    copy.epoch = "another room's"
    assert await scripts.enter(has_copy=True) == Differs("conflict", 20, "a 20")
    copy.position, copy.mark = 21, "a 21"
    assert await scripts.enter(has_copy=True) == Differs("behind", 20, "a 20")


async def test_who_does_not_come_in_time_cannot_tell_whether_it_is_the_same_room(servers, redis):
    (here, copy), (late, its_copy) = servers("a"), servers("b")
    for scripts, its in ((here, copy), (late, its_copy)):
        await enter(scripts, its)
    its_copy.position, its_copy.mark = 2, "b 2"  # of which Redis and a know nothing
    with redis.client() as client:
        client.hset("playcast:{r}:meta", "run", "another")
        await here.enter(has_copy=True)
        client.hset("playcast:{r}:meta", "until", 1)
        assert await here.check() is None
        found = await here.enter(has_copy=True)
        assert isinstance(found, Follow)
        copy.epoch = found.epoch
        assert (await here.publish(other(*range(1, 9))))[0] == "ok"
        client.xtrim("playcast:{r}:log", minid="5-0")
    assert await late.enter(has_copy=True) == Differs("conflict", 8, "a 8")


async def test_every_key_ends_by_itself(servers, redis):
    scripts, copy = servers("a")
    await enter(scripts, copy)
    await scripts.publish({1: ("in", "link", EVENT)})
    with redis.client() as client:
        keys = client.keys("playcast:{r}:*")
        assert len(keys) == 6
        assert all(client.pttl(key) > 0 for key in keys)


async def test_a_snapshot_of_another_history_is_not_kept(servers):
    scripts, copy = servers("a")
    await enter(scripts, copy)
    await scripts.publish(other(*range(1, 11)))
    await scripts.save(8, "a 9", b"of another history")
    assert (await scripts.enter(has_copy=False)).base == 0


async def test_a_snapshot_is_kept_when_it_is_time(servers):
    scripts, copy = servers("a")
    await enter(scripts, copy)
    await scripts.publish(other(*range(1, 11)))

    async def newest():
        found = await scripts.enter(has_copy=False)
        return found.base, found.snapshot, [entry.n for entry in found.entries]

    await scripts.save(3, "a 3", b"too soon")
    await scripts.save(11, "a 11", b"of the future")
    assert await newest() == (0, b"nothing yet", list(range(1, 11)))
    await scripts.save(4, "a 4", b"four")
    await scripts.save(4, "a 4", b"again")
    assert await newest() == (4, b"four", list(range(5, 11)))


async def test_who_knew_nothing_gives_way_to_a_longer_history(servers):
    (knowing, copy), (stranger, its_copy) = servers("a"), servers("b")
    await enter(stranger, its_copy)
    await stranger.publish(other(1))
    copy.epoch, copy.position, copy.mark = "earlier", 1, "a 1"
    assert await knowing.found(b"as long", ()) is False
    copy.position, copy.mark = 2, "a 2"
    assert await knowing.found(b"longer", ()) is True
    found = await enter(stranger, its_copy)
    assert (found.snapshot, found.n, found.mark) == (b"longer", 2, "a 2")


async def test_who_went_on_alone_replaces_what_nobody_has_changed_since(servers):
    (alone, copy), (other_server, its_copy) = servers("a"), servers("b")
    await enter(alone, copy)
    await alone.publish(other(1))
    copy.position, copy.mark = 90, "a 90"
    assert await alone.found(b"longer", ()) is False
    copy.alone_after = 1, "b 1"
    assert await alone.found(b"longer", ()) is False
    await enter(other_server, its_copy)
    copy.alone_after = 1, "a 1"
    assert await alone.found(b"longer", ()) is True
    found = await enter(other_server, its_copy)
    assert (found.snapshot, found.n, found.mark) == (b"longer", 90, "a 90")
    await other_server.publish(other(1))
    copy.epoch, copy.position, copy.mark = found.epoch, 99, "a 99"
    copy.alone_after = 90, "a 90"
    assert await alone.found(b"too late", ()) is False


async def test_keys_of_another_program_are_named(servers, redis):
    scripts, _ = servers("a")
    with redis.client() as client:
        client.set("playcast:{r}:meta", "what is this")
    with pytest.raises(RedisDataError, match="WRONGTYPE"):
        await scripts.enter(has_copy=False)
