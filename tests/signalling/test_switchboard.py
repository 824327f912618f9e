import asyncio
from hashlib import sha256

import msgspec
import pytest

from signalling.bus import BusUnavailable, MemoryBus
from signalling.messages import (
    Answer,
    Chat,
    ChatMessage,
    Configure,
    Done,
    Error,
    Invite,
    Offer,
    PeerJoined,
    PeerLeft,
    RoomSettings,
    Welcome,
    decode_server,
)
from signalling.rooms import Away, Join, Resume, RoomCard
from signalling.switchboard import Switchboard


class Client:
    """Remembers what the switchboard wanted of it."""

    def __init__(self):
        self.frames = []
        self.received = []
        self.invitations = []
        self.closed = []
        self.probed = 0
        self._more = asyncio.Event()

    def deliver(self, frame):
        self.frames.append(frame)
        self.received.append(decode_server(frame))
        self._more.set()

    def welcome(self, message):
        self.received.append(message)

    def invite(self, request, role):
        self.invitations.append((request, role))

    def close(self, error):
        self.closed.append(error)

    def probe(self):
        self.probed += 1

    def take(self, *kinds):
        taken = [message for message in self.received if not kinds or isinstance(message, kinds)]
        self.received = []
        return taken

    async def until(self, kind):
        async with asyncio.timeout(10):
            while not (taken := self.take(kind)):
                self._more.clear()
                await self._more.wait()
        return taken


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Sink:
    def __init__(self):
        self.types = []

    def put(self, record):
        self.types.append(record.type)


def hashed(secret):
    return sha256(secret.encode()).hexdigest()


def joining(link, role="viewer", **options):
    options = {"subject": f"sub-{link}", "secret_hash": hashed(link), "at": 1000.0, **options}
    return Join(link=link, role=role, **options)


async def enter(board, link, role="viewer", **options):
    client = Client()
    await board.join("r", joining(link, role, **options), client)
    return client


def resuming(link, peer, **options):
    resume = Resume(peer, hashed(peer), options.pop("seq", 0))
    return joining(link, subject=f"sub-{peer}", resume=resume, **options)


@pytest.fixture
async def make():
    """Makes switchboards; closes them after the test."""
    boards = []

    def make(bus, **options):
        options = {"clock": Clock(), **options}
        boards.append(Switchboard(bus, **options))
        return boards[-1]

    yield make
    for board in boards:
        await board.close()


# Effects ----------------------------------------------------------------------------------------


async def test_host_and_viewer_meet_across_two_servers(make):
    bus = MemoryBus()
    here, there = make(bus), make(bus)
    host = await enter(here, "h", "host")
    viewer = await enter(there, "v", name="Vi")
    (welcome,) = viewer.take(Welcome)
    assert (welcome.peer, welcome.host_present, welcome.peers) == ("v", True, ["h"])
    (joined,) = host.take(PeerJoined)
    assert (joined.peer, joined.name) == ("v", "Vi")

    await here.say("r", "h", Offer("v", "offer"))
    await there.say("r", "v", Answer("h", "answer"))
    (offer,) = viewer.take(Offer)
    assert (offer.peer, offer.sdp) == ("h", "offer")
    (answer,) = host.take()
    assert (answer.peer, answer.sdp) == ("v", "answer")

    await here.leave("r", "h", "bye")
    (left,) = viewer.take(PeerLeft)
    assert (left.peer, left.reason) == ("h", "bye")
    assert host.take() == []


async def test_what_everyone_is_told_is_encoded_once(make):
    bus = MemoryBus()
    board = make(bus)
    clients = [await enter(board, f"v{number}") for number in range(5)]
    for client in clients:
        client.frames.clear()
    await board.say("r", "v0", Chat("hello"))
    frames = [client.frames[0] for client in clients]
    assert all(frame is frames[0] for frame in frames)
    assert isinstance(decode_server(frames[0]), ChatMessage)


