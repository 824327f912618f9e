import random

import pytest

from signalling.messages import (
    Answer,
    Candidate,
    Error,
    Offer,
    PeerJoined,
    PeerLeft,
    Ping,
    Refused,
    Restart,
    Welcome,
)
from signalling.rooms import (
    MAY_ADDRESS,
    MAY_SEND,
    TRANSITIONS,
    Close,
    Join,
    Leave,
    Phase,
    Probe,
    Relay,
    Room,
    Send,
)


@pytest.fixture
def room():
    return Room("doom")


@pytest.fixture
def full(room):
    """A room with a host and two viewers."""
    for join in (Join("h", "host"), Join("v", "viewer"), Join("w", "viewer")):
        room.apply(join)
    return room


def test_a_viewer_waits_for_the_host(room):
    assert room.apply(Join("v", "viewer", "Vi")) == [
        Send("v", Welcome("v", "doom", "viewer", host_present=False))
    ]
    assert room.phase is Phase.WAITING
    assert room.apply(Join("h", "host", "Ho")) == [
        Send("h", Welcome("h", "doom", "host", host_present=True, peers=["v"])),
        Send("v", PeerJoined("h", "host", "Ho")),
    ]
    assert room.phase is Phase.HOSTED


def test_a_viewer_finds_the_host(room):
    room.apply(Join("h", "host"))
    assert room.apply(Join("v", "viewer", "Vi")) == [
        Send("v", Welcome("v", "doom", "viewer", host_present=True, peers=["h"])),
        Send("h", PeerJoined("v", "viewer", "Vi")),
    ]


def test_a_seat_is_for_the_host_alone(full):
    assert full.apply(Join("x", "viewer", "Xi", "seat")) == [
        Send("x", Welcome("x", "doom", "viewer", host_present=True, peers=["h"])),
        Send("h", PeerJoined("x", "viewer", "Xi", "seat")),
    ]
    assert full.apply(Relay("h", Offer("x", "sdp", "seat"))) == [
        Send("x", Offer("h", "sdp", "seat"))
    ]


def test_viewers_hear_nothing_of_each_other(full):
    assert {effect.peer for effect in full.apply(Join("x", "viewer"))} == {"x", "h"}
    assert {effect.peer for effect in full.apply(Leave("x", "bye"))} == {"h"}


def test_a_second_host_is_refused_and_the_first_probed(full):
    refusal, probe = full.apply(Join("h2", "host"))
    assert isinstance(refusal, Close)
    assert (refusal.peer, refusal.error.code, refusal.error.retry) == ("h2", "room-taken", True)
    assert probe == Probe("h")
    assert full.host == "h"
    assert full.apply(Leave("h2", "lost")) == []  # it never was in
    assert full.host == "h"


def test_a_host_may_come_once_the_first_has_left(full):
    assert full.apply(Leave("h", "lost")) == [
        Send("v", PeerLeft("h", "host", "lost")),
        Send("w", PeerLeft("h", "host", "lost")),
    ]
    assert full.apply(Join("h2", "host"))[0] == Send(
        "h2", Welcome("h2", "doom", "host", host_present=True, peers=["v", "w"])
    )


def test_the_host_hears_how_a_viewer_left(full):
    assert full.apply(Leave("v", "bye")) == [Send("h", PeerLeft("v", "viewer", "bye"))]
    assert full.apply(Leave("w", "lost")) == [Send("h", PeerLeft("w", "viewer", "lost"))]
    assert full.viewers == ()


def test_an_offer_goes_to_its_viewer_under_the_hosts_name(full):
    assert full.apply(Relay("h", Offer("v", "sdp"))) == [Send("v", Offer("h", "sdp"))]
    assert full.apply(Relay("v", Answer("h", "sdp"))) == [Send("h", Answer("v", "sdp"))]
    assert full.apply(Relay("h", Candidate("w", "c", "1"))) == [Send("w", Candidate("h", "c", "1"))]
    assert full.apply(Relay("w", Candidate("h", "", "0"))) == [Send("h", Candidate("w", "", "0"))]
    assert full.apply(Relay("w", Restart("h"))) == [Send("h", Restart("w"))]
    assert full.apply(Relay("h", Refused("w", "full"))) == [Send("w", Refused("h", "full"))]


@pytest.mark.parametrize(
    ("source", "message", "code"),
    [
        ("v", Answer("gone", "sdp"), "unknown-peer"),
        ("h", Offer("gone", "sdp"), "unknown-peer"),
        ("v", Answer("w", "sdp"), "forbidden"),
        ("v", Candidate("w", "c"), "forbidden"),
        ("v", Candidate("v", "c"), "forbidden"),
        ("h", Candidate("h", "c"), "forbidden"),
        ("v", Offer("h", "sdp"), "forbidden"),
        ("h", Answer("v", "sdp"), "forbidden"),
        ("v", Restart("w"), "forbidden"),
        ("h", Restart("v"), "forbidden"),
        ("v", Refused("h", "no"), "forbidden"),
    ],
)
def test_a_message_that_may_not_pass_is_answered_and_goes_no_further(full, source, message, code):
    (effect,) = full.apply(Relay(source, message))
    assert isinstance(effect, Send)
    assert effect.peer == source
    assert isinstance(effect.message, Error)
    assert effect.message.code == code


def test_events_that_come_twice_or_too_late_do_nothing(full):
    before = (full.host, full.viewers)
    assert full.apply(Join("v", "viewer")) == []
    assert full.apply(Join("h", "host")) == []
    assert full.apply(Leave("gone", "bye")) == []
    assert full.apply(Relay("gone", Answer("h", "sdp"))) == []
    assert (full.host, full.viewers) == before


def test_the_tables_say_the_same_for_every_role():
    assert set(MAY_SEND) == set(MAY_ADDRESS) == {"host", "viewer"}
    assert all(Ping in kinds for kinds in MAY_SEND.values())
    missing = {
        (phase, change, role)
        for phase in Phase
        for change in ("join", "leave")
        for role in MAY_SEND
    } - set(TRANSITIONS)
    assert missing == {(Phase.WAITING, "leave", "host")}


def test_any_course_of_events_keeps_the_room_consistent():
    rng = random.Random(8)
    names = [f"p{number}" for number in range(8)]
    for _ in range(200):
        room, copy = Room("r"), Room("r")
        inside: dict[str, str] = {}
        for _ in range(60):
            peer, target = rng.choice(names), rng.choice(names)
            event = rng.choice(
                [
                    Join(peer, rng.choice(["host", "viewer"])),
                    Leave(peer, rng.choice(["bye", "lost"])),
                    Relay(peer, rng.choice([Offer, Answer, Candidate])(target, "x")),
                ]
            )
            effects = room.apply(event)
            assert copy.apply(event) == effects
            closed = {effect.peer for effect in effects if isinstance(effect, Close)}
            if isinstance(event, Join) and peer not in closed:
                inside.setdefault(peer, event.role)
            elif isinstance(event, Leave):
                inside.pop(peer, None)
            hosts = [name for name, role in inside.items() if role == "host"]
            assert hosts == ([] if room.host is None else [room.host])
            assert set(room.viewers) == {name for name, role in inside.items() if role == "viewer"}
            for effect in effects:
                assert effect.peer in inside or effect.peer in closed
                delivered = isinstance(event, Relay) and not isinstance(effect.message, Error)
                assert not delivered or {inside[peer], inside[target]} == {"host", "viewer"}
