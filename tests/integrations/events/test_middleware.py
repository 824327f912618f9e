import pytest

from integrations.events import Deduplicate, Event, Traced
from integrations.events.types import StreamStarted
from signalling.tracing import NoTracer

from .waiting import Handled


def event(id, trace=""):
    return Event.of(StreamStarted(room=id), source="/x", id=id, traceparent=trace)


async def test_each_event_is_let_through_once():
    once, handled = Deduplicate(), Handled()
    for id in ("a", "b", "a", "b", "c"):
        await once(event(id), handled)
    assert handled.rooms == ["a", "b", "c"]
    assert once.duplicates == 2


async def test_one_that_failed_may_come_again():
    once, handled = Deduplicate(), Handled(fail=1)
    with pytest.raises(RuntimeError):
        await once(event("a"), handled)
    await once(event("a"), handled)
    assert handled.rooms == ["a"]
    assert once.duplicates == 0


async def test_only_so_many_are_remembered():
    once, handled = Deduplicate(2), Handled()
    for id in ("a", "b", "c", "a"):
        await once(event(id), handled)
    assert handled.rooms == ["a", "b", "c", "a"]


class Spans(NoTracer):
    def __init__(self):
        self.started = []

    def start(self, name, **how):
        self.started.append((name, how["parent"], how["attributes"]["event.type"]))
        return super().start(name, **how)


async def test_a_handler_is_a_span_of_the_events_trace():
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    spans, handled = Spans(), Handled()
    await Traced(spans)(event("a", trace), handled)
    assert spans.started == [("event.handle", trace, "stream.started")]
    assert handled.rooms == ["a"]
