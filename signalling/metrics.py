"""What a signalling server counts, for Prometheus.

One :class:`Metrics` belongs to one server: it gets it through its settings, calls the small methods
where things happen, and serves :meth:`Metrics.render` at ``/metrics``. It is a
:class:`.records.RecordSink` too: what is put there as a record is counted by its type and needs no
method of its own.

Counting is an addition to a plain integer, 0.1 to 0.3 µs; samples are made of them when somebody
asks. All methods are for one thread, the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .records import Record

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What :meth:`Metrics.render` returns."""

MAX_LABEL_VALUES = 64
"""Values of a label that are told apart; what comes after is counted as :data:`OTHER`."""

OTHER = "other"

RELAY_BUCKETS_S = (
    *(0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.25, 1.0),
)
LOOP_BUCKETS_S = (0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
BUS_BUCKETS_S = (0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
RTT_BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
START_BUCKETS_S = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Who is on a server at one moment."""

    rooms: int = 0
    """Rooms in which this server has members."""

    members: Mapping[str, int] = field(default_factory=dict)
    """Members connected to this server, by role."""

    away: int = 0
    """Members of this server whose seat is kept while they are gone."""


class Metrics:
    """The counts of one server, in a registry of their own."""

    def __init__(self, *, version: str = "", process: bool = False) -> None:
        """``version`` of the program; ``process``: tell of its memory, CPU and files too."""
        self.registry = CollectorRegistry()
        self.registry.register(_FromIntegers(self._families))
        if process:
            for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
                self.registry.register(collector)
        self._version = version
        self._population: Callable[[], Population] = Population
        self._draining = False
        self._bus_up = True
        self._opened = 0
        self._received_bytes = 0
        self._sent_bytes = 0
        self._authenticated = 0
        self._bus_failures = 0
        self._turn = 0
        self._failures = 0
        self._closed = _Tally()
        self._received = _Tally()
        self._sent = _Tally()
        self._auth_failures = _Tally()
        self._refused = _Tally()
        self._dropped = _Tally()
        self._jwks = _Tally()
        self._records = _Tally()
        self._relay = _Timing(RELAY_BUCKETS_S)
        self._loop_lag = _Timing(LOOP_BUCKETS_S)
        self._bus_lag = _Timing(BUS_BUCKETS_S)
        self._rtt = _Timing(RTT_BUCKETS_S)
        self._first_frame = _Timing(START_BUCKETS_S)

    # Connections and messages -------------------------------------------------------------------

    def connection_opened(self) -> None:
        """A client's WebSocket is open."""
        self._opened += 1

    def connection_closed(self, code: int) -> None:
        """It has ended, with this close code (RFC 6455 section 7.4); 1006 without one."""
        self._closed.add(str(code))

    def received(self, kind: str, size: int) -> None:
        """A message of this type and so many bytes came in."""
        self._received.add(kind)
        self._received_bytes += size

    def sent(self, kind: str, size: int) -> None:
        """A message was queued for a client; for a broadcast once per client."""
        self._sent.add(kind)
        self._sent_bytes += size

    def relayed(self, seconds: float) -> None:
        """A message left for its receiver so long after it had come in."""
        self._relay.add(seconds)

    # What happens less often --------------------------------------------------------------------

    def authenticated(self) -> None:
        """A token was accepted."""
        self._authenticated += 1

    def auth_failed(self, reason: str) -> None:
        """A token was refused; ``reason`` is a word such as ``token-expired``."""
        self._auth_failures.add(reason)

    def refused(self, limit: str) -> None:
        """A limit refused something; ``limit`` is its name, as ``user.join`` or ``connections``."""
        self._refused.add(limit)

    def dropped(self, reason: str) -> None:
        """A connection was given up; ``reason`` as ``slow``, ``idle`` or ``probe``."""
        self._dropped.add(reason)

    def internal_error(self) -> None:
        """A mistake of ours ended a connection or a task: the log has it."""
        self._failures += 1

    def bus_available(self, available: bool) -> None:
        """Whether the bus can be reached now."""
        self._bus_up = available

    def bus_lag(self, seconds: float) -> None:
        """An event came back from the bus so long after it was published."""
        self._bus_lag.add(seconds)

    def bus_failed(self) -> None:
        """The bus did not take an event in time."""
        self._bus_failures += 1

    def rtt(self, seconds: float) -> None:
        """A heartbeat took so long to a client and back."""
        self._rtt.add(seconds)

    def first_frame(self, seconds: float) -> None:
        """A viewer says that its first frame was there so long after the click."""
        self._first_frame.add(seconds)

    def turn_credential_issued(self) -> None:
        """A client got a TURN credential."""
        self._turn += 1

    def jwks_fetched(self, outcome: str) -> None:
        """The issuer's keys were asked for; ``outcome`` is ``ok`` or ``failed``."""
        self._jwks.add(outcome)

    def loop_lag(self, seconds: float) -> None:
        """A timer of the event loop ran so late."""
        self._loop_lag.add(seconds)

    def draining(self, draining: bool) -> None:
        """Whether the server sends its clients elsewhere."""
        self._draining = draining

    def watch(self, population: Callable[[], Population]) -> None:
        """Ask this for who is there, whenever somebody asks for the metrics."""
        self._population = population

    def put(self, record: Record) -> None:
        """Count a record by its type: see :class:`.records.RecordSink`."""
        self._records.add(record.type)

    # For Prometheus -----------------------------------------------------------------------------

    def render(self) -> bytes:
        """All of it in Prometheus's text format, :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _families(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("playcast_build_info", "Always 1.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield from self._of_connections()
        yield from self._of_population()
        yield self._auth_failures.family("auth_failures", "Tokens refused, by reason.", "reason")
        yield _counter("authenticated", "Tokens accepted.", self._authenticated)
        yield self._jwks.family("jwks_fetches", "Fetches of the issuer's keys.", "outcome")
        yield self._refused.family("refused", "What limits refused, by limit.", "limit")
        yield _counter("turn_credentials", "TURN credentials handed out.", self._turn)
        yield self._records.family("records", "What happened, by type.", "type")
        yield _gauge("bus_up", "1 while the bus can be reached.", self._bus_up)
        yield _counter("bus_failures", "Events that the bus did not take.", self._bus_failures)
        yield self._bus_lag.family("bus_lag", "From publishing an event to its delivery here.")
        yield self._loop_lag.family("loop_lag", "How late the event loop ran a timer.")
        yield _counter("internal_errors", "Mistakes of ours: the log has them.", self._failures)
        yield _gauge("draining", "1 while clients are sent elsewhere.", self._draining)

    def _of_connections(self) -> Iterable[Metric]:
        closed = sum(self._closed.counts.values())
        yield _gauge("connections", "Open WebSockets.", self._opened - closed)
        yield _counter("connections_opened", "WebSockets that were opened.", self._opened)
        yield self._closed.family("connections_closed", "WebSockets that ended, by code.", "code")
        yield self._dropped.family("dropped", "Connections given up, by reason.", "reason")
        yield self._received.family("messages_received", "Messages of clients, by type.", "type")
        yield self._sent.family("messages_sent", "Messages for clients, by type.", "type")
        yield _counter("received_bytes", "Bytes of clients' messages.", self._received_bytes)
        yield _counter("sent_bytes", "Bytes of messages for clients.", self._sent_bytes)
        yield self._relay.family("relay", "From a message's arrival to its departure.")
        yield self._rtt.family("rtt", "Round trips to clients, by heartbeat.")
        yield self._first_frame.family("first_frame", "From a viewer's click to its first frame.")

    def _of_population(self) -> Iterable[Metric]:
        population = self._population()
        yield _gauge("rooms", "Rooms with members on this server.", population.rooms)
        yield _gauge("members_away", "Members whose seat is kept for them.", population.away)
        members = GaugeMetricFamily(
            "playcast_members", "Members on this server, by role.", labels=["role"]
        )
        for role, count in population.members.items():
            members.add_metric([role], count)
        yield members


class _FromIntegers(Collector):
    """Makes samples of plain integers when somebody asks."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


class _Tally:
    """Counts by one label."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, value: str) -> None:
        counts = self.counts
        if value in counts:
            counts[value] += 1
        elif len(counts) < MAX_LABEL_VALUES:
            counts[value] = 1
        else:
            counts[OTHER] = counts.get(OTHER, 0) + 1

    def family(self, name: str, text: str, label: str) -> Metric:
        family = CounterMetricFamily(f"playcast_{name}", text, labels=[label])
        for value, count in self.counts.items():
            family.add_metric([value], count)
        return family


class _Timing:
    """A histogram of durations in seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        if seconds < 0:
            seconds = 0.0  # two machines' clocks
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, text: str) -> Metric:
        family = HistogramMetricFamily(f"playcast_{name}_seconds", text)
        bounds = [*map(str, self._bounds), "+Inf"]
        family.add_metric(
            [], list(zip(bounds, accumulate(self._counts), strict=True)), sum_value=self._sum
        )
        return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"playcast_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"playcast_{name}", text, value=value)
