import itertools
import math
import random

import pytest

from signalling.limits import (
    RATES,
    Backoff,
    Hush,
    Limit,
    Limits,
    Occupancy,
    TokenBuckets,
    address_key,
    client_address,
    parse_address,
    parse_networks,
    take,
)


def granted(limit, times):
    """The times at which one is granted."""
    full_at, found = 0.0, []
    for now in times:
        full_at, wait = take(limit, full_at, now)
        if not wait:
            found.append(now)
    return found


def test_a_burst_at_once_then_the_rate():
    ticks = [tick / 100 for tick in range(1000)]
    found = granted(Limit(per_s=2, burst=5), ticks)
    assert found[:5] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert len(found) == 5 + 19  # two a second for nearly ten
    gaps = [later - earlier for earlier, later in itertools.pairwise(found[5:])]
    assert max(gaps) == pytest.approx(0.5, abs=0.011)


def test_who_waits_as_long_as_told_is_granted_and_not_before():
    limit = Limit(per_s=3, burst=2)
    full_at = 100.0
    for _ in range(2):
        full_at, wait = take(limit, full_at, 100.0)
        assert wait == 0
    same, wait = take(limit, full_at, 100.0)
    assert (same, wait) == (full_at, pytest.approx(1 / 3))
    assert take(limit, full_at, 100.0 + wait - 1e-6)[1] > 0
    assert take(limit, full_at, 100.0 + wait + 1e-9)[1] == 0


def test_over_any_time_no_more_than_burst_and_rate_are_granted():
    rng = random.Random(7)
    limit = Limit(per_s=10, burst=20)
    now, times = 0.0, []
    for _ in range(5000):
        now += rng.expovariate(40)
        times.append(now)
    found = granted(limit, times)
    for first in range(0, len(found), 7):
        for last in range(first, min(first + 200, len(found)), 13):
            assert last - first + 1 <= 20 + 10 * (found[last] - found[first]) + 1e-6
    assert len(found) >= 0.95 * (20 + 10 * now)


def test_more_than_a_bucket_holds_is_misuse():
    with pytest.raises(ValueError, match="cost"):
        take(Limit(1, 5), 0.0, 0.0, 6)
    for wrong in ((0, 1), (1, 0), (-1, 1), (1e-320, 1e300)):
        with pytest.raises(ValueError, match="limit"):
            Limit(*wrong)


def test_keys_have_buckets_of_their_own_and_the_oldest_are_forgotten():
    buckets = TokenBuckets({**RATES, "user.join": Limit(0.001, 1)}, max_keys=100)
    assert buckets.take("user.join", "ann", 0.0) == 0
    assert buckets.take("user.join", "ann", 0.0) > 0
    assert buckets.take("user.join", "bob", 0.0) == 0
    for number in range(10_000):
        assert buckets.take("user.join", f"flood-{number}", 0.0) == 0
    assert len(buckets) == 100


def test_bad_tokens_are_free_a_few_times_then_cost_ever_more_and_are_forgotten():
    limits = Limits(failures_free=3, backoff_s=1, max_backoff_s=60, failures_decay_s=1e9)
    backoff = Backoff(limits)
    waits = []
    for _ in range(12):
        backoff.fail("a", 100.0)
        waits.append(backoff.wait("a", 100.0))
    assert waits[:3] == [0, 0, 0]
    assert waits[3:8] == pytest.approx([1, 2, 4, 8, 16], rel=1e-3)
    assert waits[-1] == 60
    assert backoff.wait("b", 100.0) == 0
    assert backoff.wait("a", 159.9) > 0
    assert backoff.wait("a", 160.1) == 0


def test_failures_decay():
    backoff = Backoff(Limits(failures_free=3, failures_decay_s=10))
    for _ in range(3):
        backoff.fail("a", 0.0)
    backoff.fail("a", 20.0)  # three are three quarters by now
    assert backoff.wait("a", 20.0) == 0


def test_a_flood_of_addresses_is_kept_within_bounds():
    backoff = Backoff(Limits(max_keys=50))
    for number in range(5000):
        for _ in range(8):
            backoff.fail(f"k{number}", 0.0)
    assert len(backoff) == 50
    assert len(backoff._until) <= 50


def test_who_is_refused_too_often_is_told_so_at_a_rate_and_no_more():
    hush = Hush(Limits(refusals=Limit(8, 4), max_keys=2))
    for _ in range(4):
        assert not hush.covers("a", 0.0)
        hush.refused("a", 0.0)
    assert hush.covers("a", 0.12)
    assert not hush.covers("b", 0.0)
    assert not hush.covers("a", 0.13)
    hush.refused("a", 0.13)
    assert hush.covers("a", 0.13)
    for key in ("b", "c", "d"):
        for _ in range(4):
            hush.refused(key, 1.0)
    assert [hush.covers(key, 1.0) for key in "bcd"] == [False, True, True]  # the oldest is gone


def test_occupancy_counts_those_that_are_there():
    users = Occupancy(2)
    assert [users.enter("a") for _ in range(3)] == [True, True, False]
    assert users.enter("b")
    users.leave("a")
    assert users.enter("a")
    for key in ("a", "a", "b"):
        users.leave(key)
    assert len(users) == 0


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1%eth0", "2001:db8:1:2::/64"),
    ],
)
def test_an_address_counts_with_those_of_the_same_customer(text, key):
    assert address_key(parse_address(text)) == key


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "[::1]", "1.2.3.4:80"])
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


PROXIES = parse_networks(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),  # not by a proxy of ours: forged
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.9"], "198.51.100.9"),  # the first is the client's word
        ("10.0.0.1", ["1.1.1.1", "198.51.100.9, 10.0.0.2"], "198.51.100.9"),
        ("10.0.0.1", ["1.1.1.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("2001:db8::1", ["2a00::1"], "2a00::1"),
    ],
)
def test_only_a_declared_proxys_word_on_the_client_counts(peer, forwarded, client):
    assert str(client_address(parse_address(peer), forwarded, PROXIES)) == client


def test_limits_that_make_no_sense_are_misuse():
    with pytest.raises(ValueError, match="max_rooms"):
        Limits(max_rooms=0)
    with pytest.raises(ValueError, match="chat"):
        Limits(rates={kind: limit for kind, limit in RATES.items() if kind != "chat"})
    assert math.isfinite(sum(limit.full_s for limit in RATES.values()))
