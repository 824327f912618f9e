"""What a server lets through of a room's log, whatever comes twice, late, or not at all."""

import pytest

from signalling.messages import Answer
from signalling.redis.room_copy import (
    Entered,
    Entry,
    Gap,
    RedisDataError,
    RoomCopy,
    decode_entered,
    decode_message,
)
from signalling.rooms import Join, Leave, Relay

HOST, VIEWER = Join("h", "host"), Join("v", "viewer")


def say(text):
    return Relay("h", Answer("v", text))


def entered(n, *entries, epoch="e", may_stay=True, peers=(HOST, VIEWER)):
    return Entered(epoch, n, may_stay, {join.peer: join for join in peers}, list(entries))


@pytest.fixture
def copy():
    """A copy at n 3 of a room with a host of another server and a viewer of ours."""
    copy = RoomCopy("us")
    assert copy.enter(entered(2)).events == [HOST, VIEWER]
    copy.own["v"] = VIEWER
    assert copy.take("e", Entry(3, "them", 7, say("a"))) == [say("a")]
    return copy


def test_what_comes_twice_is_taken_once(copy):
    assert copy.take("e", Entry(3, "them", 7, say("a"))) == []
    assert copy.take("e", Entry(4, "them", 7, say("a"))) == []
    assert copy.position == 4


@pytest.mark.parametrize(
    ("epoch", "entry"),
    [
        ("e", Entry(5, "them", 9, say("c"))),
        ("another", Entry(4, "them", 8, say("b"))),
        ("e", Entry(3, "them", 8, say("another third"))),
    ],
    ids=["skips one", "of another epoch", "where there was another"],
)
def test_what_does_not_follow_is_a_gap_and_changes_nothing(copy, epoch, entry):
    with pytest.raises(Gap):
        copy.take(epoch, entry)
    assert copy.take("e", Entry(4, "them", 8, say("b"))) == [say("b")]


def test_entering_again_takes_what_was_missed(copy):
    at, missed = Entry(3, "them", 7, say("a")), Entry(4, "them", 8, say("b"))
    caught = copy.enter(entered(4, at, missed))
    assert (caught.events, caught.lost, caught.again) == ([say("b")], False, False)


def test_what_was_trimmed_away_is_made_up_for_in_membership(copy):
    newcomer = Join("n", "viewer")
    late = Entry(90, "them", 99, say("z"))
    caught = copy.enter(entered(90, late, peers=(VIEWER, newcomer)))
    assert caught.events == [Leave("h", "lost"), newcomer]
    assert copy.take("e", Entry(91, "them", 100, say("!"))) == [say("!")]


@pytest.mark.parametrize(
    "found", [entered(2), entered(3, Entry(3, "them", 8, say("another third")))]
)
def test_a_redis_that_went_back_is_read_from_the_start(copy, found):
    caught = copy.enter(found)
    assert (caught.events, caught.lost, caught.again) == ([], True, True)
    log = [Entry(1, "them", 1, HOST), Entry(2, "us", 1, VIEWER), Entry(3, "them", 8, say("b"))]
    caught = copy.enter(entered(3, *log))
    assert caught.again is False
    assert caught.events[-1] == say("b")
    assert list(copy.present) == ["h", "v"]
    assert [event for event in caught.events if isinstance(event, Leave)] == []


def test_an_epoch_that_is_empty_waits_for_the_others_and_gives_them_up_in_the_end(copy):
    caught = copy.enter(entered(1, Entry(1, "us", 0, VIEWER), epoch="f", peers=(VIEWER,)))
    assert (caught.events, caught.lost) == ([], True)
    assert copy.missing == {"h"}
    assert copy.give_up_missing() == [Leave("h", "lost")]


def test_whoever_is_put_back_was_never_away(copy):
    copy.enter(entered(1, Entry(1, "us", 0, VIEWER), epoch="f", peers=(VIEWER,)))
    assert copy.take("f", Entry(2, "them", 0, HOST)) == []
    assert copy.give_up_missing() == []


def test_a_newcomer_ends_the_time_for_putting_back(copy):
    copy.enter(entered(1, Entry(1, "us", 0, VIEWER), epoch="f", peers=(VIEWER,)))
    other = Join("h2", "host")
    assert copy.take("f", Entry(2, "them", 50, other)) == [Leave("h", "lost"), other]


def test_our_peers_that_may_not_stay_leave(copy):
    at = Entry(3, "them", 7, say("a"))
    caught = copy.enter(entered(3, at, may_stay=False, peers=(HOST,)))
    assert caught.events == [Leave("v", "lost")]
    assert copy.own == {}


@pytest.mark.parametrize("data", [b"", b"e 1 s", b"e x s 1 {}", b"e 1 s 1 {}", b"e 1 s 1 \xff"])
def test_a_message_that_is_not_ours_is_refused(data):
    with pytest.raises(RedisDataError):
        decode_message(data)


@pytest.mark.parametrize(
    "reply",
    [
        [],
        [b"e", b"1", 1, [], []],
        [b"e", 1, 1, [b"h", b"nothing"], []],
        [b"e", 1, 1, [], [[b"1-0", [b"e", b"{}"]]]],
        [b"e", 1, 1, [], [[b"x", [b"e"]]]],
    ],
)
def test_keys_that_are_not_ours_are_refused(reply):
    with pytest.raises(RedisDataError):
        decode_entered(reply)
