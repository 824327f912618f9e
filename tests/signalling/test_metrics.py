"""What is counted is what Prometheus reads, and counting costs a message next to nothing."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from signalling.metrics import (
    CONTENT_TYPE,
    MAX_LABEL_VALUES,
    OTHER,
    RELAY_BUCKETS_S,
    Metrics,
    Population,
)
from signalling.records import Record


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((f"playcast_{name}", tuple(sorted(labels.items()))))


def test_a_fresh_server_says_zero_of_everything_without_labels():
    metrics = Metrics(version="1.2")
    found = samples(metrics)
    assert found.pop(("playcast_build_info", (("version", "1.2"),))) == 1
    assert found.pop(("playcast_bus_up", ())) == 1
    assert set(found.values()) == {0}


def test_connections_are_those_opened_and_not_closed():
    metrics = Metrics()
    for _ in range(5):
        metrics.connection_opened()
    for code in (1000, 1000, 4401):
        metrics.connection_closed(code)
    assert value(metrics, "connections") == 2
    assert value(metrics, "connections_opened_total") == 5
    assert value(metrics, "connections_closed_total", code="1000") == 2
    assert value(metrics, "connections_closed_total", code="4401") == 1


def test_messages_are_counted_by_type_with_their_bytes():
    metrics = Metrics()
    metrics.received("offer", 100)
    metrics.received("offer", 20)
    metrics.received("candidate", 3)
    metrics.sent("welcome", 7)
    assert value(metrics, "messages_received_total", type="offer") == 2
    assert value(metrics, "messages_received_total", type="candidate") == 1
    assert value(metrics, "received_bytes_total") == 123
    assert value(metrics, "messages_sent_total", type="welcome") == 1
    assert value(metrics, "sent_bytes_total") == 7


@given(st.lists(st.floats(0, 10), max_size=50))
def test_a_histogram_is_one(times: list[float]):
    """Cumulative; a time that is a bound counts as not over it; +Inf has all."""
    metrics = Metrics()
    for time in times:
        metrics.relayed(time)
    found = samples(metrics)
    buckets = {
        float(dict(labels)["le"]): count
        for (name, labels), count in found.items()
        if name == "playcast_relay_seconds_bucket"
    }
    assert sorted(buckets) == [*RELAY_BUCKETS_S, float("inf")]
    for bound, count in buckets.items():
        assert count == sum(time <= bound for time in times)
    assert found["playcast_relay_seconds_count", ()] == len(times)
    assert found["playcast_relay_seconds_sum", ()] == pytest.approx(sum(times))


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("relayed", "relay"),
        ("bus_lag", "bus_lag"),
        ("rtt", "rtt"),
        ("first_frame", "first_frame"),
        ("loop_lag", "loop_lag"),
    ],
)
def test_each_timing_has_its_histogram_and_none_goes_back(method: str, name: str):
    metrics = Metrics()
    getattr(metrics, method)(0.25)
    getattr(metrics, method)(-3.0)
    assert value(metrics, f"{name}_seconds_count") == 2
    assert value(metrics, f"{name}_seconds_sum") == 0.25


@pytest.mark.parametrize(
    ("method", "name", "label"),
    [
        ("auth_failed", "auth_failures", "reason"),
        ("refused", "refused", "limit"),
        ("dropped", "dropped", "reason"),
        ("jwks_fetched", "jwks_fetches", "outcome"),
    ],
)
def test_each_count_by_a_word_has_its_name(method: str, name: str, label: str):
    metrics = Metrics()
    for word in ("a", "b", "a"):
        getattr(metrics, method)(word)
    assert value(metrics, f"{name}_total", **{label: "a"}) == 2
    assert value(metrics, f"{name}_total", **{label: "b"}) == 1


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("authenticated", "authenticated"),
        ("internal_error", "internal_errors"),
        ("bus_failed", "bus_failures"),
        ("turn_credential_issued", "turn_credentials"),
    ],
)
def test_each_plain_count_has_its_name(method: str, name: str):
    metrics = Metrics()
    getattr(metrics, method)()
    getattr(metrics, method)()
    assert value(metrics, f"{name}_total") == 2


def test_states_are_what_they_were_last():
    metrics = Metrics()
    metrics.bus_available(False)
    metrics.draining(True)
    assert (value(metrics, "bus_up"), value(metrics, "draining")) == (0, 1)
    metrics.bus_available(True)
    metrics.draining(False)
    assert (value(metrics, "bus_up"), value(metrics, "draining")) == (1, 0)


def test_who_is_there_is_asked_for_each_time():
    metrics = Metrics()
    population = [Population(rooms=2, members={"host": 2, "viewer": 5}, away=1), Population()]
    metrics.watch(lambda: population.pop(0))
    found = samples(metrics)
    assert found["playcast_rooms", ()] == 2
    assert found["playcast_members", (("role", "viewer"),)] == 5
    assert found["playcast_members_away", ()] == 1
    assert samples(metrics)["playcast_rooms", ()] == 0


def test_records_are_counted_by_type():
    metrics = Metrics()
    for _ in range(3):
        metrics.put(Record(type="control.granted", at=1.0))
    assert value(metrics, "records_total", type="control.granted") == 3


def test_whatever_clients_make_up_the_number_of_series_is_bounded():
    metrics = Metrics()
    for number in range(1000):
        metrics.received(f"type-{number}", 1)
        metrics.auth_failed(f'reason "{number}"\n\\')
    for name, label in (("messages_received_total", "type"), ("auth_failures_total", "reason")):
        series = [labels for full, labels in samples(metrics) if full == f"playcast_{name}"]
        assert len(series) == MAX_LABEL_VALUES + 1
        assert value(metrics, name, **{label: OTHER}) == 1000 - MAX_LABEL_VALUES


def test_the_process_is_told_of_when_it_is_asked_for():
    names = {name for name, _ in samples(Metrics(process=True))}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= names
    assert not any(name.startswith("process_") for name, _ in samples(Metrics()))


def test_the_content_type_is_the_formats():
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_counting_a_message_allocates_nothing_that_stays():
    metrics = Metrics()
    for _ in range(10):
        metrics.received("offer", 256)
        metrics.relayed(0.000_1)
        metrics.sent("offer", 256)
    before = sys.getallocatedblocks()
    for _ in range(10_000):
        metrics.received("offer", 256)
        metrics.relayed(0.000_1)
        metrics.sent("offer", 256)
    assert sys.getallocatedblocks() - before < 100
