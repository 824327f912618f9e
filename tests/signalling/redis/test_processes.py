"""Two server processes over one Redis, and real clients: what happens when one is killed, or all
are started anew one after the other.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from peer.signalling_client import SignallingClient, SignallingClientSettings
from signalling.dev import DevIssuer
from signalling.messages import (
    Answer,
    ControlGrant,
    Controls,
    Offer,
    PeerLeft,
    Permissions,
    Welcome,
)

from .server import free_port

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0


class Server:
    """A ``serve --dev`` as a process, on one port for all its lives."""

    def __init__(self, redis_url):
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self._redis_url = redis_url
        self._process = None

    async def start(self):
        reading, writing = os.pipe()
        words = ["serve", "--dev", "--port", str(self.port), "--ready-fd", str(writing)]
        words += ["--redis", self._redis_url, "--redis-lease", "3"]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "signalling", *words, cwd=ROOT, pass_fds=[writing]
        )
        os.close(writing)
        with open(reading) as pipe:  # noqa: ASYNC230, PTH123 - closed by the child's end
            line = await asyncio.to_thread(pipe.readline)
        assert json.loads(line)["websocket_url"] == self.url

    async def end(self, how=signal.SIGTERM):
        """Send the signal and wait for the process's end: its status."""
        if self._process.returncode is None:
            self._process.send_signal(how)
        async with asyncio.timeout(DEADLINE_S):
            return await self._process.wait()


@pytest.fixture
async def servers(redis, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    servers = [Server(redis.url), Server(redis.url)]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.end(signal.SIGKILL)


class Member:
    """A client that notes what it gets, and says numbered things to another."""

    def __init__(self, servers, name, role, wanted):
        token = DevIssuer.load_or_create().mint(name, "doom", role)
        url, *others = [server.url for server in servers]
        settings = SignallingClientSettings(
            url=url,
            other_urls=tuple(others),
            token=token,
            room="doom",
            role=wanted,
            name=name,
            first_delay_s=0.1,
            max_delay_s=1.0,
        )
        self.client = SignallingClient(settings, jitter=random.Random(0))
        self.got = []
        self.said = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._listen())
        self._talk = None

    async def _listen(self):
        async for message in self.client:
            self.got.append(message)
            self._more.set()

    async def until(self, true):
        """The first thing that ``true(self)`` finds."""
        async with asyncio.timeout(DEADLINE_S):
            while not (found := true(self)):
                assert not self._task.done(), self._task.result()
                self._more.clear()
                await self._more.wait()
            return found

    def all(self, kind):
        return [message for message in self.got if isinstance(message, kind)]

    async def welcomes(self, count):
        """The latest of so many."""
        welcomes = await self.until(
            lambda member: len(member.all(Welcome)) >= count and member.all(Welcome)
        )
        return welcomes[-1]

    def talk_to(self, peer, make):
        """Say "0", "1", … from now on; what the server did not take is said again."""
        self._talk = asyncio.create_task(self._say(peer, make))

    async def _say(self, peer, make):
        while True:
            if await self.client.send(make(peer, str(self.said))):
                self.said += 1
            await asyncio.sleep(0.005)

    async def fall_silent(self):
        self._talk.cancel()
        await asyncio.gather(self._talk, return_exceptions=True)

    def heard(self, kind):
        return [int(message.sdp) for message in self.all(kind)]

    async def leave(self):
        if self._talk is not None:
            await self.fall_silent()
        await self.client.close()
        await self._task


@contextlib.asynccontextmanager
async def cast(servers):
    """A host on the second server; a player and a viewer on the first, the player with pad 1."""
    first, second = servers
    members = [
        Member([second, first], "host", "host", "host"),
        Member([first, second], "player", "player", "viewer"),
        Member([first, second], "viewer", "viewer", "viewer"),
    ]
    host, player, viewer = members
    try:
        for member in members:
            await member.welcomes(1)
        await host.until(lambda host: host.client.peer)
        await host.client.request(ControlGrant("pad:1", player.client.peer))
        await player.until(lambda player: may_play(player))
        yield host, player, viewer
    finally:
        for member in members:
            await member.leave()


