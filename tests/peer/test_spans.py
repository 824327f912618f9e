"""What a host measures of a viewer's coming."""

from __future__ import annotations

from peer.spans import Spans
from signalling.messages import Span, Trace

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def measured(traceparent: str) -> Spans:
    now = iter([100.0, 100.25, 101.0, 100.9])
    spans = Spans(traceparent, clock=lambda: next(now))
    spans.end("never-begun")
    spans.begin("host.prepare")
    spans.end("host.prepare")
    spans.begin("host.connect")
    spans.end("host.connect")  # the clock was set back meanwhile
    return spans


def test_what_was_measured_is_reported_once() -> None:
    spans = measured(TRACE)
    wanted = [Span("host.prepare", 100_000.0, 250.0), Span("host.connect", 101_000.0, 0.0)]
    assert spans.take() == Trace(wanted, TRACE)
    assert spans.take() is None


def test_nobody_is_told_where_nobody_traces() -> None:
    assert measured("").take() is None
