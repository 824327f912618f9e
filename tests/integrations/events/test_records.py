import msgspec
import pytest

from integrations.events import EventBus, MemoryLog
from integrations.events.records import RecordEvents, data_of
from integrations.events.types import SCHEMAS, ControlGranted
from signalling.messages import (
    Admit,
    Ban,
    Chat,
    Configure,
    ControlDeny,
    ControlGrant,
    ControlRequest,
    ControlTake,
    Grant,
    Invite,
    Kick,
    Promote,
    Revoke,
    Unban,
)
from signalling.records import Record, RecordType
from tests.signalling.rooms.party import Party

EVERY_SETTING = {
    "policy": "approval",
    "locked": False,
    "capacity": 10,
    "privacy": "public",
    "title": "Doom",
    "steam_app_id": 2280,
    "control_policy": "turns",
    "turn_s": 30.0,
    "pads": 2,
    "keyboard": False,
    "chat": True,
}
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


async def test_a_record_becomes_an_event():
    async with EventBus(MemoryLog()) as bus:
        sink = RecordEvents(bus, "/signalling/a")
        sink.put(
            Record(
                type="control.granted",
                at=1_700_000_000.0,
                room="den",
                actor="host",
                subject="u1",
                peer="p1",
                data={"control": "pad:1", "until": 1_700_000_060.0},
                traceparent=TRACE,
            )
        )
        await sink.close()
        ((_, event),) = [found async for found in bus.replay()]
    assert event.type == "control.granted"
    assert event.source == "/signalling/a"
    assert event.subject == "room/den/peer/p1"
    assert event.time.timestamp() == 1_700_000_000.0
    assert event.traceparent == TRACE
    assert event.data == ControlGranted(
        room="den",
        actor="host",
        subject="u1",
        peer="p1",
        control="pad:1",
        until=1_700_000_060.0,
    )


@pytest.mark.parametrize("type", RecordType.__args__)
async def test_every_record_can_be_published(type):
    async with EventBus(MemoryLog()) as bus:
        sink = RecordEvents(bus, "/x")
        sink.put(Record(type=type, at=1.0, room="den"))
        await sink.close()
        assert [event.type async for _, event in bus.replay()] == [type]


async def test_a_record_that_does_not_fit_is_counted():
    async with EventBus(MemoryLog()) as bus:
        sink = RecordEvents(bus, "/x")
        sink.put(Record(type="control.granted", at=1.0, data={"control": 7}))
        sink.put(Record(type="control.granted", at=1.0, data={"control": "mouse"}))
        await sink.close()
        assert sink.malformed == 1
        assert [event.data.control async for _, event in bus.replay()] == ["mouse"]


def test_whole_numbers_are_numbers():
    """JSON has one kind of number, and so have those who fill records."""
    for schema in SCHEMAS:
        fields = schema.data.__struct_fields__
        if "until" in fields:
            record = Record(type=schema.name, at=1.0, data={"until": 60})
            assert data_of(record).until == 60


def test_everything_that_a_room_records_is_in_the_event():
    party = Party()
    host = party.join("host", "host")
    host.ask(Configure(**{"id": "1", **EVERY_SETTING, "policy": "approval"}))
    let_in, sent_away = party.join("anna"), party.join("bert")
    host.ask(Admit(id="2", peer=let_in.peer))
    host.ask(Kick(id="3", peer=sent_away.peer))
    host.ask(Configure(id="4", policy="open", control_policy="ask"))
    host.ask(Promote(id="5", peer=let_in.peer, role="player"))
    let_in.ask(ControlRequest(id="6", control="pad:1"))
    host.ask(ControlDeny(id="7", control="pad:1", peer=let_in.peer))
    host.ask(ControlGrant(id="8", control="pad:1", peer=let_in.peer, for_s=60.0))
    host.ask(ControlTake(id="9", control="pad:1"))
    host.ask(Grant(id="10", peer=let_in.peer, capability="clipboard", for_s=60.0))
    host.ask(Revoke(id="11", peer=let_in.peer, capability="clipboard"))
    host.ask(Invite(id="12"))
    let_in.ask(Chat(id="13", text="hello"))
    let_in.drop()
    let_in.come_back()
    kicked, banned, leaves = party.join("carl"), party.join("dora"), party.join("emil")
    host.ask(Kick(id="14", peer=kicked.peer))
    host.ask(Ban(id="15", peer=banned.peer, for_s=60.0))
    host.ask(Unban(id="16", subject=banned.subject))
    leaves.leave()
    let_in.leave()
    host.leave()
    elsewhere = ("server.", "auth.", "quality.")
    expected = {t for t in RecordType.__args__ if not t.startswith(elsewhere)}
    assert {record.type for record in party.records} == expected
    for record in party.records:
        data = msgspec.structs.asdict(data_of(record))
        assert {name: data.get(name) for name in record.data} == record.data, record