def may_play(player):
    """Whether the player was told last that pad 1 is its own."""
    said = player.all(Permissions)
    return said and any(item.capability == "pad:1" for item in said[-1].capabilities)


def holders(member):
    """Who has which control, by what this member was told last of each."""
    found = {}
    for message in member.all((Welcome, Controls)):
        for state in message.controls:
            found[state.control] = state.holder
    return {control: holder for control, holder in found.items() if holder}


async def test_who_was_on_a_server_that_is_killed_goes_on_with_another(servers):
    async with cast(servers) as (host, player, viewer):
        before = [member.client.peer for member in (host, player, viewer)]
        host.talk_to(player.client.peer, Offer)
        await player.until(lambda player: player.heard(Offer)[10:])
        await servers[0].end(signal.SIGKILL)
        for member in (player, viewer):
            welcome = await member.welcomes(2)
            assert welcome.resumed
            assert welcome.complete
        assert [member.client.peer for member in (host, player, viewer)] == before
        await player.until(lambda player: player.heard(Offer)[-1] > 50)
        await host.fall_silent()
        await player.until(lambda player: player.heard(Offer)[-1] == host.said - 1)
        assert player.heard(Offer) == list(range(host.said))
        assert len(host.all(Welcome)) == 1
        assert host.all(PeerLeft) == []
        pad = {"pad:1": player.client.peer}
        for member in (host, player, viewer):
            assert holders(member) == pad
        assert any(item.capability == "pad:1" for item in player.all(Welcome)[-1].capabilities)


async def test_the_host_of_a_server_that_is_killed_comes_back_to_its_room(servers):
    async with cast(servers[::-1]) as (host, player, viewer):
        player.talk_to(host.client.peer, Answer)
        await host.until(lambda host: host.heard(Answer)[10:])
        await servers[0].end(signal.SIGKILL)
        welcome = await host.welcomes(2)
        assert welcome.resumed
        assert welcome.complete
        assert {member.peer for member in welcome.members} >= {player.client.peer}
        await host.until(lambda host: host.heard(Answer)[-1] > 50)
        await player.fall_silent()
        await host.until(lambda host: host.heard(Answer)[-1] == player.said - 1)
        assert host.heard(Answer) == list(range(player.said))
        for member in (player, viewer):
            assert len(member.all(Welcome)) == 1
            assert member.all(PeerLeft) == []
            assert holders(member) == {"pad:1": player.client.peer}


async def test_all_servers_are_started_anew_one_by_one_and_no_session_is_lost(servers):
    async with cast(servers) as (host, player, viewer):
        members = host, player, viewer
        before = [member.client.peer for member in members]
        for server in servers:
            assert await server.end(signal.SIGTERM) == 0
            await server.start()
        # Each server had all members that the other did not have, so everyone has moved.
        for member in members:
            await member.welcomes(2)
        await asyncio.gather(*(member.until(lambda m: m.client.peer) for member in members))
        for member in members:
            assert all(welcome.resumed for welcome in member.all(Welcome)[1:])
            assert all(welcome.complete for welcome in member.all(Welcome)[1:])
            assert member.all(PeerLeft) == []
        assert [member.client.peer for member in members] == before
        host.talk_to(player.client.peer, Offer)
        await player.until(lambda player: player.heard(Offer)[20:])
        await host.fall_silent()
        await player.until(lambda player: player.heard(Offer)[-1] == host.said - 1)
        assert player.heard(Offer) == list(range(host.said))
        for member in members:
            assert holders(member) == {"pad:1": player.client.peer}


async def test_the_only_server_is_started_anew_and_no_session_is_lost(servers):
    only, other = servers
    await other.end()
    async with cast([only, only]) as members:
        before = [member.client.peer for member in members]
        assert await only.end(signal.SIGTERM) == 0
        await only.start()
        for member in members:
            welcome = await member.welcomes(2)
            assert welcome.resumed
            assert welcome.complete
        assert [member.client.peer for member in members] == before
        assert holders(members[0]) == {"pad:1": members[1].client.peer}