async def test_a_second_host_on_another_server_is_refused_where_it_is(make):
    bus = MemoryBus()
    here, there = make(bus), make(bus)
    first = await enter(here, "h1", "host")
    second = await enter(there, "h2", "host")
    assert [error.code for error in second.closed] == ["room-taken"]
    assert (first.closed, first.probed, second.probed) == ([], 1, 0)


async def test_an_error_reaches_only_its_sender(make):
    board = make(MemoryBus())
    host, viewer = await enter(board, "h", "host"), await enter(board, "v")
    host.take(), viewer.take()
    await board.say("r", "v", Offer("h", "sdp"))
    assert host.take() == []
    (error,) = viewer.take()
    assert isinstance(error, Error)
    assert error.code == "forbidden"


async def test_an_invitation_is_made_where_it_is_asked_for(make):
    bus = MemoryBus()
    here, there = make(bus), make(bus)
    host = await enter(here, "h", "host")
    admin = await enter(there, "a", "admin")
    request = Invite("player", 60.0, id="1")
    await there.say("r", "a", request)
    assert (host.invitations, admin.invitations) == ([], [(request, "player")])


async def test_of_two_servers_one_records(make):
    bus = MemoryBus()
    first, second = Sink(), Sink()
    here, there = make(bus, records=first), make(bus, records=second)
    await enter(here, "h", "host")
    await enter(there, "v")
    assert (first.types, second.types) == (["room.opened", "stream.started", "viewer.joined"], [])


# Coming back ------------------------------------------------------------------------------------


async def test_a_client_goes_on_with_its_session_on_another_server(make):
    bus = MemoryBus()
    here, there = make(bus), make(bus)
    host = await enter(here, "h", "host")
    await enter(here, "v")
    await here.leave("r", "v", None)
    assert [message.away for message in host.take(PeerJoined)] == [False, True]
    await here.say("r", "h", Offer("v", "missed"))
    returned = Client()
    await there.join("r", resuming("v2", "v"), returned)
    welcome, *missed = returned.take()
    assert (welcome.peer, welcome.resumed, welcome.complete) == ("v", True, True)
    assert [message.sdp for message in missed if isinstance(message, Offer)] == ["missed"]
    await here.say("r", "h", Offer("v", "next"))
    assert [message.sdp for message in returned.take()] == ["next"]


async def test_the_connection_that_is_replaced_is_told_and_says_nothing_more(make):
    bus = MemoryBus()
    here, there = make(bus), make(bus)
    host = await enter(here, "h", "host")
    old = await enter(here, "v")
    new = Client()
    await there.join("r", resuming("v2", "v"), new)
    assert [error.code for error in old.closed] == ["replaced"]
    host.take()
    await here.say("r", "v", Answer("h", "of the old one"))
    await here.leave("r", "v", None)
    assert host.take() == []
    assert here.rooms["r"].member("v2").away_since is None


async def test_a_room_is_kept_for_those_who_are_away(make):
    clock = Clock()
    bus = MemoryBus()
    board = make(bus, clock=clock, resume_window_s=20.0)
    await enter(board, "h", "host", settings=RoomSettings(title="Doom"))
    await board.leave("r", "h", None)
    assert set(board.rooms) == {"r"}
    clock.now += 19
    await board.tick()
    back = Client()
    await board.join("r", resuming("h2", "h", role="host", at=clock.now), back)
    assert back.received[0].resumed
    await board.leave("r", "h2", None)
    clock.now += 20
    await board.tick()
    await until(lambda: not board.rooms)
    assert not bus._rooms


async def test_what_is_due_happens_by_itself(make):
    loop = asyncio.get_running_loop()
    board = make(MemoryBus(), clock=lambda: 1000.0 + loop.time() - start, resume_window_s=0.05)
    start = loop.time()
    host = await enter(board, "h", "host")
    await enter(board, "v")
    await board.leave("r", "v", None)
    (left,) = await host.until(PeerLeft)
    assert (left.peer, left.reason) == ("v", "lost")


