"""The contract of an event log, held by each of them."""

import asyncio

import pytest

from integrations.events.log import (
    NEWEST,
    OLDEST,
    Appended,
    Backlog,
    EventsUnavailable,
    Retention,
)
from integrations.events.memory_log import MemoryLog, order


def numbered(first, count):
    return [Appended(f"k{n}", f"{n}".encode()) for n in range(first, first + count)]


def bodies(found):
    return [getattr(item, "entry", item).body for item in found]


async def test_reads_in_order_what_was_appended(make_log):
    log = make_log()
    positions = await log.append(numbered(0, 5))
    assert sorted(positions, key=order) == positions
    assert len(set(positions)) == 5
    found = await log.read(OLDEST, 3)
    assert bodies(found) == [b"0", b"1", b"2"]
    assert [entry.position for entry in found] == positions[:3]
    assert bodies(await log.read(positions[2], 10)) == [b"3", b"4"]
    assert await log.read(positions[-1], 10) == []


async def test_a_key_that_is_remembered_is_not_kept_twice(make_log):
    log = make_log()
    first = await log.append(numbered(0, 2))
    again = await log.append([Appended("k1", b"other"), *numbered(2, 1)])
    assert again[0] == first[1]
    assert bodies(await log.read(OLDEST, 10)) == [b"0", b"1", b"2"]


async def test_reading_waits_for_more(make_log):
    log = make_log()
    (last,) = await log.append(numbered(0, 1))
    reading = asyncio.create_task(log.read(last, 10, 0.4))
    await asyncio.sleep(0)
    await log.append(numbered(1, 1))
    assert bodies(await reading) == [b"1"]


async def test_each_group_gets_everything_and_its_consumers_share(make_log):
    log = make_log()
    await log.open_group("a", OLDEST)
    await log.open_group("b", OLDEST)
    await log.append(numbered(0, 4))
    first = await log.fetch("a", "one", 3, 0)
    second = await log.fetch("a", "two", 3, 0)
    assert bodies(first) == [b"0", b"1", b"2"]
    assert bodies(second) == [b"3"]
    assert [d.attempt for d in first + second] == [1] * 4
    assert bodies(await log.fetch("b", "one", 10, 0)) == [b"0", b"1", b"2", b"3"]


async def test_a_group_begins_where_it_is_told_and_only_once(make_log):
    log = make_log()
    positions = await log.append(numbered(0, 3))
    await log.open_group("newest", NEWEST)
    await log.open_group("after", positions[0])
    await log.open_group("after", OLDEST)
    await log.append(numbered(3, 1))
    assert bodies(await log.fetch("newest", "c", 10, 0)) == [b"3"]
    assert bodies(await log.fetch("after", "c", 10, 0)) == [b"1", b"2", b"3"]


async def test_fetching_waits_for_more(make_log):
    log = make_log()
    await log.open_group("g", NEWEST)
    fetching = asyncio.create_task(log.fetch("g", "c", 10, 0.4))
    await asyncio.sleep(0)
    await log.append(numbered(0, 1))
    assert bodies(await fetching) == [b"0"]


async def test_what_is_settled_is_nobodys_any_more(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 3))
    one, _, three = await log.fetch("g", "c", 10, 0)
    await log.settle("g", [one.entry.position, three.entry.position])
    left = await log.take_over("g", "other", 10, 0.0)
    assert bodies(left) == [b"1"]
    assert left[0].attempt == 2
    assert await log.backlog("g") == Backlog(0, 1, 0)


async def test_what_is_held_is_not_taken_over(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 2))
    held, let_go = await log.fetch("g", "c", 10, 0)
    await log.give_back("g", "c", {let_go.entry.position: 0})
    await log.hold("g", "c", [held.entry.position])
    taken = await log.take_over("g", "other", 10, 60.0)
    assert bodies(taken) == [b"1"]
    assert taken[0].attempt == 1, "it had not been tried"


async def test_holding_does_not_steal_back(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 1))
    (mine,) = await log.fetch("g", "c", 10, 0)
    (theirs,) = await log.take_over("g", "other", 10, 0.0)
    await log.hold("g", "c", [mine.entry.position])
    assert await log.again("g", "c", mine.entry.position) is None
    again = await log.again("g", "other", theirs.entry.position)
    assert again is not None
    assert again.attempt == 3


