"""A host and its members in a room of real servers: hand-over, approval, lost links, a drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar, cast

import pytest

from peer.grants import Release
from peer.host import Host, HostSettings
from peer.requests import RequestRefused
from peer.room_options import first_settings
from peer.signalling_client import (
    ClientState,
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
)
from signalling import DevIssuer, MemoryBus, SignallingServer, SignallingSettings
from signalling.messages import (
    Answer,
    Chat,
    ChatMessage,
    Configure,
    ControlGive,
    ControlRelease,
    ControlRequest,
    Controls,
    Offer,
    Role,
    RoomSettings,
    ServerMessage,
    Waiting,
    Welcome,
)

from .test_host import FakeConnection, FakeHub, Track

M = TypeVar("M", bound=ServerMessage)


class Guest:
    """Somebody in the room, who remembers what the server said."""

    def __init__(self, client: SignallingClient) -> None:
        self.client = client
        self.heard: list[ServerMessage] = []
        self.news = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.client:
                self.heard.append(message)
                self.news.set()
        finally:
            self.news.set()

    @property
    def peer(self) -> str:
        return self.client.peer

    async def wait(self, kind: type[M], which: Callable[[M], bool] = lambda _: True) -> M:
        """The first such message, unless it came before: then that one."""
        async with asyncio.timeout(10):
            while True:
                self.news.clear()
                for message in self.heard:
                    if isinstance(message, kind) and which(message):
                        return message
                await self.news.wait()

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]


class Den:
    """Two servers that share their rooms, a host in one of them, and whoever is let in."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.issuer = DevIssuer.generate()
        self.bus = MemoryBus()
        self.servers: list[SignallingServer] = []
        self.released: list[Release] = []
        self.moved = asyncio.Event()
        self.welcomes: asyncio.Queue[Welcome] = asyncio.Queue()
        self.connections: list[FakeConnection] = []
        self.host: Host
        self.running: asyncio.Task[None]

    async def open(self, room: Configure | None = None, window_s: float = 30.0) -> None:
        await self.serve(window_s)
        await self.cast(room)

    async def serve(self, window_s: float = 30.0) -> None:
        """Start the servers."""
        for _ in range(2):
            settings = SignallingSettings(
                verifier=self.issuer.verifier(), port=0, resume_window_s=window_s
            )
            server = SignallingServer(settings, bus=self.bus)
            self.servers.append(await self.stack.enter_async_context(server))

    async def cast(self, room: Configure | None = None) -> None:
        """Start the host."""
        room = room or Configure()
        self.host = Host(
            cast(Any, Track()),
            cast(Any, FakeHub()),
            self.client("host", first_settings(room)),
            HostSettings(room=room, report_interval_s=0.02),
            on_release=self.released.append,
            on_report=lambda _: self.moved.set(),
            on_welcome=self.welcomes.put_nowait,
            make_connection=cast(Any, self._connect),
        )
        await self.stack.enter_async_context(self.host)
        self.running = asyncio.create_task(self.host.run())
        await asyncio.wait_for(self.welcomes.get(), 10)

    def _connect(self, hub: object, events: Any, settings: Any, certificate: object) -> Any:
        self.connections.append(FakeConnection(events, settings))
        return self.connections[-1]

    def client(self, role: Role, settings: RoomSettings | None = None) -> SignallingClient:
        first, second = (server.websocket_url for server in self.servers)
        return SignallingClient(
            SignallingClientSettings(
                url=first,
                other_urls=(second,),
                token=self.issuer.mint(f"sub-{role}-{len(self.connections)}", "den", role),
                room="den",
                role="host" if role == "host" else "viewer",
                room_settings=settings,
                first_delay_s=0.01,
            )
        )

    async def come(self, role: Role = "player") -> Guest:
        """Somebody who is in, and has answered the host's offer."""
        guest = Guest(self.client(role))
        self.stack.push_async_callback(guest.client.close)
        await guest.wait(Welcome)
        offer = await guest.wait(Offer)
        await guest.client.send(Answer(offer.peer, "fine"))
        await self.until(lambda: guest.peer in self.host.viewers)
        return guest

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until it is so, looking at each of the host's reports."""
        async with asyncio.timeout(10):
            while not condition():
                self.moved.clear()
                await self.moved.wait()

    async def break_link(self, client: SignallingClient) -> None:
        """The network is gone without a word, and there again."""
        back = asyncio.Event()
        before = client.on_state

        def changed(state: ClientState) -> None:
            before(state)
            if state is ClientState.JOINED:
                back.set()

        assert client._socket is not None
        client._socket.transport.abort()
        client.on_state = changed
        await asyncio.wait_for(back.wait(), 10)