async def test_a_client_whom_others_put_out_is_told_to_come_again(make):
    bus = MemoryBus()
    board = make(bus)
    host, viewer = await enter(board, "h", "host"), await enter(board, "v")
    await bus.publish("r", Away("v", 1000.0))
    assert [(error.code, error.retry) for error in viewer.closed] == [("internal", True)]
    assert host.take()[-1].away
    await board.leave("r", "v", None)
    back = Client()
    await board.join("r", resuming("v2", "v"), back)
    assert back.received[0].resumed


# A copy that has to begin anew ------------------------------------------------------------------


def line_of(board):
    """The replica that the bus sees."""
    return board._lines["r"]


async def test_clients_get_what_their_server_missed_and_those_that_are_not_in_it_are_closed(make):
    ahead, behind = make(MemoryBus()), make(MemoryBus())
    for board in (ahead, behind):
        board.clients = {
            "h": await enter(board, "h", "host"),
            "v": await enter(board, "v"),
        }
    host, viewer = behind.clients["h"], behind.clients["v"]
    lost = await enter(behind, "lost")
    for number in range(10):  # more than the other has numbered
        await ahead.say("r", "h", Offer("v", str(number)))
    for client in (host, viewer, lost):
        client.take()
    line_of(behind).restore(ahead.rooms["r"].snapshot())
    assert viewer.take(Offer)[-1].sdp == "9"
    assert [error.code for error in lost.closed] == ["internal"]
    assert host.closed == viewer.closed == []


async def test_a_snapshot_of_another_release_is_refused_in_words(make, caplog):
    board = make(MemoryBus())
    viewer = await enter(board, "v")
    state = msgspec.structs.replace(board.rooms["r"].state, version=99)
    line_of(board).restore(msgspec.msgpack.encode(state))
    assert [(error.code, error.retry) for error in viewer.closed] == [("internal", True)]
    assert "version 99" in caplog.text
    with pytest.raises(BusUnavailable, match="one release"):
        await enter(board, "w")


# Rooms that come and go -------------------------------------------------------------------------


async def until(true):
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # there is nothing to wait on
            await asyncio.sleep(0)


async def test_an_empty_room_is_forgotten(make):
    bus = MemoryBus()
    board = make(bus)
    await enter(board, "h", "host")
    await enter(board, "v")
    await board.leave("r", "h", "bye")
    assert set(board.rooms) == {"r"}
    await board.leave("r", "v", "bye")
    await board.leave("r", "v", "bye")
    assert not board.rooms
    assert not bus._rooms


class SlowBus(MemoryBus):
    """Lets other tasks run in the middle of everything, as a network would."""

    async def publish(self, room, event):
        await asyncio.sleep(0)
        await super().publish(room, event)

    async def subscribe(self, room, replica):
        await asyncio.sleep(0)
        return await super().subscribe(room, replica)


async def test_joins_and_leaves_at_the_same_time_subscribe_once_and_leave_nothing(make):
    bus = SlowBus()
    board = make(bus)

    async def visit(link):
        visitor = await enter(board, link)
        await board.leave("r", link, "bye")
        assert isinstance(visitor.received[0], Welcome)

    await asyncio.gather(*(visit(f"v{number}") for number in range(20)))
    await until(lambda: not board.rooms)
    assert not bus._rooms


class LateBus(MemoryBus):
    """Confirms first and delivers later, as a bus that is somewhere else may."""

    async def publish(self, room, event):
        asyncio.get_running_loop().call_soon(self._deliver, room, event)

    def _deliver(self, room, event):
        for subscription in tuple(self._rooms.get(room, ())):
            subscription.replica.deliver(event, True)


async def test_the_last_to_leave_is_recorded_whenever_the_bus_delivers(make):
    sink = Sink()
    board = make(LateBus(), records=sink)
    host = await enter(board, "h", "host")
    await until(lambda: host.take(Welcome))
    await board.leave("r", "h", "bye")
    await until(lambda: not board.rooms)
    assert sink.types == ["room.opened", "stream.started", "stream.ended", "room.closed"]


