"""Servers over a real Redis while everything fails, in an order that a seed chooses.

A schedule is checked against what docs/operations.md promises ("When something fails"). Rooms are
lists of events here, so that each copy says exactly what took place for it, and in which order.

- Always: all copies end as one and the same list; nothing is in it twice, and nothing is acted upon
  by two servers; what a server published is in the order in which it did so; a copy loses what it
  had only when its clients are told to join again; nobody is connected whose server does not say
  so; :meth:`RedisBus.publish` returns in time; no key, connection or task is left.
- ``strict``: every event that was confirmed is there. Nothing happens that the documents except:
  nobody dies, or comes anew, while Redis is away for somebody, and rooms wait for all who had them.
- otherwise: an event that was confirmed is missing only where its server has died, or has told its
  clients to join again since.

To run many: ``python -m tests.signalling.redis.stress --seeds 100``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

import msgspec

from signalling.bus import BusUnavailable
from signalling.messages import Answer
from signalling.redis.bus import RedisBus
from signalling.redis.client import RedisSettings, open_client
from signalling.redis.wire import encode_event
from signalling.rooms import Away, Join, Leave, RoomEvent, Say

from . import server as redis_server
from .cuttable import CuttableClient
from .replica import eventually

QUICK = {"lease_s": 0.6, "tick_s": 0.1, "timeout_s": 0.25}
PATIENT = {**QUICK, "settle_s": 20.0, "patience_s": 20.0}
HASTY = {**QUICK, "settle_s": 0.4, "patience_s": 1.0}
SLACK_S = 1.0
STEPS = 7

_read = msgspec.json.Decoder(list[RoomEvent]).decode


class Journal:
    """A :class:`signalling.bus.Replica` that is what it was told."""

    def __init__(self, apart=0):
        self.events = []
        self.mine = []
        self.apart = apart
        """How often this server's clients were told to join again."""
        self.wrong = []

    def deliver(self, event, mine):
        self.events.append(encode_event(event))
        if mine:
            self.mine.append(self.events[-1])

    def snapshot(self):
        return b"[" + b",".join(self.events) + b"]"

    def restore(self, snapshot):
        had, self.events = self.events, [encode_event(event) for event in _read(snapshot)]
        if had and not self.events:
            self.apart += 1
        elif self.events[: len(had)] != had:
            self.wrong.append(f"a state of {len(self.events)} events does not continue {len(had)}")


def replay(name, snapshot, events):
    return msgspec.json.encode(_read(snapshot) + list(events))


def empty(name):
    return b"[]"


