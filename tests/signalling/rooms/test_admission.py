import itertools
from typing import get_args

import pytest

from signalling.messages import BanEntry, Policy, RoomSettings
from signalling.rooms import Join, Mark
from signalling.rooms.admission import ADMITTING, MAX_PLACES, MAX_WAITING, judge
from signalling.rooms.refusal import Refusal

NOW = 1000.0
MARKS = [frozenset(), *(frozenset({mark}) for mark in get_args(Mark))]


def verdict(
    role="viewer",
    *,
    marks=frozenset(),
    subject="guest",
    ban=None,
    guests=0,
    waiting=0,
    places=0,
    **settings,
):
    join = Join(link="l", at=NOW, subject=subject, role=role, marks=marks)
    try:
        return judge(
            join,
            RoomSettings(**settings),
            ban,
            host_subject="the host",
            guests=guests,
            waiting=waiting,
            places=places,
            now=NOW,
        )
    except Refusal as refusal:
        return refusal.code


LETS_IN = {
    "open": {None, "link", "invite", "follower", "subscriber"},
    "link": {"link", "invite"},
    "approval": {"invite"},
    "followers": {"follower", "subscriber", "invite"},
    "subscribers": {"subscriber", "invite"},
    "invite": {"invite"},
}


@pytest.mark.parametrize(
    ("policy", "marks", "role"),
    list(itertools.product(LETS_IN, MARKS, ["viewer", "player"])),
)
def test_each_policy_lets_in_by_what_is_known_of_the_guest(policy, marks, role):
    assert set(LETS_IN) == set(get_args(Policy)) == set(ADMITTING)
    otherwise = "waits" if policy == "approval" else "not-admitted"
    expected = "in" if (set(marks) or {None}) & LETS_IN[policy] else otherwise
    assert verdict(role, marks=marks, policy=policy) == expected


@pytest.mark.parametrize("role", ["viewer", "player", "moderator", "admin"])
@pytest.mark.parametrize(
    ("closed", "code"),
    [
        ({"locked": True}, "room-locked"),
        ({"capacity": 3, "guests": 3}, "room-full"),
        ({"policy": "invite"}, "not-admitted"),
        ({"policy": "approval"}, "waits"),
    ],
)
def test_staff_and_the_hosts_own_subject_come_in_all_the_same(role, closed, code):
    staff = role in ("moderator", "admin")
    assert verdict(role, **closed) == ("in" if staff else code)
    assert verdict(role, subject="the host", **closed) == "in"


@pytest.mark.parametrize(
    ("role", "until", "expected"),
    [
        ("viewer", None, "banned"),
        ("player", NOW + 1, "banned"),
        ("moderator", None, "banned"),
        ("viewer", NOW, "in"),
        ("admin", None, "in"),
    ],
)
def test_a_ban_keeps_out_until_it_ends(role, until, expected):
    assert verdict(role, ban=BanEntry("guest", "G", until)) == expected


def test_a_place_that_is_free_is_had():
    assert verdict(capacity=3, guests=2) == "in"
    assert verdict(capacity=0, guests=10_000) == "in"


def test_not_everybody_can_wait():
    assert verdict(policy="approval", waiting=MAX_WAITING - 1) == "waits"
    assert verdict(policy="approval", waiting=MAX_WAITING) == "room-full"


@pytest.mark.parametrize(("scarce", "otherwise"), [("approval", "waits"), ("capacity", "in")])
def test_one_user_does_not_take_all_the_places_there_are(scarce, otherwise):
    settings = {"policy": "approval"} if scarce == "approval" else {"capacity": 99}
    assert MAX_PLACES == 2
    assert verdict(places=1, **settings) == otherwise
    assert verdict(places=2, **settings) == "conflict"
    assert verdict("moderator", places=2, **settings) == "in"
    assert verdict(subject="the host", places=2, **settings) == "in"
    assert verdict(marks=frozenset({"invite", "link"}), places=64, **settings) == "in"
    assert verdict(places=64) == "in"


def test_a_lock_holds_against_invitations_and_a_full_room_too():
    invited = frozenset({"invite"})
    assert verdict(marks=invited, policy="approval", locked=True) == "room-locked"
    assert verdict(marks=invited, policy="approval", capacity=1, guests=1) == "room-full"
