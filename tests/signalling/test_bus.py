"""What every bus must do; a new implementation joins the parameters of ``bus``."""

import pytest

from signalling.bus import MemoryBus
from signalling.messages import Answer
from signalling.rooms import Join, Leave, Relay


@pytest.fixture(params=[MemoryBus])
async def bus(request):
    bus = request.param()
    yield bus
    await bus.close()


async def test_every_subscriber_gets_every_event_in_one_order(bus):
    first, second = [], []
    await bus.subscribe("r", first.append)
    await bus.subscribe("r", second.append)
    events = [Join("h", "host"), Join("v", "viewer"), Relay("v", Answer("h", "s"))]
    for event in events:
        await bus.publish("r", event)
    assert first == second == events


async def test_rooms_are_apart(bus):
    seen = []
    await bus.subscribe("r", seen.append)
    await bus.publish("other", Join("h", "host"))
    assert seen == []


async def test_who_subscribes_late_learns_who_is_in_oldest_first(bus):
    for event in (
        Join("h", "host"),
        Join("gone", "viewer"),
        Join("v", "viewer", "Vi"),
        Relay("v", Answer("h", "s")),
        Leave("gone", "bye"),
    ):
        await bus.publish("r", event)
    seen = []
    await bus.subscribe("r", seen.append)
    assert seen == [Join("h", "host"), Join("v", "viewer", "Vi")]
    await bus.publish("r", Leave("v", "lost"))
    assert seen[2:] == [Leave("v", "lost")]


async def test_a_closed_subscription_gets_nothing_more(bus):
    closed, kept = [], []
    subscription = await bus.subscribe("r", closed.append)
    await bus.subscribe("r", kept.append)
    await subscription.close()
    await subscription.close()
    await bus.publish("r", Join("h", "host"))
    assert closed == []
    assert kept == [Join("h", "host")]


async def test_a_room_that_all_have_left_leaves_nothing_behind():
    bus = MemoryBus()
    subscription = await bus.subscribe("r", lambda event: None)
    await bus.publish("r", Join("h", "host"))
    await bus.publish("r", Leave("h", "bye"))
    await subscription.close()
    await bus.publish("nobody", Relay("x", Answer("y", "s")))
    assert not bus._rooms
