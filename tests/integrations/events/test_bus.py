import asyncio
from datetime import UTC, datetime

import pytest

from integrations.events import (
    OLDEST,
    BusSettings,
    Event,
    EventBus,
    EventError,
    EventsUnavailable,
    MemoryLog,
    Route,
    SubscriptionSettings,
    in_room,
)
from integrations.events.log import Appended
from integrations.events.types import StreamEnded, StreamStarted, ViewerJoined

from .waiting import Handled, until

SOURCE = "/signalling/test"
QUICK = SubscriptionSettings(start=OLDEST, retry_s=0.01, attempts=3, take_over_s=0.3)


def started(room, **more):
    return Event.of(StreamStarted(room=room), source=SOURCE, **more)


@pytest.fixture
async def bus(make_log):
    async with EventBus(make_log()) as bus:
        yield bus


async def test_what_is_published_is_handled_as_it_was(bus):
    handled = Handled()
    bus.subscribe("g", handled, settings=QUICK)
    event = Event.of(
        ViewerJoined(room="den", actor="Zoë", peer="p1", role="viewer"),
        source=SOURCE,
        at=1_700_000_000.5,
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )
    await bus.publish(event)
    await handled.until(1)
    assert handled == [event]


async def test_routes_by_type_and_filter(bus):
    streams, den = Handled(), Handled()
    bus.subscribe("streams", streams, Route(("stream.*",)), QUICK)
    bus.subscribe("den", den, Route(where=in_room("den")), QUICK)
    joined = Event.of(ViewerJoined(room="den"), source=SOURCE)
    await bus.publish(started("den"), joined, started("arena"))
    await streams.until(2)
    await den.until(2)
    assert streams.rooms == ["den", "arena"]
    assert [event.type for event in den] == ["stream.started", "viewer.joined"]


async def test_consumers_of_a_group_share_and_groups_do_not(bus):
    one, two, other = Handled(), Handled(), Handled()
    few = SubscriptionSettings(start=OLDEST, prefetch=1)
    bus.subscribe("shared", one, settings=few)
    bus.subscribe("shared", two, settings=few)
    bus.subscribe("other", other, settings=QUICK)
    await bus.publish(*(started(f"r{n}") for n in range(40)))
    await other.until(40)
    await until(lambda: len(one) + len(two) >= 40)
    assert other.rooms == [f"r{n}" for n in range(40)]
    assert sorted(one.rooms + two.rooms) == sorted(other.rooms)
    assert one
    assert two


async def test_events_are_handled_in_order_though_one_fails_at_first(bus):
    handled = Handled(fail=2)
    subscription = bus.subscribe("g", handled, settings=QUICK)
    await bus.publish(*(started(f"r{n}") for n in range(5)))
    await handled.until(5)
    assert handled.rooms == ["r0", "r1", "r2", "r3", "r4"]
    assert (subscription.handled, subscription.failures, subscription.dead) == (5, 2, 0)


async def test_a_hopeless_event_becomes_a_dead_letter_and_can_be_driven_again(bus):
    handled, other = Handled(fail=3), Handled()
    subscription = bus.subscribe("g", handled, settings=QUICK)
    bus.subscribe("other", other, settings=QUICK)
    await bus.publish(started("bad"), started("good"))
    await handled.until(1)
    assert handled.rooms == ["good"]
    (letter,) = await bus.dead_letters("g")
    assert (letter.reason, letter.attempts) == ("RuntimeError: not now", 3)
    assert subscription.dead == 1
    assert await bus.redrive("g", [letter.id]) == 1
    await handled.until(2)
    assert handled.rooms == ["good", "bad"]
    assert await bus.dead_letters("g") == []
    await bus.publish(started("last"))
    await other.until(3)
    assert other.rooms == ["bad", "good", "last"], "driven again for one group alone"


async def test_what_is_no_event_is_given_up_at_once(bus):
    handled = Handled()
    bus.subscribe("g", handled, settings=QUICK)
    await bus.log.append([Appended("x", b"{not json")])
    await bus.publish(started("fine"))
    await handled.until(1)
    (letter,) = await bus.dead_letters("g")
    assert letter.body == b"{not json"
    assert letter.reason.startswith("no event: ")


