"""What passes between a server and Redis, and what of it is refused."""

import pytest

from signalling.redis.wire import (
    Differs,
    Entry,
    Follow,
    RedisDataError,
    State,
    away_template,
    decode_entered,
    decode_message,
    encode_event,
    link_change,
)
from signalling.rooms import Away, Tick

from .replica import away, bye, host, say

JOIN = encode_event(host())


def test_a_message_of_the_channel_is_read():
    event = say("h", "text with spaces")
    found = decode_message(b"e 7 s -3 " + encode_event(event))
    assert found == ("e", Entry(7, "s", -3, event))
    assert found[1].mark == "s -3"


def test_what_an_event_does_to_the_links():
    assert link_change(host("a")) == ("in", "a")
    assert link_change(away("a")) == link_change(bye("a")) == ("out", "a")
    assert link_change(say("a")) == link_change(Tick(1.0)) == ("other", "")


def test_an_away_can_be_put_together_by_a_script():
    before, after = away_template(12.5)
    _, entry = decode_message(b"e 1 s -1 " + before + b"some-link" + after)
    assert entry.event == Away("some-link", 12.5)


def test_answers_to_entering_are_read():
    event = host()
    entries = [[b"4-0", [b"e", encode_event(event), b"s", b"a", b"q", b"9"]]]
    entry = Entry(4, "a", 9, event)
    assert decode_entered([b"found"]) is None
    assert decode_entered([b"behind", 3, b"a 1"]) == Differs("behind", 3, "a 1")
    assert decode_entered([b"old", 3, b"a 1"]) == Differs("old", 3, "a 1")
    assert decode_entered([b"conflict", 3, b""]) == Differs("conflict", 3, "")
    found = decode_entered([b"follow", b"e", [b"a", b"b"], entries])
    assert found == Follow("e", {"a", "b"}, [entry])
    state = [b"state", b"e", [b"a"], entries, 3, b"\xff", 4, b"a 9", [b"h", b"a"], [b"a", b"9 12"]]
    assert decode_entered(state) == State(
        "e", {"a"}, [entry], 3, b"\xff", 4, "a 9", {"h": "a"}, {"a": 9}
    )


@pytest.mark.parametrize(
    "data", [b"", b"e 1 s", b"e x s 1 {}", b"e 1 s 1 {}", b"e 1 s 1 \xff", b"\xff 1 s 1 " + JOIN]
)
def test_a_message_that_is_not_ours_is_refused(data):
    with pytest.raises(RedisDataError):
        decode_message(data)


@pytest.mark.parametrize(
    "reply",
    [
        [],
        None,
        b"found",
        [b"something", 1],
        [b"behind", b"1", b"a 1"],
        [b"conflict", 1, None, b"f"],
        [b"follow", b"e", [b"a"], [[b"1-0", [b"e", b"{}"]]]],
        [b"follow", b"e", [b"a"], [[b"x", [b"e"]]]],
        [b"follow", b"e", [b"a"], [[b"1-0", [b"e", JOIN, b"s", b"a", b"q", b"x"]]]],
        [b"follow", b"e", None, []],
        [b"state", b"e", [], [], 3, b"", 4, b"a 9", [b"odd"], []],
        [b"state", b"e", [], [], 3, None, 4, b"a 9", [], []],
    ],
)
def test_keys_that_are_not_ours_are_refused(reply):
    with pytest.raises(RedisDataError):
        decode_entered(reply)
