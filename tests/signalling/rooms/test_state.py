"""Copies of a room: the same events make the same room, and a snapshot is all of it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalling.messages import (
    Admit,
    Answer,
    Ban,
    Candidate,
    Chat,
    Configure,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    ControlTake,
    Grant,
    Invite,
    Kick,
    Offer,
    Promote,
    Revoke,
    RoomSettings,
    Unban,
)
from signalling.rooms import (
    Away,
    Join,
    Leave,
    Resume,
    Room,
    Say,
    SnapshotError,
    Tick,
)
from signalling.rooms.state import STATE_VERSION, RoomState, decode_state, encode_state

LINKS = [f"l{number}" for number in range(9)]
SUBJECTS = ["ann", "bob", "cyd"]

links = st.sampled_from(LINKS)
peers = links
roles = st.sampled_from(["host", "host", "admin", "moderator", "player", "player", "viewer"])
times = st.floats(990, 1100).map(lambda at: round(at, 1))
ids = st.sampled_from(["", "1"])
controls = st.sampled_from(["pad:1", "pad:2", "mouse", "pad:8"])
durations = st.none() | st.sampled_from([5.0, 30.0])
marks = st.frozensets(st.sampled_from(["link", "invite", "follower", "subscriber"]), max_size=2)
room_settings = st.builds(
    RoomSettings,
    policy=st.sampled_from(["open", "approval", "invite"]),
    capacity=st.sampled_from([0, 2]),
    privacy=st.sampled_from(["public", "unlisted"]),
    control_policy=st.sampled_from(["ask", "free", "turns"]),
    turn_s=st.sampled_from([10.0, 60.0]),
    pads=st.integers(0, 3),
    keyboard=st.booleans(),
)

messages = st.one_of(
    st.builds(Offer, peers, st.just("sdp")),
    st.builds(Answer, peers, st.just("sdp")),
    st.builds(Candidate, peers, st.just("candidate")),
    st.builds(ControlRequest, controls, id=ids),
    st.builds(ControlRequest, controls, id=ids),
    st.builds(ControlRelease, controls, id=ids),
    st.builds(ControlGive, controls, peers, id=ids),
    st.builds(ControlGrant, controls, peers, durations, id=ids),
    st.builds(ControlDeny, controls, peers, id=ids),
    st.builds(ControlTake, controls, id=ids),
    st.builds(Grant, peers, st.sampled_from(["speak", "clipboard", "pad:1"]), durations, id=ids),
    st.builds(Revoke, peers, st.sampled_from(["speak", "watch", "pad:1"]), id=ids),
    st.builds(
        Configure,
        policy=st.sampled_from(["open", "approval"]),
        control_policy=st.sampled_from(["ask", "free", "turns"]),
        pads=st.integers(0, 3),
        privacy=st.sampled_from(["public", "unlisted"]),
        chat=st.booleans(),
        id=ids,
    ),
    st.builds(Admit, peers, id=ids),
    st.builds(Promote, peers, st.sampled_from(["viewer", "player", "moderator"]), id=ids),
    st.builds(Kick, peers, id=ids),
    st.builds(Ban, peers, durations, id=ids),
    st.builds(Unban, st.sampled_from(SUBJECTS), id=ids),
    st.builds(Chat, st.sampled_from(["hello", "\x1b"]), id=ids),
    st.builds(Invite, st.sampled_from(["viewer", "admin"]), id=ids),
)

joins = st.builds(
    Join,
    link=links,
    at=times,
    subject=st.sampled_from(SUBJECTS),
    role=roles,
    name=st.sampled_from(["", "Ann"]),
    secret_hash=st.just("hash"),
    window_s=st.sampled_from([10.0, 30.0]),
    marks=marks,
    resume=st.none()
    | st.builds(Resume, peers, st.sampled_from(["hash", "no"]), st.integers(0, 50)),
    settings=st.none() | room_settings,
)

events = st.one_of(
    joins,
    joins,
    st.builds(Away, links, times),
    st.builds(Leave, links, times, st.sampled_from(["bye", "lost"])),
    st.builds(Say, links, times, messages),
    st.builds(Say, links, times, messages),
    st.builds(Say, links, times, messages),
    st.builds(Tick, times),
)
courses = st.lists(events, max_size=60)


def fed(*courses):
    room = Room("r")
    effects = [room.apply(event) for course in courses for event in course]
    return room, effects


@settings(max_examples=200, deadline=None)
@given(courses)
def test_the_same_events_make_the_same_room_and_the_same_effects(course):
    one, one_effects = fed(course)
    other, other_effects = fed(course)
    assert one_effects == other_effects
    assert one.state == other.state
    assert one.snapshot() == other.snapshot()
    assert one.next_due() == other.next_due()


@settings(max_examples=300, deadline=None)
@given(courses, courses)
def test_a_copy_made_from_a_snapshot_goes_on_like_the_one_that_was_there(before, after):
    room, _ = fed(before)
    copy = Room("r")
    copy.restore(room.snapshot())
    assert copy.next_due() == room.next_due()
    for event in after:
        assert copy.apply(event) == room.apply(event)
        assert copy.next_due() == room.next_due()
    assert copy.state == room.state


@settings(max_examples=200, deadline=None)
@given(courses, events)
def test_what_is_due_once_is_not_due_again(course, event):
    room, _ = fed(course)
    room.apply(event)
    due = room.next_due()
    if due is not None:
        now = max(due, room.state.clock)
        for tick in room.due(now):
            room.apply(tick)
        assert room.next_due() is None or room.next_due() > now
        assert room.apply(Tick(now)) == []


@settings(max_examples=200, deadline=None)
@given(courses)
def test_whatever_happens_the_state_agrees_with_itself(course):
    room, _ = fed(course)
    state = room.state
    by_link = {member.link for member in state.members.values()}
    assert len(by_link) == len(state.members)
    assert sum(member.role == "host" for member in state.members.values()) <= 1
    numbers = [sent.seq for sent in state.recent]
    assert numbers == sorted(set(numbers))
    assert not numbers or numbers[-1] <= state.seq
    for peer, member in state.members.items():
        assert member.peer == peer
        assert not (member.waiting and member.away_since is not None)
        assert not (member.waiting and member.role == "host")
    in_room = {member.peer for member in state.members.values() if not member.waiting}
    for slot in state.slots.values():
        assert {slot.holder, *slot.queue} <= in_room | {None}
        assert slot.holder not in slot.queue
        assert slot.until is None or slot.holder is not None
        if slot.holder is not None or slot.queue:
            assert room.host is not None or state.settings.control_policy != "ask" or slot.queue
    assert (state.card is not None) is (
        room.host is not None and state.settings.privacy == "public"
    )


# Snapshots --------------------------------------------------------------------------------------


def test_a_snapshot_is_the_whole_state():
    room, _ = fed(
        [
            Join(link="h", at=1000.0, subject="ann", role="host", secret_hash="x"),
            Join(link="v", at=1000.0, subject="bob", role="viewer", secret_hash="y"),
            Say("h", 1001.0, Ban("v", 60.0, id="1")),
            Say("h", 1001.0, Chat("hello", id="2")),
            Join(link="w", at=1002.0, subject="cyd", role="player", secret_hash="z"),
            Say("h", 1003.0, ControlGrant("pad:1", "w", 60.0, id="3")),
            Away("w", 1004.0),
        ]
    )
    state = decode_state(room.snapshot())
    assert state == room.state
    assert list(state.members) == ["h", "w"]
    assert state.bans["bob"].until == 1061.0
    assert (state.slots["pad:1"].holder, state.slots["pad:1"].until) == ("w", 1063.0)
    assert state.clock == 1004.0


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (msgspec.msgpack.encode({"name": "r"}), "cannot be read"),
        (msgspec.msgpack.encode({"version": STATE_VERSION}), "cannot be read"),
        (msgspec.msgpack.encode({"version": STATE_VERSION + 1}), "one release"),
    ],
)
def test_a_snapshot_that_is_not_ours_is_refused_in_words_and_changes_nothing(snapshot, says):
    room, _ = fed([Join(link="h", at=1000.0, subject="ann", role="host")])
    before = room.snapshot()
    with pytest.raises(SnapshotError, match=says):
        room.restore(snapshot)
    assert room.snapshot() == before


def test_two_fresh_rooms_share_nothing():
    one, other = RoomState(name="a"), RoomState(name="a")
    one.members["x"] = None
    assert other.members == {}
    assert encode_state(other) == encode_state(RoomState(name="a"))
