import pytest

from integrations.events import Event, Route, all_of, from_source, in_room
from integrations.events.types import ControlGranted, StreamStarted, ViewerJoined


def event(data, source="/signalling/a"):
    return Event.of(data, source=source)


STARTED, JOINED = event(StreamStarted(room="den")), event(ViewerJoined(room="arena"))
CONTROL = event(ControlGranted(room="den"), source="/host/b")


@pytest.mark.parametrize(
    ("types", "taken"),
    [
        (("**",), [STARTED, JOINED, CONTROL]),
        (("*.*",), [STARTED, JOINED, CONTROL]),
        (("*",), []),
        (("stream.*",), [STARTED]),
        (("*.joined", "control.granted"), [JOINED, CONTROL]),
        (("stream",), []),
        (("stream.start",), []),
        (("s*.*d",), [STARTED]),
        (("stream.started.**",), []),
    ],
)
def test_globs(types, taken):
    assert [e for e in (STARTED, JOINED, CONTROL) if Route(types).takes(e)] == taken


def test_filters():
    assert Route(where=in_room("den")).takes(STARTED)
    assert not Route(where=in_room("den")).takes(JOINED)
    both = all_of([in_room("den"), from_source("/host/")])
    assert [e for e in (STARTED, JOINED, CONTROL) if Route(where=both).takes(e)] == [CONTROL]


@pytest.mark.parametrize("types", [(), ("",), ("Stream.*",), ("a b",), ("(",)])
def test_what_is_no_glob_is_named(types):
    with pytest.raises(ValueError, match=r"^types:"):
        Route(types)