async def test_publishing_again_is_harmless(bus):
    handled = Handled()
    bus.subscribe("g", handled, settings=QUICK)
    event, last = started("den"), started("last")
    assert await bus.publish(event) == await bus.publish(event)
    await bus.publish(last)
    await handled.until(2)
    assert handled.rooms == ["den", "last"]


async def test_a_redelivered_event_is_not_handled_twice(bus):
    """The log forgot that it was settled: another copy of the same event comes."""
    handled = Handled()
    subscription = bus.subscribe("g", handled, settings=QUICK)
    event = started("den")
    await bus.publish(event)
    await handled.until(1)
    body = (await bus.log.read(OLDEST, 1))[0].body
    await bus.log.append([Appended("another key", body)])
    await bus.publish(started("last"))
    await handled.until(2)
    assert handled.rooms == ["den", "last"]
    assert subscription.duplicates == 1


async def test_what_a_lost_consumer_had_is_taken_over(bus):
    await bus.log.open_group("g", OLDEST)
    await bus.publish(started("den"))
    assert len(await bus.log.fetch("g", "dies", 1, 0)) == 1
    handled = Handled()
    bus.subscribe("g", handled, settings=QUICK)
    await handled.until(1)
    assert handled.rooms == ["den"]
    await until(lambda: settled(bus, "g"))


async def settled(bus, group):
    backlog = await bus.backlog(group)
    return (backlog.waiting, backlog.pending) == (0, 0)


async def test_an_event_that_kills_its_consumers_is_given_up(bus):
    await bus.log.open_group("g", OLDEST)
    await bus.publish(started("den"))
    await bus.log.fetch("g", "dies1", 1, 0)
    for n in (2, 3):
        await bus.log.take_over("g", f"dies{n}", 1, 0.0)
    handled = Handled()
    bus.subscribe("g", handled, settings=QUICK)
    await bus.publish(started("next"))
    await handled.until(1)
    await until(lambda: bus.dead_letters("g"))
    assert handled.rooms == ["next"]


async def test_a_slow_handler_is_not_taken_for_dead(bus):
    release = asyncio.Event()
    seen = []

    async def slow(event):
        seen.append(event.room)
        await release.wait()

    bus.subscribe("g", slow, settings=QUICK)
    await bus.publish(started("den"))
    other = Handled()
    await until(lambda: bool(seen))
    looks, take_over = [], bus.log.take_over

    async def counted(*arguments):
        looks.append(arguments)
        return await take_over(*arguments)

    bus.log.take_over = counted
    second = bus.subscribe("g", other, settings=QUICK)
    # Both look three times in take_over_s: that is over by then.
    await until(lambda: len(looks) >= 10)
    release.set()
    await until(lambda: settled(bus, "g"))
    assert seen == ["den"]
    assert other == []
    assert second.handled == 0


async def test_no_more_handlers_than_asked_for_run_at_a_time(bus):
    running, most = 0, 0
    release = asyncio.Event()

    async def handle(event):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    settings = SubscriptionSettings(start=OLDEST, concurrency=3, prefetch=4)
    subscription = bus.subscribe("g", handle, settings=settings)
    await bus.publish(*(started(f"r{n}") for n in range(20)))
    await until(lambda: running == 3)
    backlog = await bus.backlog("g")
    assert backlog.pending <= 4, "what waits, waits in the log"
    release.set()
    await until(lambda: subscription.handled == 20)
    assert most == 3


async def test_closing_lets_a_handler_end_and_gives_the_rest_back(bus):
    release, seen = asyncio.Event(), []

    async def slow(event):
        seen.append(event.room)
        await release.wait()

    subscription = bus.subscribe("g", slow, settings=QUICK)
    await bus.publish(started("a"), started("b"))
    await until(lambda: bool(seen))
    closing = asyncio.create_task(subscription.close())
    await asyncio.sleep(0)
    release.set()
    await closing
    assert seen == ["a"]
    assert subscription.handled == 1
    assert (await bus.backlog("g")).pending == 1
    handled = Handled()
    # At once: nobody has to wait until the old consumer counts as dead.
    patient = SubscriptionSettings(start=OLDEST, take_over_s=600)
    bus.subscribe("g", handled, settings=patient)
    await handled.until(1)
    assert handled.rooms == ["b"]