async def test_a_room_in_which_many_come_and_go_does_not_grow(make):
    board = make(MemoryBus())
    await enter(board, "h", "host")
    for number in range(300):
        await enter(board, f"v{number}")
        await board.leave("r", f"v{number}", None if number % 2 else "bye")
        if number % 2:
            await board.join("r", resuming(f"w{number}", f"v{number}"), Client())
            await board.leave("r", f"w{number}", "bye")
    assert len(line_of(board).lingering) <= 65


class DeadBus(MemoryBus):
    async def publish(self, room, event):
        raise BusUnavailable("no route")


@pytest.mark.parametrize("reason", ["bye", None])
async def test_a_dead_bus_is_reported_on_join_and_survived_on_leave(make, reason):
    board = make(DeadBus())
    with pytest.raises(BusUnavailable):
        await enter(board, "v")
    await board.leave("r", "v", reason)
    assert not board.rooms


class OutageBus(MemoryBus):
    """Takes nothing, the next so many times."""

    outages = 0

    async def publish(self, room, event):
        if self.outages:
            self.outages -= 1
            raise BusUnavailable("no route")
        await super().publish(room, event)


@pytest.mark.parametrize("reason", ["bye", None])
async def test_who_leaves_in_an_outage_has_left_after_it(make, monkeypatch, reason):
    monkeypatch.setattr("signalling.switchboard.RETRY_S", 0.01)
    bus = OutageBus()
    board = make(bus)
    await enter(board, "h", "host")
    await enter(board, "v")
    room = board.rooms["r"]
    bus.outages = 3
    await board.leave("r", "v", reason)
    assert room.member("v").away_since is None
    await until(lambda: reason is None or room.member("v") is None)
    await until(lambda: reason == "bye" or room.member("v").away_since is not None)
    assert bus.outages == 0


async def test_who_leaves_last_in_an_outage_leaves_nothing(make, monkeypatch):
    monkeypatch.setattr("signalling.switchboard.RETRY_S", 0.01)
    bus = OutageBus()
    board = make(bus)
    await enter(board, "h", "host")
    bus.outages = 2
    await board.leave("r", "h", "bye")
    assert board.rooms
    await until(lambda: not board.rooms)
    assert not bus._rooms


class HoldingBus(MemoryBus):
    """Says that it failed, and delivers later all the same, or does not."""

    def __init__(self):
        super().__init__()
        self.fails = self.loses = False
        self.held = []

    async def publish(self, room, event):
        if not self.fails:
            await super().publish(room, event)
            return
        if not self.loses:
            self.held.append((room, event))
        raise BusUnavailable("no answer")

    async def deliver(self):
        self.fails = False
        for room, event in self.held:
            await self.publish(room, event)


async def test_who_was_let_in_although_the_bus_said_no_does_not_stay(make, monkeypatch):
    monkeypatch.setattr("signalling.switchboard.RETRY_S", 0.01)
    bus = HoldingBus()
    board = make(bus)
    await enter(board, "h", "host")
    bus.fails = True
    with pytest.raises(BusUnavailable):
        await enter(board, "v")
    bus.loses = True
    await board.leave("r", "v", None)
    await settled(board)
    await bus.deliver()
    room = board.rooms["r"]
    assert room.member("v").away_since is None
    await until(lambda: room.member("v").away_since is not None)


async def test_a_closed_switchboard_leaves_no_task_behind():
    bus = MemoryBus()
    before = asyncio.all_tasks()
    board = Switchboard(bus)
    await enter(board, "h", "host", settings=RoomSettings(privacy="public"))
    await board.leave("r", "h", None)
    await board.close()
    assert asyncio.all_tasks() == before
    assert not bus._rooms


# The directory ----------------------------------------------------------------------------------