async def test_another_attempt_is_counted(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 1))
    (delivery,) = await log.fetch("g", "c", 10, 0)
    again = await log.again("g", "c", delivery.entry.position)
    assert again is not None
    assert (again.entry.body, again.attempt) == (b"0", 2)
    await log.settle("g", [delivery.entry.position])
    assert await log.again("g", "c", delivery.entry.position) is None


async def test_dead_letters_are_kept_driven_again_and_forgotten(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.open_group("h", OLDEST)
    await log.append(numbered(0, 3))
    for delivery in await log.fetch("g", "c", 10, 0):
        await log.bury("g", delivery, f"no {delivery.entry.body.decode()}")
    assert await log.take_over("g", "c", 10, 0.0) == []
    letters = await log.dead_letters("g", 10)
    assert [(d.body, d.reason, d.attempts) for d in letters] == [
        (b"0", "no 0", 1),
        (b"1", "no 1", 1),
        (b"2", "no 2", 1),
    ]
    assert [d.body for d in await log.dead_letters("g", 1, letters[0].id)] == [b"1"]
    assert await log.dead_letters("h", 10) == []
    assert await log.redrive("g", [letters[1].id, letters[1].id, "1-1"]) == 1
    assert await log.discard("g", [letters[0].id]) == 1
    assert [d.body for d in await log.dead_letters("g", 10)] == [b"2"]
    (again,) = await log.fetch("g", "c", 10, 0)
    assert (again.entry.body, again.entry.group, again.attempt) == (b"1", "g", 1)


async def test_what_was_buried_by_another_is_not_buried_twice(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 1))
    (delivery,) = await log.fetch("g", "c", 10, 0)
    await log.bury("g", delivery, "once")
    await log.bury("g", delivery, "twice")
    assert [d.reason for d in await log.dead_letters("g", 10)] == ["once"]


async def test_what_a_group_did_not_fetch_in_time_is_told(make_log):
    log = make_log(events=100)
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 10))
    await log.fetch("g", "c", 5, 0)
    for first in range(10, 1010, 100):
        await log.append(numbered(first, 100))
    kept = len(await log.read(OLDEST, 2000))
    assert 100 <= kept <= 200
    backlog = await log.backlog("g")
    assert backlog == Backlog(waiting=kept, pending=5, lost=1010 - 5 - kept)


async def test_what_is_closed_says_so(make_log):
    log = make_log()
    await log.open_group("g", OLDEST)
    await log.close()
    for attempt in (
        log.append(numbered(0, 1)),
        log.read(OLDEST, 1),
        log.fetch("g", "c", 1, 0.0),
        log.dead_letters("g", 1),
    ):
        with pytest.raises(EventsUnavailable, match="closed"):
            await attempt


async def test_memory_keeps_by_age_and_forgets_keys():
    now = 1000.0
    log = MemoryLog(Retention(seconds=60, dedupe_s=10), clock=lambda: now)
    await log.append(numbered(0, 2))
    now = 1011.0
    await log.append(numbered(1, 1))
    assert bodies(await log.read(OLDEST, 10)) == [b"0", b"1", b"1"]
    now = 1061.0
    await log.append(numbered(2, 1))
    assert bodies(await log.read(OLDEST, 10)) == [b"1", b"2"]


async def test_memory_positions_grow_though_the_clock_is_set_back():
    now = 1000.0
    log = MemoryLog(clock=lambda: now)
    (first,) = await log.append(numbered(0, 1))
    now = 900.0
    (second,) = await log.append(numbered(1, 1))
    assert order(second) > order(first)
    assert bodies(await log.read(first, 10)) == [b"1"]


async def test_memory_takes_over_only_what_is_idle():
    now = 1000.0
    log = MemoryLog(clock=lambda: now)
    await log.open_group("g", OLDEST)
    await log.append(numbered(0, 1))
    await log.fetch("g", "c", 1, 0)
    now = 1029.9
    assert await log.take_over("g", "other", 10, 30.0) == []
    now = 1030.0
    assert bodies(await log.take_over("g", "other", 10, 30.0)) == [b"0"]


@pytest.mark.parametrize("field", ["events", "seconds", "dedupe_s", "dead_letters"])
def test_retention_names_what_is_wrong(field):
    with pytest.raises(ValueError, match=f"^{field}:"):
        Retention(**{field: 0})
