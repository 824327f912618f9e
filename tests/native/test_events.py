import pytest

from native import (
    Address,
    Datagram,
    FirstReport,
    PeerBye,
    SourceLost,
    SourceResized,
    StreamFailed,
)
from native.binding import ffi, lib
from native.events import event_from_native


def native_event(kind: int, **fields: int):
    event = ffi.new("struct pc_event *")
    event.kind = kind
    for name, value in fields.items():
        setattr(event, name, value)
    return event


def test_each_kind_has_its_own_type():
    assert event_from_native(native_event(lib.PC_EVENT_SOURCE_LOST, id=3)) == SourceLost(3)
    assert event_from_native(native_event(lib.PC_EVENT_PEER_BYE, id=4)) == PeerBye(4)
    assert event_from_native(native_event(lib.PC_EVENT_FIRST_REPORT, id=5)) == FirstReport(5)
    assert event_from_native(
        native_event(lib.PC_EVENT_SOURCE_RESIZED, id=6, a=1920, b=1080)
    ) == SourceResized(6, 1920, 1080)


def test_a_datagram_keeps_its_bytes_and_where_it_came_from():
    event = native_event(lib.PC_EVENT_DATAGRAM, socket=1, size=3)
    ffi.memmove(event.data, b"\x00\x01\x02trailing", 11)
    source = Address("2001:db8::1", 40000)
    source.to_native(getattr(event, "from"))
    assert event_from_native(event) == Datagram(1, source, b"\x00\x01\x02")


def test_a_failure_comes_with_words():
    event = native_event(lib.PC_EVENT_STREAM_FAILED, id=7, size=9)
    ffi.memmove(event.data, b"no memory", 9)
    assert event_from_native(event) == StreamFailed(7, "no memory")


def test_an_event_without_a_kind_is_a_broken_invariant():
    with pytest.raises(AssertionError, match="kind 0"):
        event_from_native(native_event(lib.PC_EVENT_NONE))