@pytest.fixture
async def den() -> AsyncIterator[Den]:
    den = Den()
    async with den.stack:
        yield den
    await den.bus.close()


def allowed(den: Den, guest: Guest, control: str = "pad:1") -> Callable[[], bool]:
    return lambda: den.host.allows(guest.peer, control)


async def test_a_control_goes_from_hand_to_hand(den: Den) -> None:
    await den.open()
    anna, bob = await den.come(), await den.come()
    await anna.client.request(ControlRequest("pad:1"))
    assert not den.host.allows(anna.peer, "pad:1"), "she has asked, and not got it"
    await den.until(lambda: den.host.room.controls["pad:1"].queue == [anna.peer])
    await den.host.grant_control(anna.peer, "pad:1")
    await den.until(allowed(den, anna))
    assert den.host.grants.press(anna.peer, "pad:1", "A", den.host.room.now())
    await anna.client.request(ControlGive("pad:1", bob.peer))
    await den.until(allowed(den, bob))
    assert not den.host.allows(anna.peer, "pad:1")
    assert [release for release in den.released if release.held] == [
        Release(anna.peer, "pad:1", ("A",), "handed over")
    ]
    players = {c.player for c in den.connections}
    assert players == {True, False}, "who plays goes first where viewers share an encode"
    await bob.client.request(ControlRelease("pad:1"))
    await den.until(lambda: not den.host.allows(bob.peer, "pad:1"))
    with pytest.raises(RequestRefused, match="do not have pad:1"):
        await bob.client.request(ControlGive("pad:1", anna.peer))


async def test_a_turn_ends_at_the_host_by_itself(den: Den) -> None:
    await den.open()
    anna = await den.come()
    await den.host.grant_control(anna.peer, "pad:1", for_s=0.3)
    await den.until(allowed(den, anna))
    den.host.grants.press(anna.peer, "pad:1", "A", den.host.room.now())
    await den.until(lambda: not den.host.allows(anna.peer, "pad:1"))
    await anna.wait(Controls, lambda m: m.reason == "expired")
    assert sum(bool(release.held) for release in den.released) == 1


async def test_who_waits_is_let_in_or_not_by_the_host(den: Den) -> None:
    await den.open(Configure(policy="approval", title="Doom"))
    token = den.issuer.mint("eve", "*", "viewer")
    guests = []
    for _ in range(2):
        settings = SignallingClientSettings(
            url=den.servers[1].websocket_url, token=token, room="den", role="viewer"
        )
        guests.append(Guest(SignallingClient(settings)))
        den.stack.push_async_callback(guests[-1].client.close)
    anna, eve = guests
    doors = [(await guest.wait(Waiting)).peer for guest in guests]
    await den.until(lambda: set(doors) <= den.host.room.members.keys())
    assert den.connections == []
    await den.host.admit(doors[0])
    assert (await anna.wait(Welcome)).settings.title == "Doom"
    await anna.wait(Offer)
    await den.host.kick(doors[1], "not today")
    with pytest.raises(SignallingRefused, match="not today") as refused:
        await asyncio.wait_for(eve.reading, 10)
    assert refused.value.code == "not-admitted"
    assert len(den.connections) == 1


async def test_who_came_before_the_host_waits_too(den: Den) -> None:
    await den.serve()
    eve = Guest(den.client("viewer"))
    den.stack.push_async_callback(eve.client.close)
    await eve.wait(Welcome)
    await den.cast(Configure(policy="approval"))
    door = (await eve.wait(Waiting)).peer
    await den.until(lambda: door in den.host.room.members)
    assert den.connections == []
    assert eve.all(Offer) == []
    await den.host.admit(door)
    await eve.wait(Offer)


