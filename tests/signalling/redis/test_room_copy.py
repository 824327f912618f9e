"""What a server lets through of a room's log, whatever comes twice, late, or not at all."""

import pytest

from signalling.redis.room_copy import Gap, RoomCopy
from signalling.redis.wire import Entry, RedisDataError, State
from signalling.rooms import Away, Tick

from .replica import host, viewer

HOST, VIEWER = host(), viewer()


def entry(n, server="them", q=None, event=None):
    return Entry(n, server, n if q is None else q, event or Tick(float(n)))


def state(n, *entries, base=0, links=(), seq=()):
    mark = entries[-1].mark if entries else ""
    return State("e", {"them", "us"}, list(entries), base, b"", n, mark, dict(links), dict(seq))


@pytest.fixture
def copy():
    """A copy at n 3 of a room with a host of another server and a viewer of ours."""
    copy = RoomCopy("us", length=8, age_s=60.0)
    entries = entry(1, event=HOST), entry(2, "us", 1, VIEWER)
    copy.adopt(state(2, *entries, links={"h": "them", "v": "us"}, seq={"them": 1, "us": 1}))
    copy.epoch = "e"
    assert copy.take("e", entry(3)) is True
    return copy


def test_what_comes_twice_is_taken_once(copy):
    assert copy.take("e", entry(3)) is False
    assert copy.take("e", entry(2, "us", 1, VIEWER)) is False
    assert copy.position == 3


@pytest.mark.parametrize(
    ("epoch", "wrong"),
    [
        ("e", entry(5)),
        ("another", entry(4)),
        ("e", entry(3, "them", 8)),
        ("e", entry(3, "us", 3)),
    ],
    ids=["skips one", "of another epoch", "where there was another", "of another server"],
)
def test_what_does_not_follow_is_a_gap_and_changes_nothing(copy, epoch, wrong):
    with pytest.raises(Gap):
        copy.take(epoch, wrong)
    assert copy.position == 3
    assert copy.take("e", entry(4)) is True


def test_what_was_missed_is_delivered_once_and_in_order(copy):
    missed = [entry(n) for n in (2, 3, 4, 5)]
    assert [found.n for found in copy.follow(missed)] == [4, 5]
    assert copy.follow(missed) == []
    assert (copy.position, copy.mark) == (5, "them 5")


def test_a_log_with_a_hole_is_refused(copy):
    with pytest.raises(RedisDataError, match="hole"):
        copy.follow([entry(4), entry(6)])
    with pytest.raises(RedisDataError, match="hole"):
        copy.adopt(state(6, entry(4), entry(6), base=3))
    with pytest.raises(RedisDataError, match="ends before event 7"):
        copy.adopt(state(7, entry(4), entry(5), base=3))
    assert copy.position == 3


def test_the_links_are_what_the_log_says(copy):
    assert copy.links == {"h": "them", "v": "us"}
    copy.take("e", entry(4, "them", -1, Away("v", 4.0)))
    copy.take("e", entry(5, "them", 5, viewer("w")))
    assert copy.links == {"h": "them", "w": "them"}
    assert copy.seq == {"them": 5, "us": 1}


def test_what_was_done_without_redis_follows_what_was_there(copy):
    local = copy.take_local(7, VIEWER)
    assert (local.n, local.mark) == (4, "us 7")
    copy.take_local(8, VIEWER)
    assert copy.alone_after == (3, "them 3")
    assert copy.entry_at(4) == local
    assert copy.take("e", Entry(4, "us", 7, VIEWER)) is False  # Redis had it all the same
    with pytest.raises(Gap):
        copy.take("e", entry(4))


def test_what_others_lack_is_known_after_an_entry_that_is_known(copy):
    for n in (4, 5):
        copy.take("e", entry(n))
    assert [found.n for found in copy.entries_after(3, "them 3")] == [4, 5]
    assert [found.n for found in copy.entries_after(0, "")] == [1, 2, 3, 4, 5]
    assert copy.entries_after(5, "them 5") == []
    assert copy.entries_after(3, "them 9") is None
    assert copy.entries_after(6, "them 6") is None
    assert copy.entries_after(0, "them 1") is None


def test_the_latest_entries_are_kept_by_number_and_by_age(copy):
    for n in range(4, 21):
        copy.take("e", entry(n))
    assert [found.n for found in copy.latest] == list(range(13, 21))
    assert copy.entries_after(11, "them 11") is None
    assert len(copy.entries_after(12, "them 12")) == 8  # the entry itself is gone, not its mark
    assert copy.entries_after(12, "them 11") is None
    assert len(copy.entries_after(13, "them 13")) == 7
    assert copy.entry_at(12) is None
    copy.take("e", entry(21, event=Tick(1000.0)))
    assert [found.n for found in copy.latest] == [21]
    assert [found.n for found in copy.entries_after(20, "them 20")] == [21]


def test_what_is_before_a_state_that_was_taken_is_not_known(copy):
    copy.adopt(state(9, entry(8), entry(9), base=7))
    assert copy.entries_after(7, "") is None
    assert copy.entries_after(7, "them 3") is None
    assert [found.n for found in copy.entries_after(8, "them 8")] == [9]


def test_a_copy_that_took_a_state_without_entries_knows_where_it_is():
    copy = RoomCopy("us", length=8, age_s=60.0)
    copy.adopt(State("e", set(), [], 40, b"", 40, "them 12", {}, {"them": 12}))
    assert copy.entries_after(40, "them 12") == []
    assert copy.entries_after(40, "them 13") is None
    assert copy.entry_at(40) is None
