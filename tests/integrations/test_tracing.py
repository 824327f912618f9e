"""One trace from click to first frame arrives at a collector, and nothing secret with it."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from integrations.scrub import Scrubber
from integrations.tracing import OtlpTracer, TelemetrySettings
from signalling.messages import Span
from signalling.tracing import ROOT_SPAN, keep_report, parse_traceparent
from tests.integrations.otlp_server import Collected, OtlpServer, otlp_server

TRACE, CLICK = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PAGE = f"00-{TRACE}-{CLICK}-01"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture
async def collector():
    async with otlp_server() as server:
        yield server


@asynccontextmanager
async def tracing(collector: OtlpServer, **settings):
    tracer = OtlpTracer(
        TelemetrySettings(endpoint=collector.endpoint, **settings),
        Scrubber(),
        version="0.1.0",
        environment="test",
        delay_s=0.01,
    )
    try:
        yield tracer
    finally:
        await tracer.close()


def by_name(spans: list[Collected]) -> dict[str, Collected]:
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


async def test_one_trace_runs_from_the_click_to_the_first_frame(collector: OtlpServer):
    """Page, server, bus and host, whose spans arrive in no order."""
    click = time.time() - 0.8
    async with tracing(collector) as server, tracing(collector, service_name="host") as host:
        with server.start("join", parent=PAGE, attributes={"room": "arena"}) as join:
            join.set("role", "viewer")
            with host.start("offer", parent=join.traceparent):
                pass
        whole = keep_report(
            server,
            PAGE,
            [
                Span("connect", click * 1000, 120.0),
                Span("first-frame", click * 1000, 750.0),
                Span("ice", click * 1000 + 300, 200.5),
            ],
            now=time.time(),
        )
        spans = by_name(await collector.until(6))
    assert whole == pytest.approx(0.75)
    assert {span.trace for span in spans.values()} == {TRACE}
    root = spans[ROOT_SPAN]
    assert (root.span, root.parent) == (CLICK, "")
    assert root.start == pytest.approx(click, abs=1e-6)
    assert root.end - root.start == pytest.approx(0.75, abs=1e-6)
    for name in ("connect", "first-frame", "ice", "join"):
        assert spans[name].parent == CLICK
    assert spans["ice"].start == pytest.approx(click + 0.3, abs=1e-6)
    assert spans["ice"].end - spans["ice"].start == pytest.approx(0.2005, abs=1e-6)
    assert spans["offer"].parent == spans["join"].span
    assert spans["join"].attributes == {"room": "arena", "role": "viewer"}
    assert (spans["join"].service, spans["offer"].service) == ("playcast-signalling", "host")


async def test_a_report_may_name_the_root_itself(collector: OtlpServer):
    now = time.time()
    spans = [Span("ice", now * 1000 + 100, 50.0), Span(ROOT_SPAN, now * 1000, 900.0)]
    async with tracing(collector) as tracer:
        assert keep_report(tracer, PAGE, spans, now=now) == pytest.approx(0.9)
        found = by_name(await collector.until(2))
    assert found.keys() == {ROOT_SPAN, "ice"}
    assert found[ROOT_SPAN].span == found["ice"].parent == CLICK
    assert found[ROOT_SPAN].end - found[ROOT_SPAN].start == pytest.approx(0.9, abs=1e-6)


async def test_a_hosts_part_has_no_root(collector: OtlpServer):
    now = time.time()
    spans = [Span("host.prepare", now * 1000, 5.0), Span("host.connect", now * 1000 + 5, 60.0)]
    async with tracing(collector) as tracer:
        assert keep_report(tracer, PAGE, spans, now=now, whole=False) is None
        found = by_name(await collector.until(2))
    assert found.keys() == {"host.prepare", "host.connect"}
    assert {span.parent for span in found.values()} == {CLICK}


async def test_a_trace_begins_here_without_a_context(collector: OtlpServer):
    async with tracing(collector) as tracer:
        for parent in ("", "nonsense", f"00-{'0' * 32}-{CLICK}-01", f"00-{TRACE}-{'0' * 16}-01"):
            with tracer.start("join", parent=parent):
                pass
        spans = await collector.until(4)
    assert {span.parent for span in spans} == {""}
    assert len({span.trace for span in spans} | {TRACE, "0" * 32}) == 6


async def test_spans_of_the_server_have_explicit_times_and_errors(collector: OtlpServer):
    async with tracing(collector) as tracer:
        tracer.start("early", at=1000.25).end(at=1001.5)
        bad = tracer.start("bad", attributes={"note": f"had {TOKEN}"})
        with pytest.raises(ValueError, match="no"), bad:
            raise ValueError(f"no {TOKEN} from 203.0.113.9")
        bad.end(error="again")
        spans = by_name(await collector.until(2))
    assert (spans["early"].start, spans["early"].end) == (1000.25, 1001.5)
    assert spans["early"].error == ""
    assert spans["bad"].error == "ValueError: no [token] from [address]"
    assert spans["bad"].attributes == {"note": "had [token]"}


async def test_what_a_client_says_is_kept_only_when_it_can_be(collector: OtlpServer):
    now = time.time()
    fine = Span("ice", now * 1000, 5.0)
    async with tracing(collector) as tracer:
        for parent, span in (
            ("", fine),
            ("00-zz", fine),
            (PAGE, Span("ice", float("nan"), 5.0)),
            (PAGE, Span("ice", float("inf"), 5.0)),
            (PAGE, Span("ice", 0.0, 5.0)),
            (PAGE, Span("ice", (now + 1e6) * 1000, 5.0)),
            (PAGE, Span("ice", now * 1000, float("inf"))),
        ):
            assert keep_report(tracer, parent, [span], now=now) is None
        assert keep_report(tracer, PAGE, [], now=now) is None
        tracer.record("x", parent="nonsense", start=now, duration_s=1.0)
        tracer.record("x", parent="", span="nonsense", start=now, duration_s=1.0)
    assert collector.spans == []


async def test_what_is_not_sampled_is_not_sent_and_its_context_says_so(collector: OtlpServer):
    async with tracing(collector) as tracer:
        unsampled = PAGE[:-2] + "00"
        with tracer.start("join", parent=unsampled) as join:
            assert parse_traceparent(join.traceparent)[2] == 0
        keep_report(tracer, unsampled, [Span("a", time.time() * 1000, 1.0)], now=time.time())
    async with tracing(collector, sample_ratio=0.0) as tracer:
        with tracer.start("join", parent=PAGE):
            pass
        keep_report(tracer, PAGE, [Span("a", time.time() * 1000, 1.0)], now=time.time())
    assert collector.spans == []


async def test_every_span_of_a_trace_is_kept_or_none(collector: OtlpServer):
    traces = [
        f"00-{number * 0x9E3779B97F4A7C15 % 2**128:032x}-{CLICK}-01" for number in range(1, 65)
    ]
    async with tracing(collector, sample_ratio=0.5) as tracer:
        for trace in traces:
            with tracer.start("join", parent=trace):
                pass
            tracer.record("root", parent="", span=trace, start=time.time(), duration_s=0.1)
            tracer.record("child", parent=trace, start=time.time(), duration_s=0.1)
    names: dict[str, set[str]] = {}
    for span in collector.spans:
        names.setdefault(span.trace, set()).add(span.name)
    assert all(found == {"join", "root", "child"} for found in names.values())
    assert 16 <= len(names) <= 48


async def test_headers_are_sent(collector: OtlpServer):
    async with tracing(collector, headers="Authorization=Bearer x=y, X-Team=games") as tracer:
        tracer.start("a").end()
        await collector.until(1)
    assert collector.headers[0]["authorization"] == "Bearer x=y"
    assert collector.headers[0]["x-team"] == "games"


def test_wrong_headers_are_refused_without_repeating_them():
    with pytest.raises(ValueError, match=r"^headers: ") as refused:
        TelemetrySettings(headers="s3cr3t").parsed_headers()
    assert "s3cr3t" not in str(refused.value)


async def test_a_collector_that_is_away_holds_up_nobody():
    tracer = OtlpTracer(
        TelemetrySettings(endpoint="http://127.0.0.1:9/v1/traces", timeout_s=0.2), Scrubber()
    )
    for _ in range(5000):
        tracer.start("a").end()
    async with asyncio.timeout(20):
        await tracer.close()
