"""Rooms over real Redis servers: what dies, comes back, moves, and what must survive that."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from websockets.asyncio.client import connect

from signalling.bus import BusUnavailable
from signalling.dev import DevIssuer
from signalling.messages import (
    Answer,
    Hello,
    Offer,
    PeerJoined,
    PeerLeft,
    Welcome,
    decode_server,
    encode,
)
from signalling.redis.bus import RedisBus
from signalling.redis.client import RedisSettings, open_client
from signalling.rooms import Join, Leave, Relay

from . import server as redis_server

ROOT = Path(__file__).parents[3]
DEADLINE_S = 20.0
RECOVERY_S = 2.0

HOST, VIEWER = Join("h", "host"), Join("v", "viewer")


@pytest.fixture
def redis(tmp_path):
    with redis_server.single(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def connected():
    """Makes buses, and closes them after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(url, **changes):
            bus = await RedisBus.connect(RedisSettings(url=url, **changes))
            stack.push_async_callback(bus.close)
            return bus

        yield connected


class Heard(list):
    """What a subscription delivered; can be waited for."""

    def __init__(self):
        self._more = asyncio.Event()

    def __call__(self, event):
        self.append(event)
        self._more.set()

    async def until(self, *events):
        async with asyncio.timeout(DEADLINE_S):
            while not all(event in self for event in events):
                self._more.clear()
                await self._more.wait()

    @property
    def membership(self):
        return [event for event in self if not isinstance(event, Relay)]

    def said_by(self, source):
        relays = [event for event in self if isinstance(event, Relay)]
        return [event.message.sdp for event in relays if event.source == source]


async def pair(here, there):
    """A host here, a viewer there, and what each server hears."""
    first, second = Heard(), Heard()
    await here.subscribe("r", first)
    await there.subscribe("r", second)
    await here.publish("r", HOST)
    await there.publish("r", VIEWER)
    for heard in (first, second):
        await heard.until(HOST, VIEWER)
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
            message = Answer(target, str(self.confirmed[source]))
            await bus.publish("r", Relay(source, message))
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

    async def check(self, *heard):
        for one in heard:
            for source, target in (("h", "v"), ("v", "h")):
                n = self.confirmed[source]
                await one.until(Relay(source, Answer(target, str(n - 1))))
                assert one.said_by(source) == [str(i) for i in range(n)]


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
        assert first.membership == second.membership == [HOST, VIEWER]
        late = Heard()
        await (await connected(redis.url)).subscribe("r", late)
        assert sorted(late, key=str) == [HOST, VIEWER]


