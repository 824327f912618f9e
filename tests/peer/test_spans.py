"""What is measured of a viewer's coming."""

from __future__ import annotations

import subprocess
import sys
import time

from peer.spans import MAX_SPAN_S, MAX_SPANS, ROOT_SPAN, Spans, new_traceparent
from signalling import tracing
from signalling.messages import Span, Trace, decode_client, encode

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


def test_times_that_others_took_are_taken_and_the_last_of_a_name_is_kept() -> None:
    spans = Spans(TRACE, clock=lambda: 7.0)
    spans.begin("ice", 1.0)
    spans.end("ice", 2.5)
    spans.begin("dtls", 2.5)
    spans.end("dtls")
    spans.begin("ice", 4.0)
    spans.end("ice", 4.5)
    spans.begin("never-ended")
    assert spans.take() == Trace([Span("dtls", 2500.0, 4500.0), Span("ice", 4000.0, 500.0)], TRACE)


def test_a_report_is_never_more_than_the_protocol_takes() -> None:
    """Who says too much is put out for a bad message."""
    spans = Spans(TRACE)
    spans.begin("waited-all-night", 0.0)
    spans.end("waited-all-night", MAX_SPAN_S + 1)
    for number in range(MAX_SPANS + 5):
        spans.begin(f"n{number}", 0.0)
        spans.end(f"n{number}", MAX_SPAN_S)
    trace = spans.take()
    assert trace is not None
    assert [span.name for span in trace.spans] == [f"n{number}" for number in range(5, 21)]
    assert decode_client(encode(trace)) == trace


def test_a_trace_that_begins_here_is_one_that_servers_know() -> None:
    contexts = {new_traceparent() for _ in range(8)}
    assert len(contexts) == 8
    assert all(tracing.valid_traceparent(context) for context in contexts)
    assert ROOT_SPAN == tracing.ROOT_SPAN


def test_a_process_knows_when_it_began() -> None:
    before = time.time()
    words = [sys.executable, "-c", "from peer.spans import process_start; print(process_start())"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    # The kernel counts in hundredths of a second.
    assert before - 0.02 <= float(told) <= before + 0.5
