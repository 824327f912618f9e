"""Who is told of TURN servers: those who are in and may watch, hosts, and nobody else."""

import contextlib
import time

import pytest

from signalling.dev import DevIssuer
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from signalling.turn import TurnCredentials, TurnRegion, turn_credentials

from .raw_client import RawClient

ISSUER = DevIssuer.generate()
URL = "turn:turn.example:3478"


class Watched(TurnCredentials):
    """Knows for whom credentials were made."""

    def __init__(self):
        super().__init__([TurnRegion(name="eu", urls=(URL,), secret=lambda: "north")])
        self.made_for = []

    def ice_servers(self, *, room, peer, now, region=""):
        self.made_for.append(peer)
        return super().ice_servers(room=room, peer=peer, now=now, region=region)


@pytest.fixture
def turn():
    return Watched()


@pytest.fixture
async def enter(turn):
    """Makes clients of one server with these TURN servers."""
    settings = SignallingSettings(verifier=ISSUER.verifier(), port=0, ice_servers=turn)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(SignallingServer(settings))

        async def enter(role, *, name="", token="", token_room="play", **hello):
            token = token or ISSUER.mint(name or f"some-{role}", token_room, role)
            joined = "host" if role == "host" else "viewer"
            client = await RawClient.enter(server.websocket_url, token, joined, **hello)
            stack.push_async_callback(client.socket.close)
            return client

        yield enter


def is_told(client):
    return any(URL in text or "credential" in text for text in client.seen)


def is_good(server, peer):
    until, _, name = server["username"].partition(":")
    expected = turn_credentials("north", peer, int(until))
    return name == peer and int(until) > time.time() and server["credential"] == expected[1]


async def test_each_member_gets_credentials_of_its_own(enter, turn):
    welcomes = []
    for role, name in (("host", ""), ("viewer", "a"), ("viewer", "b"), ("player", "c")):
        client = await enter(role, name=name)
        welcomes.append(await client.until("welcome"))
    assert turn.made_for == [welcome["peer"] for welcome in welcomes]
    for welcome in welcomes:
        (server,) = welcome["ice_servers"]
        assert server["urls"] == [URL]
        assert is_good(server, welcome["peer"])


async def test_who_waits_is_told_nothing_until_it_is_let_in(enter, turn):
    host = await enter("host")
    welcome = await host.until("welcome")
    await host.done(type="configure", policy="approval")
    waits, never = await enter("viewer", name="a"), await enter("viewer", name="b")
    waiting = await waits.until("waiting")
    refused = await never.until("waiting")
    await host.done(type="kick", peer=refused["peer"])
    await never.closed()
    assert turn.made_for == [welcome["peer"]]
    assert not is_told(waits)
    assert not is_told(never)
    await host.done(type="admit", peer=waiting["peer"])
    (server,) = (await waits.until("welcome"))["ice_servers"]
    assert is_good(server, waiting["peer"])
    assert turn.made_for == [welcome["peer"], waiting["peer"]]


@pytest.mark.parametrize("why", ["bad token", "other room", "locked", "full", "invited only"])
async def test_who_is_refused_is_told_nothing(enter, turn, why):
    host = await enter("host")
    await host.until("welcome")
    if why == "locked":
        await host.done(type="configure", locked=True)
    elif why == "invited only":
        await host.done(type="configure", policy="invite")
    elif why == "full":
        await host.done(type="configure", capacity=1)
        await (await enter("viewer", name="first")).until("welcome")
    made_for = list(turn.made_for)
    token_room = "elsewhere" if why == "other room" else "play"
    token = "rubbish" if why == "bad token" else ""
    late = await enter("viewer", name="late", token=token, token_room=token_room)
    await late.closed()
    assert '"error"' in late.seen[-1]
    assert not is_told(late)
    assert turn.made_for == made_for


async def test_who_was_banned_is_told_nothing_more(enter, turn):
    host = await enter("host")
    await host.until("welcome")
    viewer = await enter("viewer", name="rude")
    peer = (await viewer.until("welcome"))["peer"]
    await host.done(type="ban", peer=peer)
    await viewer.closed()
    made_for = list(turn.made_for)
    again = await enter("viewer", name="rude")
    await again.closed()
    assert not is_told(again)
    assert turn.made_for == made_for


async def test_who_may_watch_no_longer_is_told_nothing_on_coming_back(enter, turn):
    host = await enter("host")
    await host.until("welcome")
    viewer = await enter("viewer", name="a")
    welcome = await viewer.until("welcome")
    await host.done(type="revoke", peer=welcome["peer"], capability="watch")
    made_for = list(turn.made_for)
    resume = {"peer": welcome["peer"], "secret": welcome["secret"], "seq": welcome["seq"]}
    back = await enter("viewer", name="a", resume=resume)
    again = await back.until("welcome")
    assert again["peer"] == welcome["peer"]
    assert again.get("ice_servers", []) == []
    assert turn.made_for == made_for