async def test_a_hosts_lost_link_costs_nothing(den: Den) -> None:
    await den.open()
    anna = await den.come()
    await den.host.grant_control(anna.peer, "pad:1")
    await den.until(allowed(den, anna))
    me = den.host.room.peer
    cutting = asyncio.create_task(den.break_link(den.host._signalling))
    await anna.client.request(Chat("are you there?"))
    await cutting
    assert (den.host.room.peer, den.welcomes.empty()) == (me, True), "the session goes on"
    assert den.host.allows(anna.peer, "pad:1")
    assert den.released == []
    await den.host.take_control("pad:1")
    await den.until(lambda: not den.host.allows(anna.peer, "pad:1"))


async def test_a_viewers_lost_link_costs_nothing(den: Den) -> None:
    await den.open()
    anna, bob = await den.come(), await den.come()
    await den.host.grant_control(anna.peer, "pad:1")
    peer = anna.peer
    anna.client.seat = (await anna.wait(Offer)).seat
    cutting = asyncio.create_task(den.break_link(anna.client))
    await bob.client.request(Chat("hello"))
    await cutting
    await anna.wait(ChatMessage, lambda m: m.text == "hello")
    await bob.client.request(Chat("again"))
    await anna.wait(ChatMessage, lambda m: m.text == "again")
    assert [message.text for message in anna.all(ChatMessage)] == ["hello", "again"]
    assert anna.peer == peer
    assert anna.all(Welcome)[-1].resumed
    assert den.host.allows(peer, "pad:1")
    assert len(den.connections) == 2, "the picture goes on"


async def test_who_does_not_come_back_in_time_has_nothing(den: Den) -> None:
    await den.open(window_s=0.2)
    anna = await den.come()
    await den.host.grant_control(anna.peer, "pad:1")
    await den.until(allowed(den, anna))
    den.host.grants.press(anna.peer, "pad:1", "A", den.host.room.now())
    peer = anna.peer
    assert anna.client._socket is not None
    anna.reading.cancel()
    anna.client._socket.transport.abort()
    await den.until(lambda: peer not in den.host.viewers)
    assert not den.host.allows(peer, "pad:1")
    assert [release.held for release in den.released if release.capability == "pad:1"] == [("A",)]


async def test_a_server_that_drains_loses_nobody(den: Den) -> None:
    await den.open()
    anna, bob = await den.come(), await den.come()
    await den.host.grant_control(anna.peer, "pad:1")
    await den.until(allowed(den, anna))
    peers = {den.host.room.peer, anna.peer, bob.peer}
    for guest in (anna, bob):
        guest.client.seat = (await guest.wait(Offer)).seat
    draining = asyncio.create_task(den.servers[0].drain())
    for guest in (anna, bob):
        await guest.wait(Welcome, lambda m: m.resumed)
    await draining
    await bob.client.request(Chat("still here"))
    await anna.wait(ChatMessage, lambda m: m.text == "still here")
    await den.until(lambda: den.host._signalling.state is ClientState.JOINED)
    await den.host.take_control("pad:1")
    await anna.wait(Controls, lambda m: m.reason == "taken")
    assert not den.host.allows(anna.peer, "pad:1")
    assert {den.host.room.peer, anna.peer, bob.peer} == peers
    assert den.welcomes.empty()
    assert len(den.connections) == 2


async def test_invitations_let_in_as_what_they_say(den: Den) -> None:
    await den.open(Configure(policy="invite"))
    invited = await den.host.invite("player", for_s=60.0)
    settings = SignallingClientSettings(
        url=den.servers[0].websocket_url, token=invited.token, room="den", role="viewer"
    )
    guest = Guest(SignallingClient(settings))
    den.stack.push_async_callback(guest.client.close)
    assert (await guest.wait(Welcome)).role == "player"
    refused = Guest(den.client("viewer"))
    with pytest.raises(SignallingRefused) as why:
        await asyncio.wait_for(refused.reading, 10)
    assert why.value.code == "not-admitted"
