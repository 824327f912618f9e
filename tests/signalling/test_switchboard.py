import asyncio

import pytest

from signalling.bus import BusUnavailable, MemoryBus
from signalling.messages import Answer, Error, Offer, PeerJoined, PeerLeft, Welcome
from signalling.rooms import Join, Leave
from signalling.switchboard import Switchboard


class RecordingPeer:
    def __init__(self):
        self.sent = []
        self.closed = []
        self.probed = 0

    def send(self, message):
        self.sent.append(message)

    def close(self, error):
        self.closed.append(error)

    def probe(self):
        self.probed += 1

    def take(self):
        sent, self.sent = self.sent, []
        return sent


async def test_host_and_viewer_meet_across_two_servers():
    bus = MemoryBus()
    here, there = Switchboard(bus), Switchboard(bus)
    host, viewer = RecordingPeer(), RecordingPeer()
    await here.join("r", Join("h", "host"), host)
    await there.join("r", Join("v", "viewer"), viewer)
    assert viewer.take() == [Welcome("v", "r", "viewer", True, ["h"])]
    assert host.take() == [Welcome("h", "r", "host", True), PeerJoined("v", "viewer")]

    await here.relay("r", "h", Offer("v", "offer"))
    await there.relay("r", "v", Answer("h", "answer"))
    assert viewer.take() == [Offer("h", "offer")]
    assert host.take() == [Answer("v", "answer")]

    await here.leave("r", Leave("h", "bye"))
    assert viewer.take() == [PeerLeft("h", "host", "bye")]
    assert host.take() == []


async def test_a_second_host_on_another_server_is_refused_where_it_is():
    bus = MemoryBus()
    here, there = Switchboard(bus), Switchboard(bus)
    first, second = RecordingPeer(), RecordingPeer()
    await here.join("r", Join("h1", "host"), first)
    await there.join("r", Join("h2", "host"), second)
    assert [error.code for error in second.closed] == ["room-taken"]
    assert (first.closed, first.probed, second.probed) == ([], 1, 0)


async def test_an_empty_room_is_forgotten():
    bus = MemoryBus()
    board = Switchboard(bus)
    peers = {"h": RecordingPeer(), "v": RecordingPeer()}
    await board.join("r", Join("h", "host"), peers["h"])
    await board.join("r", Join("v", "viewer"), peers["v"])
    await board.leave("r", Leave("h", "bye"))
    assert set(board.rooms) == {"r"}
    await board.leave("r", Leave("v", "bye"))
    await board.leave("r", Leave("v", "bye"))
    assert not board.rooms
    assert not bus._rooms


class SlowBus(MemoryBus):
    """Lets other tasks run in the middle of everything, as a network would."""

    async def publish(self, room, event):
        await asyncio.sleep(0)
        await super().publish(room, event)

    async def subscribe(self, room, deliver):
        await asyncio.sleep(0)
        return await super().subscribe(room, deliver)


async def test_joins_and_leaves_at_the_same_time_subscribe_once_and_leave_nothing():
    bus = SlowBus()
    board = Switchboard(bus)

    async def visit(peer):
        visitor = RecordingPeer()
        await board.join("r", Join(peer, "viewer"), visitor)
        await board.leave("r", Leave(peer, "bye"))
        assert visitor.sent == [Welcome(peer, "r", "viewer", False)]

    await asyncio.gather(*(visit(f"v{number}") for number in range(20)))
    assert not board.rooms
    assert not bus._rooms


class DeadBus(MemoryBus):
    async def publish(self, room, event):
        raise BusUnavailable("no route")


async def test_a_dead_bus_is_reported_on_join_and_survived_on_leave():
    board = Switchboard(DeadBus())
    peer = RecordingPeer()
    with pytest.raises(BusUnavailable):
        await board.join("r", Join("v", "viewer"), peer)
    await board.leave("r", Leave("v", "lost"))
    assert not board.rooms


async def test_an_error_reaches_only_its_sender():
    board = Switchboard(MemoryBus())
    host, viewer = RecordingPeer(), RecordingPeer()
    await board.join("r", Join("h", "host"), host)
    await board.join("r", Join("v", "viewer"), viewer)
    host.take(), viewer.take()
    await board.relay("r", "v", Offer("h", "sdp"))
    assert host.take() == []
    (error,) = viewer.take()
    assert isinstance(error, Error)
    assert error.code == "forbidden"


async def test_a_client_whom_others_put_out_is_told_to_join_again():
    bus = MemoryBus()
    board = Switchboard(bus)
    host, viewer = RecordingPeer(), RecordingPeer()
    await board.join("r", Join("h", "host"), host)
    await board.join("r", Join("v", "viewer"), viewer)
    await bus.publish("r", Leave("v", "lost"))
    assert [(error.code, error.retry) for error in viewer.closed] == [("internal", True)]
    assert host.take()[-1] == PeerLeft("v", "viewer", "lost")
    await board.leave("r", Leave("v", "lost"))
    assert host.take() == []
