"""Copies of a room: the same events make the same room, and a snapshot is all of it."""

import random

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
from signalling.rooms.state import STATE_VERSION, RoomState, Ruling, decode_state, encode_state

LINKS = [f"l{number}" for number in range(8)]
SUBJECTS = ["ann", "bob", "cyd"]


def random_course(seed):
    """What might happen, most of it possible: where most things are not, little would be tried."""
    rng = random.Random(seed)
    pick = rng.choice
    now = 1000.0
    secrets = ["hash", "hash", "no"]

    def peer():
        return pick(LINKS)

    def control():
        return pick(["pad:1", "pad:2", "mouse", "pad:8"])

    def for_s():
        return pick([None, 5.0, 30.0])

    def room_settings():
        return RoomSettings(
            policy=pick(["open", "open", "approval", "invite"]),
            capacity=pick([0, 0, 2]),
            privacy=pick(["public", "unlisted"]),
            control_policy=pick(["ask", "free", "turns"]),
            turn_s=pick([10.0, 60.0]),
            pads=rng.randrange(4),
            keyboard=pick([True, False]),
        )

    def message():
        request_id = pick(["", "1"])
        return pick(
            [
                lambda: Offer(peer(), "sdp"),
                lambda: Answer(peer(), "sdp"),
                lambda: Candidate(peer(), "candidate"),
                *[lambda: ControlRequest(control(), id=request_id)] * 4,
                lambda: ControlRelease(control(), id=request_id),
                lambda: ControlGive(control(), peer(), id=request_id),
                *[lambda: ControlGrant(control(), peer(), for_s(), id=request_id)] * 2,
                lambda: ControlDeny(control(), peer(), id=request_id),
                lambda: ControlTake(control(), id=request_id),
                lambda: Grant(peer(), pick(["speak", "clipboard", "pad:1"]), for_s()),
                lambda: Revoke(peer(), pick(["speak", "watch", "pad:1"]), id=request_id),
                lambda: Configure(
                    policy=pick(["open", "open", "approval"]),
                    control_policy=pick(["ask", "free", "turns"]),
                    pads=rng.randrange(4),
                    privacy=pick(["public", "unlisted"]),
                    chat=pick([True, False]),
                    id=request_id,
                ),
                lambda: Admit(peer(), id=request_id),
                lambda: Promote(peer(), pick(["viewer", "player", "moderator"]), id=request_id),
                lambda: Kick(peer(), id=request_id),
                lambda: Ban(peer(), for_s(), id=request_id),
                lambda: Unban(pick(SUBJECTS), id=request_id),
                lambda: Chat(pick(["hello", "\x1b"]), id=request_id),
                lambda: Invite(pick(["viewer", "admin"]), id=request_id),
            ]
        )()

    def join():
        return Join(
            link=pick(LINKS),
            at=now,
            subject=pick(SUBJECTS),
            role=pick(["host", "host", "admin", "moderator", "player", "player", "viewer"]),
            name=pick(["", "Ann"]),
            secret_hash="hash",
            window_s=pick([10.0, 30.0]),
            marks=frozenset(rng.sample(["link", "invite", "follower"], rng.randrange(3))),
            resume=pick([None, Resume(peer(), pick(secrets), rng.randrange(60))]),
            settings=pick([None, room_settings()]),
        )

    def happening():
        kind = rng.choices(["say", "join", "away", "leave", "tick"], [60, 20, 8, 4, 8])[0]
        if kind == "say":
            return Say(pick([LINKS[0], LINKS[0], LINKS[1], peer()]), now, message())
        if kind == "join":
            return join()
        if kind == "tick":
            return Tick(now)
        return Away(peer(), now) if kind == "away" else Leave(peer(), now, "bye")

    course = [
        Join(link=link, at=now, subject=pick(SUBJECTS), role=role, secret_hash="hash")
        for link, role in zip(LINKS, ["host", "player", "viewer", "moderator"], strict=False)
    ]
    for _ in range(rng.randrange(80)):
        now += pick([-3.0, 0.0, 0.0, 0.5, 1.0, 4.0])
        course.append(happening())
    return course


courses = st.integers(0, 2**32 - 1).map(random_course)


def fed(*courses):
    room = Room("r")
    effects = [room.apply(event) for course in courses for event in course]
    return room, effects


@settings(max_examples=100, deadline=None)
@given(courses)
def test_the_same_events_make_the_same_room_and_the_same_effects(course):
    one, one_effects = fed(course)
    other, other_effects = fed(course)
    assert one_effects == other_effects
    assert one.state == other.state
    assert one.snapshot() == other.snapshot()
    assert one.next_due() == other.next_due()


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=100, deadline=None)
@given(courses)
def test_what_is_due_once_is_not_due_again(course):
    room = Room("r")
    for event in course:
        room.apply(event)
        due = room.next_due()
        if due is not None and due <= event.at + 5:
            now = max(due, room.state.clock)
            assert room.due(now) == [Tick(now)]
            room.apply(Tick(now))
            assert room.next_due() is None or room.next_due() > now
            assert room.apply(Tick(now)) == []


@settings(max_examples=100, deadline=None)
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
        assert len({state.members[peer].who for peer in slot.queue}) == len(slot.queue)
        assert slot.until is None or slot.holder is not None
        assert room.host is not None or not (slot.holder or slot.queue)
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
            Say("h", 1003.0, Promote("w", "viewer", id="4")),
            Say("h", 1003.0, Grant("w", "clipboard", 60.0, id="5")),
            Away("w", 1004.0),
        ]
    )
    state = decode_state(room.snapshot())
    assert state == room.state
    assert list(state.members) == ["h", "w"]
    assert state.bans["bob"].until == 1061.0
    assert (state.slots["pad:1"].holder, state.slots["pad:1"].until) == ("w", 1063.0)
    assert state.rulings == {"cyd": Ruling(most="viewer", granted={"clipboard": 1063.0})}
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