class Party:
    """One server and its clients, who do things at random."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.dice = random.Random(f"{world.seed}{name}")
        self.skew_s = self.dice.uniform(-5.0, 5.0)
        self.journal = Journal()
        self.links = set()
        self.unsure = set()
        """Links that may be in or not."""
        self.confirmed = {}
        """Its events, in the order in which they were published, with :attr:`Journal.apart` of
        when they were confirmed, or ``None``."""
        self.under_way = set()
        self.slowest_s = 0.0
        self._count = 0
        self._life = None

    async def come(self):
        self.bus = await RedisBus.connect(self.world.settings, clock=self.clock)
        self.client = self.world.clients[-1]

    async def enter(self):
        self.subscription = await self.bus.subscribe("r", self.journal)
        await self.publish(self._join())

    def begin(self):
        self._life = asyncio.create_task(self._live())

    @property
    def room(self):
        return self.bus._rooms["r"]

    async def rest(self):
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        if self.under_way:
            await asyncio.wait(self.under_way)

    def clock(self):
        return self.world.now + self.skew_s

    async def _live(self):
        while True:
            if len(self.under_way) < 64:
                for _ in range(self.dice.randint(1, 4)):
                    task = asyncio.create_task(self.publish(self._some()))
                    self.under_way.add(task)
                    task.add_done_callback(self.under_way.discard)
            await asyncio.sleep(self.dice.choice([0.0, 0.002, 0.01, 0.05]))

    def _name(self):
        self._count += 1
        return f"{self.name}{self._count}"

    def _join(self):
        return Join(link=self._name(), at=self.clock(), subject="s", role="viewer")

    def _leave(self, link):
        self.links.discard(link)
        if self.dice.random() < 0.5:
            return Leave(link, self.clock(), "bye")
        return Away(link, self.clock())

    def _some(self):
        what = self.dice.random()
        if what < 0.1 and len(self.links) < 6:
            return self._join()
        if what < 0.2 and len(self.links) > 1:
            return self._leave(self.dice.choice(sorted(self.links)))
        return Say(self.name, self.clock(), Answer("h", self._name()))

    async def publish(self, event):
        link = None if isinstance(event, Say) else event.link
        if link:
            self.unsure.add(link)
        key, began = encode_event(event), time.monotonic()
        self.confirmed[key] = None
        try:
            await self.bus.publish("r", event)
        except BusUnavailable:
            return
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.confirmed[key] = self.journal.apart
        self.unsure.discard(link)
        if isinstance(event, Join):
            self.links.add(link)

    async def tidy(self):
        """Who may be in or not is out."""
        for link in sorted(self.unsure):
            await self.publish(self._leave(link))

    async def again(self):
        """The last client leaves, and another comes at once."""
        leaves = [self.publish(self._leave(link)) for link in sorted(self.links)]
        await asyncio.gather(*leaves, self.subscription.close())
        # Nobody may have kept the room.
        self.journal = Journal(self.journal.apart + (not self.world.strict))
        await self.enter()


class World:
    """All servers, their Redis, and the time that events carry."""

    def __init__(self, seed, folder, *, strict):
        self.seed = seed
        self.strict = strict
        self.dice = random.Random(seed)
        self.keeps = self.dice.choice(["nothing", "everything", "what was saved"])
        options = {"everything": ["appendonly yes"], "what was saved": [f"dir {folder}"]}
        self.redis = redis_server.RedisServer(folder, *options.get(self.keeps, []))
        self.settings = RedisSettings(
            url=self.redis.url,
            log_length=self.dice.choice([4, 16, 256]),
            snapshot_s=self.dice.choice([0.01, 0.2, 60.0]),
            **(PATIENT if strict else HASTY),
        )
        self.later_s = 0.0
        self.clients = []
        self.parties = []
        self.gone = []
        self.journals = []
        self.history = [self.keeps, self.settings.log_length, self.settings.snapshot_s]
        self._names = iter("abcdefghijklmnopqrstuvwxyz")

    @property
    def now(self):
        return time.time() + self.later_s

    def open_client(self, settings):
        self.clients.append(CuttableClient(open_client(settings)))
        return self.clients[-1]

    async def run(self):
        """The whole schedule. Raises :class:`AssertionError`."""
        self.redis.start()
        try:
            for _ in range(2):
                await self.newcomer()
            if self.strict:
                await self.all_know_each_other()
            for _ in range(STEPS):
                await self.step()
            await self.converge()
            self.check()
            await self.check_redis()
        finally:
            for party in self.parties:
                await party.rest()
                await party.bus.close()
        await self.check_what_is_left()
        self.redis.kill()

    # What happens --------------------------------------------------------------------------------

    async def step(self):
        to_redis = ["kill", "save", "pause", "flush", "listeners", "listener", "cut", "quiet"]
        word = self.dice.choice([*to_redis, "come", "leave", "die", "again"])
        self.history.append(word)
        match word:
            case "kill":
                self.redis.kill()
                await self.wait(0.0, 0.1, 0.4)
                self.redis.start()
            case "save" if self.keeps == "what was saved":
                self.ask("SAVE")
            case "pause":
                self.redis.pause()
                await self.wait(0.05, 0.4)
                self.redis.resume()
            case "flush":
                self.ask("FLUSHALL")  # which servers find out one by one
            case "listeners":
                self.ask("CLIENT", "KILL", "TYPE", "pubsub")
            case "listener":
                await self.dice.choice(self.parties).client.drop_listeners()
            case "cut":
                await self.cut()
            case "quiet":
                self.later_s += self.dice.choice([20.0, 600.0])
            case "come" | "leave" | "die" | "again":
                if self.strict:
                    await self.calm()
                await self.come_or_go(word)
                if self.strict:
                    await self.all_know_each_other()
        await self.wait(0.0, 0.02, 0.1, 0.2)

    async def cut(self):
        client = self.dice.choice(self.parties).client
        await client.drop()
        await self.wait(0.05, 0.3, 0.8)
        what = self.dice.choice(["flush", "come", "", ""])
        self.history.append(what)
        if what == "flush":
            self.ask("FLUSHALL")
            await self.wait(0.0, 0.3)
        elif what == "come" and not self.strict:
            await self.newcomer()
        client.cut = False

    async def come_or_go(self, word):
        if word == "come" or len(self.parties) < 2:
            if len(self.parties) < 4:
                await self.newcomer()
            return
        party = self.dice.choice(self.parties)
        await party.rest()
        if word == "again":
            with contextlib.suppress(BusUnavailable):
                await party.again()
                self.journals.append(party.journal)
                party.begin()
                return
        self.parties.remove(party)
        self.gone.append(party)
        if word == "die":
            party.client.cut = True  # as kill -9 does: nobody hears of it any more
        await party.bus.close()

    async def newcomer(self):
        party = Party(self, next(self._names))
        with contextlib.suppress(BusUnavailable):
            await party.come()
            try:
                await party.enter()
            except BusUnavailable:
                await party.bus.close()
                raise
            self.parties.append(party)
            self.journals.append(party.journal)
            party.begin()

    def ask(self, *words):
        with self.redis.client() as client:
            return client.execute_command(*words)

    async def wait(self, *choices):
        await asyncio.sleep(self.dice.choice(choices))

    async def all_know_each_other(self):
        """Who does not know yet that another has come may go on alone without it."""
        await self.calm()
        for party in self.parties:
            party.begin()

    async def calm(self):
        """Until Redis is there for everybody, and all have the same, and none but they."""
        await asyncio.gather(*(party.rest() for party in self.parties))
        await eventually(lambda: all(party.bus.available for party in self.parties))
        await eventually(self._is_one_room)

    def _is_one_room(self):
        first, *others = self.parties
        if any(other.journal.events != first.journal.events for other in others):
            return False
        with self.redis.client() as client:
            n = int(client.hget("playcast:{r}:meta", "n") or 0)
            entered = client.hgetall("playcast:{r}:servers")
        there = {name.decode() for name, token in entered.items() if token != b"-"}
        names = {party.bus._server.name for party in self.parties}
        known = [there, *(party.room._others for party in self.parties)]
        return n == len(first.journal.events) and all(these == names for these in known)

    async def converge(self):
        await asyncio.gather(*(party.rest() for party in self.parties))
        if not self.parties:
            await self.newcomer()
            await self.parties[0].rest()
        await eventually(lambda: all(party.bus.available for party in self.parties))
        for party in self.parties:
            while party.unsure:
                await party.tidy()
        await eventually(lambda: not self._ghosts())
        await self.calm()

    def _ghosts(self):
        """Who is connected, and no server says so."""
        connected = set()
        for event in _read(self.parties[0].journal.snapshot()):
            match event:
                case Join(link=link):
                    connected.add(link)
                case Leave(link=link) | Away(link=link):
                    connected.discard(link)
        return connected.difference(*(party.links for party in self.parties))

    # What is promised ----------------------------------------------------------------------------

    def check(self):
        log = self.parties[0].journal.events
        places = {event: n for n, event in enumerate(log)}
        assert len(places) == len(log), "something took place twice"
        acted = [event for journal in self.journals for event in journal.mine]
        assert len(set(acted)) == len(acted), "two servers acted upon the same"
        for journal in self.journals:
            assert not journal.wrong, journal.wrong
        for party in self.parties + self.gone:
            assert party.slowest_s < self.settings.patience_s + SLACK_S
            said = [places[event] for event in party.confirmed if event in places]
            assert said == sorted(said), f"{party.name}: out of order"
        for party in self.parties + (self.gone if self.strict else []):
            missing = [
                event
                for event, apart in party.confirmed.items()
                if event not in places
                and apart is not None
                and (self.strict or apart == party.journal.apart)
            ]
            assert not missing, f"{party.name}: {len(missing)} are lost, the first {missing[0]}"
        if self.strict:
            assert not any(party.journal.apart for party in self.parties)

    async def check_redis(self):
        log = self.parties[0].journal.events
        names = {party.bus._server.name for party in self.parties}
        with self.redis.client() as client:
            key = "playcast:{r}:"
            assert int(client.hget(key + "meta", "n")) == len(log)
            kept = [fields[b"e"] for _, fields in client.xrange(key + "log")]
            assert kept == (log[-len(kept) :] if kept else [])
            assert {name.decode() for name in client.hvals(key + "links")} <= names
            await eventually(lambda: not client.exists(key + "waiting"))
            assert b"-" not in client.hvals(key + "servers")
            assert all(client.pttl(name) > 0 for name in client.keys(key + "*"))

    async def check_what_is_left(self):
        with self.redis.client() as client:
            assert not client.exists("playcast:{r}:servers", "playcast:{r}:links")
            assert not client.zcard("playcast:{.servers}:alive") or self.gone
            await eventually(lambda: len(client.client_list()) == 1)
        current = asyncio.current_task()
        await eventually(lambda: asyncio.all_tasks() == {current})


async def run(seed, folder, *, strict):
    """One schedule. Raises :class:`AssertionError`, with the schedule as a note."""
    world = World(seed, folder, strict=strict)
    with (
        mock.patch("signalling.redis.bus.open_client", world.open_client),
        mock.patch("signalling.redis.shared_room.replay", replay),
        mock.patch("signalling.redis.shared_room.empty", empty),
        mock.patch("signalling.redis.shared_room._SNAPSHOT_EVERY", 8),
    ):
        try:
            await world.run()
        except BaseException as error:
            error.add_note(f"seed {seed}, {'strict' if strict else 'hasty'}: {world.history}")
            raise
        finally:
            world.redis.kill()
    return world


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first (%(default)s)")
    parser.add_argument("--kind", choices=["strict", "hasty"], help="one kind only")
    parser.add_argument("--log", action="store_true", help="what the servers log")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.log else logging.CRITICAL)
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        for kind in [options.kind] if options.kind else ["strict", "hasty"]:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    world = asyncio.run(run(seed, Path(folder), strict=kind == "strict"))
                    outcome = f"{len(world.parties[0].journal.events)} events, {world.history}"
                except Exception as error:  # noqa: BLE001 - whatever it is, the next seed is tried
                    failed += 1
                    frames = traceback.extract_tb(error.__traceback__)
                    where = [frame for frame in frames if frame.filename == __file__][-1]
                    notes = "; ".join(getattr(error, "__notes__", []))
                    outcome = f"FAILED {type(error).__name__} {error} ({where.line}) {notes}"
            print(f"{kind} {seed}: {time.monotonic() - began:.1f} s, {outcome}", flush=True)
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
