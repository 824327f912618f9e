import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.events import Event, EventError, decode_event, encode_event, validate
from integrations.events.envelope import MAX_EVENT_BYTES, event_id
from integrations.events.types import SCHEMAS, EventData, StreamStarted, ViewerJoined
from signalling.records import RecordType

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
EVENT = Event.of(
    ViewerJoined(room="den", actor="u1", peer="p1", role="viewer"),
    source="/signalling/a",
    at=1_700_000_000.25,
    id="e1",
    traceparent=TRACE,
)
WRITTEN = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/signalling/a",
    "type": "viewer.joined",
    "time": "2023-11-14T22:13:20.250000Z",
    "datacontenttype": "application/json",
    "dataschema": "urn:playcast:event:viewer.joined:1",
    "subject": "room/den/peer/p1",
    "traceparent": TRACE,
    "data": {"room": "den", "actor": "u1", "peer": "p1", "role": "viewer"},
}


def changed(**changes):
    words = {**WRITTEN, **changes}
    return json.dumps({name: value for name, value in words.items() if value is not None}).encode()


def test_is_written_as_cloud_events_says():
    assert json.loads(encode_event(EVENT)) == WRITTEN


def test_is_read_as_it_was_written():
    assert decode_event(encode_event(EVENT)) == EVENT


def test_every_record_that_there_can_be_has_a_schema_and_no_other():
    assert {schema.name for schema in SCHEMAS} == set(RecordType.__args__)
    assert len({schema.uri for schema in SCHEMAS}) == len(SCHEMAS)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_every_type_can_be_written_and_read(schema):
    event = validate(Event.of(schema.data(room="den"), source="/x"))
    assert event.type == schema.name
    assert decode_event(encode_event(event)) == event


def test_others_attributes_and_newer_fields_are_ignored():
    data = {**WRITTEN["data"], "from_the_future": [1]}
    assert decode_event(changed(data=data, partitionkey="7")) == EVENT


@pytest.mark.parametrize(
    "changes",
    [
        {"dataschema": "urn:playcast:event:viewer.joined:2"},
        {"type": "viewer.danced", "dataschema": "urn:playcast:event:viewer.danced:1"},
    ],
)
def test_what_this_release_does_not_know_has_plain_values(changes):
    event = decode_event(changed(**changes))
    assert event.schema is None
    assert event.data == WRITTEN["data"]
    assert event.room == "den"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"source": 7}, "source"),
        ({"type": "Joined"}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"dataschema": None}, "dataschema"),
        ({"dataschema": "urn:playcast:event:stream.ended:1"}, "dataschema"),
        ({"traceparent": "00-1-2-3"}, "traceparent"),
        ({"data": {"room": 7}}, "room"),
        ({"data": "text"}, "object"),
    ],
)
def test_what_is_no_event_is_refused_in_words(changes, words):
    with pytest.raises(EventError, match=words):
        decode_event(changed(**changes))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"null", b"{" * 60_000, b" " * (MAX_EVENT_BYTES + 1)],
    ids=["empty", "bytes", "array", "null", "deep", "long"],
)
def test_rubbish_is_refused(body):
    with pytest.raises(EventError):
        decode_event(body)


def test_depth_in_unknown_data_is_refused():
    deep = "[" * 20_000 + "]" * 20_000
    body = changed(dataschema="urn:x:1", type="a.b", data={"x": "@"}).replace(b'"@"', deep.encode())
    with pytest.raises(EventError):
        decode_event(body)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_bytes_are_an_event_or_refused(body):
    with pytest.raises(EventError):
        decode_event(body)


@settings(max_examples=200, deadline=None)
@given(room=st.text(), name=st.text(), at=st.floats(0, 4e9))
def test_whatever_can_be_said_is_read_as_it_was_said(room, name, at):
    event = Event.of(ViewerJoined(room=room, actor=name), source="/x", at=at)
    try:
        validate(event)
    except EventError:
        # A subject has its length, and text may hold what UTF-8 cannot.
        assert len(room) > 200 or not encodable(room) or not encodable(name)
    else:
        assert decode_event(encode_event(event)) == event


def encodable(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "stream.started"}, "dataschema"),
        ({"data": StreamStarted(room="den")}, "data"),
        ({"data": {"room": "den"}}, "data"),
        ({"dataschema": "urn:playcast:event:viewer.joined:9"}, "dataschema"),
        ({"id": "x" * 129}, "id"),
        ({"time": datetime(2023, 1, 1)}, "time"),  # noqa: DTZ001 - the mistake in question
        ({"traceparent": "no"}, "traceparent"),
    ],
)
def test_what_may_not_be_published_is_named(changes, words):
    fields = {name: getattr(EVENT, name) for name in EVENT.__struct_fields__}
    with pytest.raises(EventError, match=words):
        validate(Event(**{**fields, **changes}))


def test_ids_sort_by_time_and_differ():
    ids = [event_id(at) for at in (1.0, 1.5, 2.0, 1e9)]
    assert ids == sorted(ids)
    assert event_id(1.0) != event_id(1.0)


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        (EventData(), ""),
        (EventData(room="den"), "room/den"),
        (EventData(room="den", peer="p"), "room/den/peer/p"),
    ],
)
def test_the_subject_is_the_resource(data, subject):
    started = StreamStarted(room=data.room, peer=data.peer)
    assert Event.of(started, source="/x").subject == subject
