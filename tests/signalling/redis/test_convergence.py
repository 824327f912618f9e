"""Three servers over a real Redis while everything fails, in an order that a seed chooses.

Each test is a list of steps. Two kinds: as long as only Redis fails, whatever a server was told is
in the log takes place at every server, once, in one order. Where servers are cut off or die too,
some of it may be undone, but all that are left end with one and the same room, and no server
carries an event out twice.
"""

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from signalling.bus import BusUnavailable
from signalling.redis.bus import RedisBus
from signalling.redis.settings import RedisSettings
from signalling.rooms import Say, Tick

from . import server as redis_server
from .replica import Copy, answer, away, bye, eventually, host, same, viewer

SETTINGS = {
    "lease_s": 0.9,
    "tick_s": 0.1,
    "timeout_s": 0.25,
    "patience_s": 8.0,
}
STEPS = 8


class Party:
    """One server and its clients, who do things at random."""

    def __init__(self, name, seed):
        self.name = name
        self.dice = random.Random(f"{seed}{name}")
        self.copy = Copy()
        self.links = [f"{name}0"]
        self.confirmed = []
        """What the bus took, in the order in which it was published."""
        self._count = 0
        self._stopped = False

    async def enter(self, url, clients, **changes):
        self.bus = await RedisBus.connect(RedisSettings(url=url, **SETTINGS, **changes))
        self.client = clients[-1]
        await self.bus.subscribe("r", self.copy)

    async def begin(self):
        join = host if self.name == "a" else viewer
        await self._publish(join(self.links[0]))
        self._task = asyncio.create_task(self._live())

    async def _live(self):
        while not self._stopped:
            await asyncio.gather(*(self._publish(event) for event in self._some()))
            await asyncio.sleep(0.004)

    def _some(self):
        """One to five events at a time."""
        for _ in range(self.dice.randint(1, 5)):
            self._count += 1
            what = self.dice.random()
            if what < 0.06 and len(self.links) < 6:
                self.links.append(f"{self.name}{self._count}")
                yield viewer(self.links[-1])
            elif what < 0.12 and len(self.links) > 1:
                gone = self.links.pop(self.dice.randrange(1, len(self.links)))
                yield self.dice.choice([away, bye])(gone)
            elif what < 0.2:
                yield Tick(0.0)  # due everywhere: each server says so
            else:
                yield answer(self.dice.choice(self.links), "a0", f"{self.name}-{self._count}")

    async def _publish(self, event):
        with contextlib.suppress(BusUnavailable):
            await self.bus.publish("r", event)
            self.confirmed.append(event)

    async def rest(self):
        self._stopped = True
        await self._task

    async def die(self):
        """As kill -9 does: nobody hears of this server any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.client.cut = True
        await self.bus.close()


async def meet(parties, url, clients, **changes):
    for party in parties:
        await party.enter(url, clients, **changes)
    for party in parties:
        await party.begin()


async def converged(parties):
    """Until Redis is there for all, and all have the same room."""
    for party in parties:
        await party.rest()
    await eventually(lambda: all(party.bus.available for party in parties))
    ends = [viewer(f"{party.name}-end") for party in parties]
    for party, end in zip(parties, ends, strict=True):
        await party.bus.publish("r", end)
    for party in parties:
        await party.copy.until(lambda copy: all(end in copy.events for end in ends))
    await same(*(party.copy for party in parties))


def check_nothing_twice(parties):
    for party in parties:
        said = Counter(text for text in party.copy.texts)
        assert [text for text, times in said.items() if times > 1] == []


async def redis_fails(redis, dice, clients):
    """One thing that happens to Redis."""
    match dice.choice(["kill", "pause", "flush", "listeners", "one listener", "nothing"]):
        case "kill":
            redis.kill()
            await asyncio.sleep(dice.choice([0.0, 0.1]))
            redis.start()
        case "pause":
            redis.pause()
            await asyncio.sleep(dice.choice([0.05, 0.4]))
            redis.resume()
        case "flush":
            # Servers do not lose their connections and find it out one by one.
            with redis.client() as client:
                client.flushall()
        case "listeners":
            with redis.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        case "one listener":
            await dice.choice(clients).drop_listeners()
    await asyncio.sleep(dice.random() * 0.2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [[], ["appendonly yes"]], ids=["forgetful", "with its data"])
async def test_all_that_was_confirmed_takes_place_once_whatever_redis_does(
    tmp_path, clients, seed, options
):
    dice = random.Random(seed)
    parties = [Party(name, seed) for name in "abc"]
    with redis_server.single(tmp_path / "redis", *options) as redis:
        await meet(parties, redis.url, clients)
        try:
            for _ in range(STEPS):
                await redis_fails(redis, dice, clients)
            await converged(parties)
            check_nothing_twice(parties)
            first = parties[0].copy
            for party in parties:
                said = [event.message.sdp for event in party.confirmed if isinstance(event, Say)]
                assert [text for text in first.texts if text in set(said)] == said
                assert party.copy.texts == first.texts
                assert party.copy.events == first.events
                assert party.copy.restored == (party is not parties[0])  # when it came
        finally:
            for party in parties:
                await party.bus.close()


@pytest.mark.parametrize("seed", range(3))
async def test_servers_that_are_cut_off_or_die_end_with_one_room(tmp_path, clients, seed):
    dice = random.Random(seed)
    names = iter("abcdefghijklmnopqrstuvwxyz")
    parties = [Party(next(names), seed) for _ in range(3)]
    busy = {"snapshot_s": 0.05, "log_length": 256}
    with redis_server.single(tmp_path / "redis") as redis:
        await meet(parties, redis.url, clients, **busy)
        try:
            for _ in range(STEPS):
                match dice.choice(["redis", "cut", "die"]):
                    case "redis":
                        await redis_fails(redis, dice, [party.client for party in parties])
                    case "cut":
                        client = dice.choice(parties).client
                        await client.drop()
                        await asyncio.sleep(dice.choice([0.1, 0.5, 1.5]))
                        client.cut = False
                    case "die":
                        dead = parties.pop(dice.randrange(3))
                        await dead.die()
                        await eventually(lambda: any(party.bus.available for party in parties))
                        parties.append(Party(next(names), seed))
                        await meet(parties[-1:], redis.url, clients, **busy)
            await converged(parties)
            check_nothing_twice(parties)
        finally:
            for party in parties:
                await party.bus.close()
