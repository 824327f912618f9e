import pytest

from integrations.events import EventBus, MemoryLog
from integrations.events.records import RecordEvents, data_of
from integrations.events.types import SCHEMAS, ControlGranted
from signalling.records import Record, RecordType

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
