"""The log in Redis when Redis dies, comes back, moves, and is shared by strangers."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from integrations.events import (
    OLDEST,
    BusSettings,
    Event,
    EventBus,
    EventsUnavailable,
    RedisLog,
    Route,
    SubscriptionSettings,
)
from integrations.events.types import StreamStarted
from signalling.redis.settings import RedisSettings
from tests.signalling.redis import server as redis_server

from .waiting import Handled, until

DOCS = Path(__file__).parents[3] / "docs"
DURABLE = ("appendonly yes", "appendfsync always")
GROUP = SubscriptionSettings(start=OLDEST, take_over_s=1.0, retry_s=0.01)
PATIENT = BusSettings(patience_s=20.0)


def started(room):
    return Event.of(StreamStarted(room=room), source="/signalling/a")


def bus_on(url, **changes):
    return EventBus(RedisLog(RedisSettings(url=url, **changes)), PATIENT)


async def test_nothing_that_was_confirmed_is_lost_when_redis_is_killed(tmp_path):
    with redis_server.single(tmp_path / "redis", *DURABLE) as redis:
        async with bus_on(redis.url) as publisher, bus_on(redis.url) as subscriber:
            handled, confirmed = Handled(), []
            subscription = subscriber.subscribe("g", handled, settings=GROUP)

            async def publish():
                for n in range(400):
                    await publisher.publish(started(f"r{n}"))
                    confirmed.append(f"r{n}")
                    await asyncio.sleep(0.002)

            publishing = asyncio.create_task(publish())
            for mark in (100, 250):
                await until(lambda mark=mark: len(confirmed) >= mark)
                redis.kill()
                await asyncio.to_thread(redis.start)
            await publishing
            await handled.until_true(lambda: set(confirmed) <= set(handled.rooms))
            assert len(handled.rooms) == len(set(handled.rooms)), "none twice in one process"
            assert subscription.failures == 0
            assert [e.room async for _, e in publisher.replay()] == confirmed, "none kept twice"


async def test_an_answer_that_is_lost_makes_no_second_event(redis_url):
    """The connection breaks after Redis has done what it was told: it is told again."""
    log = RedisLog(RedisSettings(url=redis_url), name="answers")
    async with EventBus(log, PATIENT) as bus:
        await bus.publish(started("first"))
        run, lost = log._client.run, []

        async def run_and_lose(*arguments):
            answer = await run(*arguments)
            if not lost:
                lost.append(answer)
                raise RedisConnectionError("reset by peer")
            return answer

        log._client.run = run_and_lose
        positions = await bus.publish(started("second"))
        assert [position.encode() for position in positions] == lost[0]
        assert [e.room async for _, e in bus.replay()] == ["first", "second"]


async def test_a_redis_that_comes_back_empty_goes_on_with_what_comes(tmp_path):
    with redis_server.single(tmp_path / "redis") as redis:
        async with bus_on(redis.url) as bus:
            handled = Handled()
            bus.subscribe("g", handled, settings=GROUP)
            await bus.publish(started("before"))
            await handled.until(1)
            redis.kill()
            await asyncio.to_thread(redis.start)
            await bus.publish(started("after"))
            await handled.until(2)
            assert handled.rooms == ["before", "after"]


async def test_while_redis_is_away_publishing_says_so(tmp_path):
    with redis_server.single(tmp_path / "redis") as redis:
        url = redis.url
        redis.kill()
        log = RedisLog(RedisSettings(url=url, timeout_s=0.2))
        async with EventBus(log, BusSettings(patience_s=0.1)) as bus:
            bus.subscribe("g", Handled())
            with pytest.raises(EventsUnavailable, match="Redis"):
                await bus.publish(started("a"))


async def test_what_a_killed_process_had_is_taken_over(tmp_path):
    with redis_server.single(tmp_path / "redis") as redis:
        dead = RedisLog(RedisSettings(url=redis.url))
        await dead.open_group("g", OLDEST)
        async with bus_on(redis.url) as bus:
            await bus.publish(*(started(f"r{n}") for n in range(5)))
            assert len(await dead.fetch("g", "dead", 3, 0)) == 3
            await dead.close()
            handled = Handled()
            bus.subscribe("g", handled, settings=GROUP)
            await handled.until(5)
            assert sorted(handled.rooms) == [f"r{n}" for n in range(5)]


async def test_through_sentinel(tmp_path):
    with redis_server.sentinels(tmp_path) as (url, primary, _replica):
        async with bus_on(url) as bus:
            handled = Handled()
            bus.subscribe("g", handled, settings=GROUP)
            await bus.publish(started("a"))
            await handled.until(1)
            primary.kill()
            await bus.publish(started("b"))
            await handled.until_true(lambda: "b" in handled.rooms)


async def test_in_a_cluster(tmp_path):
    with redis_server.cluster(tmp_path) as (url, _nodes):
        async with contextlib.AsyncExitStack() as stack:
            for name in ("one", "two", "three"):
                log = RedisLog(RedisSettings(url=url), name=name)
                bus = await stack.enter_async_context(EventBus(log, PATIENT))
                handled = Handled(fail=1)
                settings = SubscriptionSettings(start=OLDEST, attempts=1)
                subscription = bus.subscribe("g", handled, Route(("stream.*",)), settings)
                await bus.publish(started("bad"), started(name))
                await handled.until(1)
                assert handled.rooms == [name]
                await until(lambda of=subscription: of.dead == 1)
                (letter,) = await bus.dead_letters("g")
                assert await bus.redrive("g", [letter.id]) == 1
                await handled.until(2)
                assert [e.room async for _, e in bus.replay()] == ["bad", name]
                assert (await bus.backlog("g")).lost == 0


def documented(file, pattern):
    """A line of the documents."""
    text = (DOCS / file).read_text(encoding="utf-8")
    (line,) = re.findall(pattern, text, re.MULTILINE)
    return line


def user_of_rooms():
    return documented("operations.md", r"^user games .*$").replace("PASSWORD", "secret")


def more_for_subscribers():
    return documented("events.md", r"^\+xread .*$")


async def test_who_only_publishes_needs_no_more_than_the_rooms(tmp_path):
    options = (user_of_rooms(), "user default off")
    with redis_server.single(tmp_path / "redis", *options) as redis:
        async with bus_on(redis.url.replace("//", "//games:secret@")) as bus:
            (position,) = await bus.publish(started("a"))
            assert position


async def test_a_user_that_may_touch_the_prefix_alone_is_enough(tmp_path):
    user = f"{user_of_rooms()} {more_for_subscribers()}"
    with redis_server.single(tmp_path / "redis", user, "user default off") as redis:
        url = redis.url.replace("//", "//games:secret@")
        async with bus_on(url) as bus:
            handled = Handled(fail=1)
            settings = SubscriptionSettings(start=OLDEST, attempts=1, take_over_s=0.4)
            bus.subscribe("g", handled, settings=settings)
            await bus.publish(started("bad"), started("good"))
            await handled.until(1)
            await until(lambda: bus.dead_letters("g"))
            (letter,) = await bus.dead_letters("g")
            await bus.redrive("g", [letter.id])
            await handled.until(2)
            assert handled.rooms == ["good", "bad"]
            assert await bus.discard("g", [letter.id]) == 0
            assert (await bus.backlog("g")).waiting == 0
        async with EventBus(
            RedisLog(RedisSettings(url=url, prefix="other:")), BusSettings(patience_s=0.1)
        ) as stranger:
            with pytest.raises(EventsUnavailable, match=r"(?i)perm"):
                await stranger.publish(started("a"))


async def test_logs_of_other_names_share_nothing(tmp_path):
    with redis_server.single(tmp_path / "redis") as redis:
        settings = RedisSettings(url=redis.url)
        async with (
            EventBus(RedisLog(settings, name="a")) as a,
            EventBus(RedisLog(settings, name="b")) as b,
        ):
            await a.publish(started("in a"))
            assert [e.room async for _, e in b.replay()] == []
            with redis.client() as client:
                keys = sorted(key.decode() for key in client.scan_iter())
            assert all(key.startswith("playcast:events:{a}:") for key in keys)
            assert "playcast:events:{a}:log" in keys


@pytest.mark.parametrize("name", ["", "a b", "{x}", "x" * 65])
def test_a_name_is_checked(name):
    with pytest.raises(ValueError, match=r"^name:"):
        RedisLog(RedisSettings(url="redis://127.0.0.1"), name=name)