async def settled(board):
    """Until what the switchboard does by itself is done."""
    while board._tasks:
        await asyncio.gather(*board._tasks)


async def test_public_rooms_are_listed_and_gone_with_their_host(make):
    clock = Clock()
    bus = MemoryBus()
    here, there = make(bus, clock=clock), make(bus, clock=clock)
    public = RoomSettings(privacy="public", title="Doom")
    await enter(there, "v")
    await enter(here, "h", "host", settings=public, name="Ho")
    for board in (here, there):
        await settled(board)
        (card,) = await board.directory()
        assert card == RoomCard(name="r", title="Doom", host="Ho", viewers=1, since=1000.0)
    await here.leave("r", "h", None)
    await settled(here)
    assert [card.name for card in await there.directory()] == ["r"]
    clock.now += 31
    await there.tick()
    for board in (here, there):
        await settled(board)
    assert await there.directory() == []


async def test_rooms_with_most_viewers_come_first_and_unlisted_ones_not_at_all(make):
    clock = Clock()
    board = make(MemoryBus(), clock=clock)
    for room, privacy, viewers in (("a", "public", 0), ("b", "public", 2), ("c", "unlisted", 3)):
        host = joining(f"{room}h", "host", settings=RoomSettings(privacy=privacy))
        await board.join(room, host, Client())
        for number in range(viewers):
            await board.join(room, joining(f"{room}{number}"), Client())
    clock.now += 1
    await board.tick()
    await settled(board)
    assert [(card.name, card.viewers) for card in await board.directory()] == [("b", 2), ("a", 0)]


async def test_a_card_that_cannot_be_read_is_left_out(make):
    bus = MemoryBus()
    await bus.announce("r", b"not a card")
    assert await make(bus).directory() == []


class OrderedBus(MemoryBus):
    """An announcement counts as one of the room's followers at that time."""

    def __init__(self):
        super().__init__()
        self.told = []

    async def announce(self, room, card):
        self.told.append((card is not None, room in self._rooms))
        await super().announce(room, card)


async def test_the_last_word_on_a_room_is_said_while_it_is_followed(make):
    bus = OrderedBus()
    board = make(bus)
    await enter(board, "h", "host", settings=RoomSettings(privacy="public"))
    await board.leave("r", "h", "bye")
    await settled(board)
    assert not board.rooms
    assert bus.told[-1] == (False, True)
    assert await board.directory() == []


async def test_a_host_that_came_meanwhile_is_not_taken_from_the_directory(make):
    bus = MemoryBus()
    here, there = make(bus), make(bus)
    public = RoomSettings(privacy="public")
    await enter(here, "h", "host", settings=public)
    await enter(here, "v")
    await settled(here)
    line_of(here).announcing = asyncio.Lock()
    async with line_of(here).announcing:  # slow to say that its host has left
        await here.leave("r", "h", "bye")
        await enter(there, "h2", "host", settings=public, name="Next")
        await settled(there)
    await settled(here)
    assert [card.host for card in await here.directory()] == ["Next"]


class ShyBus(MemoryBus):
    """Takes no announcement the first time."""

    refused = 0

    async def announce(self, room, card):
        if not self.refused:
            self.refused += 1
            raise BusUnavailable("not now")
        await super().announce(room, card)


async def test_what_could_not_be_announced_is_announced_later(make, monkeypatch):
    monkeypatch.setattr("signalling.switchboard.RETRY_S", 0.01)
    bus = ShyBus()
    board = make(bus)
    await enter(board, "h", "host", settings=RoomSettings(privacy="public"))
    await board.say("r", "h", Configure(title="Doom", id="1"))
    await settled(board)
    assert [card.title for card in await board.directory()] == ["Doom"]
    assert bus.refused == 1


async def test_answers_come_to_who_asked(make):
    board = make(MemoryBus())
    host = await enter(board, "h", "host")
    host.take()
    await board.say("r", "h", Configure(title="Doom", id="7"))
    assert Done("7") in host.take()