async def test_replays_from_a_moment_and_from_a_position(bus):
    first = await bus.publish(started("a"), started("b"))
    milliseconds = int(first[-1].partition("-")[0])
    await until(lambda: time_is_past(milliseconds))
    third = await bus.publish(started("c"), Event.of(StreamEnded(room="c"), source=SOURCE))

    async def rooms(**how):
        return [event.room async for _, event in bus.replay(**how)]

    assert await rooms() == ["a", "b", "c", "c"]
    assert await rooms(after=first[0]) == ["b", "c", "c"]
    since = int(third[0].partition("-")[0]) / 1000
    assert await rooms(since=since) == ["c", "c"]
    assert await rooms(since=datetime.fromtimestamp(since, UTC)) == ["c", "c"]
    assert await rooms(route=Route(("*.ended",))) == ["c"]


def time_is_past(milliseconds):
    return datetime.now(UTC).timestamp() * 1000 >= milliseconds + 2


async def test_replay_can_go_on_with_what_comes(bus):
    await bus.publish(started("a"))
    rooms = []
    async for _, event in bus.replay(follow=True):
        rooms.append(event.room)
        if event.room == "b":
            break
        await bus.publish(started("b"))
    assert rooms == ["a", "b"]


async def test_nothing_is_kept_when_one_may_not_be_published(bus):
    wrong = Event.of(StreamStarted(room="x" * 70_000), source=SOURCE)
    with pytest.raises(EventError, match="bytes"):
        await bus.publish(started("a"), wrong)
    assert [e async for _, e in bus.replay()] == []


async def test_a_group_that_was_there_goes_on_where_it_was(make_log):
    log = make_log()
    async with EventBus(log) as bus:
        first = Handled()
        subscription = bus.subscribe("g", first, settings=QUICK)
        await bus.publish(started("a"))
        await first.until(1)
        await subscription.close()
        await bus.publish(started("b"))
        second = Handled()
        bus.subscribe("g", second, settings=QUICK)
        await second.until(1)
        assert second.rooms == ["b"]


class AwayLog(MemoryLog):
    """Is away for a number of calls."""

    def __init__(self, away):
        super().__init__()
        self.away = away

    async def append(self, events):
        if self.away > 0:
            self.away -= 1
            raise EventsUnavailable("away")
        return await super().append(events)

    async def fetch(self, *arguments):
        if self.away > 0:
            self.away -= 1
            raise EventsUnavailable("away")
        return await super().fetch(*arguments)


async def test_publishing_outlasts_an_outage_but_not_any():
    async with EventBus(AwayLog(3)) as bus:
        await bus.publish(started("a"))
        assert [e.room async for _, e in bus.replay()] == ["a"]
    async with EventBus(AwayLog(1000), BusSettings(patience_s=0.2)) as bus:
        with pytest.raises(EventsUnavailable):
            await bus.publish(started("a"))


async def test_a_subscription_outlasts_an_outage():
    async with EventBus(AwayLog(0)) as bus:
        handled = Handled()
        bus.subscribe("g", handled, settings=QUICK)
        bus.log.away = 2
        await bus.publish(started("a"))
        await handled.until(1)
        assert bus.log.away == 0


async def test_what_handlers_are_wrapped_in_sees_each_event_once():
    order = []

    def layer(name):
        async def around(event, inside):
            order.append(f"{name} in")
            await inside(event)
            order.append(f"{name} out")

        return around

    async with EventBus(MemoryLog(), incoming=[layer("a"), layer("b")]) as bus:
        handled = Handled()
        bus.subscribe("g", handled, settings=QUICK)
        await bus.publish(started("x"))
        await until(lambda: len(order) == 4)
    assert order == ["a in", "b in", "b out", "a out"]


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "{tag}"])
async def test_a_groups_name_is_checked(name):
    async with EventBus(MemoryLog()) as bus:
        with pytest.raises(ValueError, match="group"):
            bus.subscribe(name, Handled())


@pytest.mark.parametrize(
    "field", ["prefetch", "concurrency", "attempts", "retry_s", "retry_most_s", "take_over_s"]
)
def test_settings_name_what_is_wrong(field):
    with pytest.raises(ValueError, match=f"^{field}:"):
        SubscriptionSettings(**{field: 0})