async def test_a_newcomer_after_redis_lost_a_room_finds_its_peers(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    first, second = await pair(here, there)
    redis.kill()
    redis.start()
    newcomer = Join("n", "viewer")
    await there.publish("r", newcomer)
    await first.until(newcomer)
    await second.until(newcomer)
    assert first.membership == second.membership == [HOST, VIEWER, newcomer]


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
    assert first.membership == second.membership == [HOST, VIEWER]


async def test_a_frozen_redis_is_noticed_and_waited_for(redis, connected):
    here = await connected(redis.url, timeout_s=0.3)
    there = await connected(redis.url, timeout_s=0.3)
    first, second = await pair(here, there)
    talk = Talk(here, there)
    await talk.progress()
    redis.pause()
    async with asyncio.timeout(DEADLINE_S):
        while here.available or there.available:  # noqa: ASYNC110 - a state, not an event
            await asyncio.sleep(0.01)
    redis.resume()
    await talk.progress()
    await talk.stop()
    await talk.check(first, second)
    assert first.membership == second.membership == [HOST, VIEWER]


async def test_a_room_of_one_server_goes_on_without_redis(redis, connected):
    here, there = await connected(redis.url), await connected(redis.url)
    heard = Heard()
    await here.subscribe("r", heard)
    await here.publish("r", HOST)
    await here.publish("r", Join("gone", "viewer"))
    redis.kill()
    began = time.monotonic()
    events = [VIEWER, Relay("v", Answer("h", "s")), Leave("gone", "bye")]
    for event in events:
        await here.publish("r", event)
    assert heard[2:] == events
    assert time.monotonic() - began < 1.0
    assert not here.available
    redis.start()
    elsewhere = Heard()
    await there.subscribe("r", elsewhere)
    await elsewhere.until(HOST, VIEWER)
    await there.publish("r", Relay("x", Answer("h", "end")))
    await heard.until(Relay("x", Answer("h", "end")))
    assert sorted(map(str, elsewhere[:2])) == sorted(map(str, [HOST, VIEWER]))
    assert heard.membership == [HOST, Join("gone", "viewer"), VIEWER, Leave("gone", "bye")]


async def test_a_room_of_two_servers_waits_only_so_long(redis, connected):
    here = await connected(redis.url, patience_s=0.3)
    there = await connected(redis.url, patience_s=0.3)
    await pair(here, there)
    redis.kill()
    with pytest.raises(BusUnavailable, match="Redis"):
        await here.publish("r", Relay("h", Answer("v", "s")))
    with pytest.raises(BusUnavailable, match="Redis"):
        await here.subscribe("new", Heard())


# A server goes ----------------------------------------------------------------------------------

QUICK = {"lease_s": 1.0, "tick_s": 0.2}


class CuttableClient:
    """A client whose connections can be cut, and stay so."""

    def __init__(self, settings):
        self._client = open_client(settings)
        self._listeners = []
        self.cut = False

    async def run(self, *arguments):
        if self.cut:
            raise RedisConnectionError("cut")
        return await self._client.run(*arguments)

    async def listener(self):
        if self.cut:
            raise RedisConnectionError("cut")
        self._listeners.append(await self._client.listener())
        return self._listeners[-1]

    async def drop(self):
        self.cut = True
        for listener in self._listeners:
            await listener.disconnect(nowait=True)

    async def close(self):
        await self._client.close()


@pytest.fixture
def clients(monkeypatch):
    """The clients of the buses, in the order in which they were made."""
    clients = []

    def cuttable(settings):
        clients.append(CuttableClient(settings))
        return clients[-1]

    monkeypatch.setattr("signalling.redis.bus.open_client", cuttable)
    return clients


async def test_what_redis_confirmed_and_lost_before_all_heard_it_is_sent_again(
    redis, connected, clients
):
    here, there = await connected(redis.url), await connected(redis.url)
    first, second = await pair(here, there)
    await clients[1].drop()
    lost = Relay("h", Answer("v", "lost"))
    await here.publish("r", lost)
    redis.kill()
    redis.start()
    clients[1].cut = False
    end = Relay("h", Answer("v", "end"))
    await here.publish("r", end)
    await second.until(end)
    assert first == [HOST, VIEWER, lost, end]
    assert second[-2:] == [lost, end]
    assert second.membership == [HOST, VIEWER]


async def test_a_server_cut_off_for_long_loses_its_peers_and_is_told(redis, connected, clients):
    here, there, third = [await connected(redis.url, **QUICK) for _ in range(3)]
    first, second = await pair(here, there)
    heard = Heard()
    await third.subscribe("r", heard)
    await clients[0].drop()
    gone = Leave("h", "lost")
    await second.until(gone)
    await heard.until(gone)
    stranger = Join("h2", "host")
    await there.publish("r", stranger)
    assert gone not in first
    clients[0].cut = False
    await first.until(gone, stranger)
    end = Relay("v", Answer("h2", "end"))
    await there.publish("r", end)
    for one in (first, second, heard):
        await one.until(end)
        assert one.membership == [HOST, VIEWER, gone, stranger]


def environment(tmp_path):
    return {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}


@contextlib.asynccontextmanager
async def server_process(tmp_path, *options):
    """A ``serve --dev`` as a process: its WebSocket URL, and the process."""
    reading, writing = os.pipe()
    words = ["serve", "--dev", "--port", "0", "--ready-fd", str(writing), *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "signalling", *words,
        cwd=ROOT, env=environment(tmp_path), pass_fds=[writing],
    )  # fmt: skip
    os.close(writing)
    try:
        with open(reading) as pipe:  # noqa: ASYNC230, PTH123 - closed by the child's end
            line = await asyncio.to_thread(pipe.readline)
        assert line, "the server did not start"
        yield json.loads(line)["websocket_url"], process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Client:
    """A WebSocket client that speaks in messages."""

    def __init__(self, websocket):
        self._websocket = websocket

    async def send(self, message):
        await self._websocket.send(encode(message))

    async def receive(self):
        async with asyncio.timeout(DEADLINE_S):
            return decode_server(await self._websocket.recv())


@contextlib.asynccontextmanager
async def member(url, issuer, role):
    async with connect(url, close_timeout=1) as websocket:
        client = Client(websocket)
        await client.send(Hello(issuer.mint(f"some-{role}", "doom", role), "doom", role))
        client.welcome = await client.receive()
        assert isinstance(client.welcome, Welcome), client.welcome
        yield client


async def test_host_and_viewer_meet_over_two_servers_and_one_is_killed(
    redis, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    issuer = DevIssuer.load_or_create()
    options = ["--redis", redis.url, "--redis-lease", "3"]
    async with (
        server_process(tmp_path, *options) as (here, doomed),
        server_process(tmp_path, *options) as (there, _),
        member(there, issuer, "viewer") as viewer,
    ):
        v = viewer.welcome.peer
        with contextlib.suppress(Exception):  # the host's connection breaks
            async with member(here, issuer, "host") as host:
                h = host.welcome.peer
                assert host.welcome.peers == [v]
                assert await viewer.receive() == PeerJoined(h, "host")
                await host.send(Offer(v, "offer"))
                assert await viewer.receive() == Offer(h, "offer")
                await viewer.send(Answer(h, "answer"))
                assert await host.receive() == Answer(v, "answer")
                doomed.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                assert await viewer.receive() == PeerLeft(h, "host", "lost")
                assert time.monotonic() - killed < 3 + 2
                async with member(there, issuer, "host") as again:
                    assert again.welcome.peers == [v]
                    joined = PeerJoined(again.welcome.peer, "host")
                    assert await viewer.receive() == joined
                    done = True
        assert done


# Other topologies, and who may do what -----------------------------------------------------------


async def test_sentinel_moves_to_another_primary_and_nobody_notices(tmp_path, connected):
    with redis_server.sentinels(tmp_path) as (url, primary, _):
        patient = {"patience_s": 20.0, "lease_s": 10.0}
        here, there = await connected(url, **patient), await connected(url, **patient)
        first, second = await pair(here, there)
        talk = Talk(here, there)
        await talk.progress()
        primary.kill()
        await talk.progress()
        await talk.stop()
        await talk.check(first, second)
        assert first.membership == second.membership == [HOST, VIEWER]


async def test_a_cluster_carries_rooms_on_all_its_nodes(tmp_path, connected):
    with redis_server.cluster(tmp_path) as (url, nodes):
        here, there = await connected(url), await connected(url)
        for i in range(24):
            heard = Heard()
            await there.subscribe(f"room{i}", heard)
            await here.publish(f"room{i}", HOST)
            await there.publish(f"room{i}", VIEWER)
            await here.publish(f"room{i}", Relay("h", Answer("v", str(i))))
            await heard.until(Relay("h", Answer("v", str(i))))
            assert heard == [HOST, VIEWER, Relay("h", Answer("v", str(i)))]
        for node in nodes:
            with node.client() as client:
                assert client.keys("playcast:*:log")


ACL = "user games on >secret resetkeys resetchannels -@all {commands} {keys}"
COMMANDS = (
    "+auth +ping +subscribe +unsubscribe +publish +eval +evalsha +time +hincrby +hget +hset +hmget"
    " +hdel +hgetall +hexists +hlen +xadd +xrange +pexpire +del +zadd +zrem +zscore +zcard"
    " +zrangebyscore"
)


async def test_a_user_who_may_touch_the_prefix_alone_is_enough(tmp_path, connected):
    line = ACL.format(commands=COMMANDS, keys="~playcast:* &playcast:*")
    with redis_server.single(tmp_path / "redis", line) as redis:
        url = f"redis://games:secret@127.0.0.1:{redis.port}"
        here, there = await connected(url, **QUICK), await connected(url, **QUICK)
        first, _ = await pair(here, there)
        await there.publish("r", Leave("v", "bye"))
        await first.until(Leave("v", "bye"))


@pytest.mark.parametrize(
    ("login", "prefix", "said"),
    [
        ("games:secret@", "other:", "permission|NOPERM|ACL"),
        ("games:wrong@", "playcast:", "WRONGPASS|invalid username-password"),
        ("", "playcast:", "NOAUTH|Authentication required"),
    ],
)
async def test_what_redis_does_not_allow_is_said_at_once(tmp_path, login, prefix, said):
    lines = [ACL.format(commands=COMMANDS, keys="~playcast:* &playcast:*"), "user default off"]
    with redis_server.single(tmp_path / "redis", *lines) as redis:
        url = f"redis://{login}127.0.0.1:{redis.port}"
        began = time.monotonic()
        with pytest.raises(BusUnavailable, match=said) as raised:
            await RedisBus.connect(RedisSettings(url=url, prefix=prefix))
        assert time.monotonic() - began < 2.0
        assert "secret" not in str(raised.value)
        assert "wrong" not in str(raised.value)


async def test_a_redis_that_is_not_there_is_named():
    port = redis_server.free_port()
    settings = RedisSettings(url=f"redis://127.0.0.1:{port}", patience_s=0.3)
    with pytest.raises(BusUnavailable, match=f"cannot use Redis at redis://127.0.0.1:{port}"):
        await RedisBus.connect(settings)
