"""What the staff decides live is found again by who leaves and comes anew."""

import pytest

from signalling.messages import (
    Admit,
    Configure,
    ControlGrant,
    ControlRequest,
    Done,
    Grant,
    Permission,
    Permissions,
    Promote,
    Revoke,
)
from signalling.rooms import rulings

from .party import Party

INVITED = {"subject": "invite:x", "marks": frozenset({"link", "invite"})}


@pytest.fixture
def party():
    return Party()


@pytest.fixture
def host(party):
    return party.join("h", "host")


def role_of(person):
    return person.party.room.member(person.link).role


def may(person):
    permissions = person.welcomes[-1].capabilities
    return {permission.capability: permission.until for permission in permissions}


def again(party, person, name="again", role=None):
    """They leave, and open the link again."""
    person.leave()
    return party.join(name, role or person.role, subject=person.subject)


def test_who_was_made_less_is_no_more_by_coming_anew(party, host):
    player = party.join("p", "player")
    host.ask(Promote("p", "viewer", id="1"))
    assert role_of(again(party, player)) == "viewer"
    host.ask(Configure(control_policy="free", id="2"))
    person = party.clients["again"]
    assert person.ask(ControlRequest("pad:1", id="3")).code == "forbidden"


def test_who_is_given_back_what_the_token_says_has_nothing_kept(party, host):
    party.join("p", "player")
    host.ask(Promote("p", "viewer", id="1"))
    host.ask(Promote("p", "player", id="2"))
    assert party.room.state.rulings == {}


def test_a_token_for_more_does_not_undo_it_on_coming_back(party, host):
    player = party.join("p", "player")
    host.ask(Promote("p", "viewer", id="1"))
    player.drop()
    player.come_back(role="viewer")
    player.drop()
    player.come_back(role="player")
    assert player.welcomes[-1].resumed
    assert role_of(player) == "viewer"


def test_who_was_made_a_moderator_and_less_again_is_no_moderator_by_a_token(party, host):
    person = party.join("v")
    host.ask(Promote("v", "moderator", id="1"))
    host.ask(Promote("v", "player", id="2"))
    assert role_of(again(party, person, role="moderator")) == "player"


def test_the_door_knows_who_was_made_staff_and_who_is_no_more(party, host):
    made, unmade = party.join("v"), party.join("m", "moderator")
    host.ask(Promote("v", "moderator", id="1"))
    host.ask(Promote("m", "viewer", id="2"))
    host.ask(Configure(locked=True, id="3"))
    assert role_of(again(party, made, "v2")) == "moderator"
    assert again(party, unmade, "m2").error.code == "room-locked"


def test_what_was_revoked_stays_so(party, host):
    player = party.join("p", "player")
    host.ask(Revoke("p", "speak", id="1"))
    host.ask(Revoke("p", "watch", id="2"))
    player = again(party, player)
    assert may(player) == {}
    host.take()
    host.ask(Grant("again", "watch", id="3"))
    assert may(again(party, player, "third")) == {"watch": None}


def test_the_host_hears_at_once_what_who_comes_anew_may_not_do(party, host):
    player = party.join("p", "player")
    host.ask(Revoke("p", "watch", id="1"))
    host.take()
    again(party, player)
    told = [message.capabilities for message in host.take(Permissions)]
    assert told[-1] == [Permission("speak")]


def test_a_grant_stays_until_it_was_to_end(party, host):
    viewer = party.join("v")
    host.ask(Grant("v", "speak", 60.0, id="1"))
    host.ask(Grant("v", "clipboard", id="2"))
    until = party.at + 60.0
    party.pass_time(40)
    viewer = again(party, viewer, "second")
    assert may(viewer) == {"watch": None, "speak": until, "clipboard": None}
    party.pass_time(20)
    assert viewer.take(Permissions)[-1].capabilities == [
        Permission("watch"),
        Permission("clipboard"),
    ]
    assert may(again(party, viewer, "third")) == {"watch": None, "clipboard": None}
    host.ask(Revoke("third", "clipboard", id="3"))
    assert may(again(party, party.clients["third"], "fourth")) == {"watch": None}


def test_a_grant_that_ends_while_nobody_is_there_is_not_there_later(party, host):
    viewer = party.join("v")
    host.ask(Grant("v", "speak", 60.0, id="1"))
    viewer.leave()
    party.pass_time(60)
    assert may(party.join("w", subject=viewer.subject)) == {"watch": None}


def test_controls_are_not_kept(party, host):
    viewer = party.join("v")
    host.ask(ControlGrant("pad:1", "v", 60.0, id="1"))
    assert may(again(party, viewer)) == {"watch": None}
    assert party.room.state.slots["pad:1"].holder is None


def test_all_sessions_of_a_user_are_one(party, host):
    party.join("p", "player")
    tab, away = (party.join(name, "player", subject="sub-p") for name in ("tab", "away"))
    away.drop()
    host.ask(Promote("p", "viewer", id="1"))
    host.ask(Grant("tab", "clipboard", id="2"))
    away.come_back()
    for person in (party.clients["p"], tab, away):
        assert role_of(person) == "viewer"
        member = party.room.member(person.link)
        assert (list(member.granted), member.revoked) == (["clipboard"], ())
    host.ask(Revoke("away", "watch", id="3"))
    assert tab.take(Permissions)[-1].capabilities == [Permission("clipboard")]
    assert [r.peer for r in party.records if r.type == "viewer.promoted"] == ["p", "tab", "away"]


def test_who_waits_meanwhile_finds_it_on_being_let_in(party, host):
    party.join("p", "player")
    host.ask(Configure(policy="approval", id="1"))
    waiting = party.join("w", "player", subject="sub-p")
    waiting.take()
    host.ask(Promote("p", "viewer", id="2"))
    host.ask(Grant("p", "clipboard", 60.0, id="3"))
    assert waiting.take() == []
    host.ask(Admit("w", id="4"))
    assert waiting.welcomes[-1].role == "viewer"
    assert may(waiting) == {"watch": None, "clipboard": party.at + 60.0}
    party.pass_time(60)
    assert waiting.take(Permissions)[-1].capabilities == [Permission("watch")]


# Those who came by one invitation -----------------------------------------------------------------


def test_what_is_taken_from_one_of_the_invited_is_taken_from_who_comes_by_it_later(party, host):
    one, other = (party.join(name, "player", **INVITED) for name in ("one", "other"))
    host.ask(Promote("one", "viewer", id="1"))
    host.ask(Revoke("one", "watch", id="2"))
    assert (role_of(one), role_of(other)) == ("viewer", "player")
    assert party.room.member("other").revoked == ()
    late = party.join("late", "player", **INVITED)
    assert (role_of(late), may(late)) == ("viewer", {})


def test_what_is_given_to_one_of_the_invited_is_theirs_alone(party, host):
    party.join("one", **INVITED)
    host.ask(Promote("one", "moderator", id="1"))
    host.ask(Grant("one", "clipboard", id="2"))
    host.ask(Promote("one", "player", id="3"))
    host.ask(Revoke("one", "speak", id="4"))
    assert party.room.state.rulings == {}
    late = party.join("late", **INVITED)
    assert (role_of(late), may(late)) == ("viewer", {"watch": None})


def test_giving_it_back_to_one_of_the_invited_gives_it_to_nobody_else(party, host):
    party.join("one", "moderator", **INVITED)
    party.join("two", "moderator", **INVITED)
    host.ask(Promote("one", "viewer", id="1"))
    host.ask(Promote("two", "player", id="2"))
    host.ask(Revoke("one", "watch", id="3"))
    host.ask(Promote("one", "moderator", id="4"))
    host.ask(Grant("one", "watch", id="5"))
    assert role_of(party.clients["one"]) == "moderator"
    late = party.join("late", "moderator", **INVITED)
    assert (role_of(late), may(late)) == ("viewer", {})


# Of whom it is decided, and by whom ---------------------------------------------------------------


def test_a_moderator_makes_no_other_less_by_another_of_its_sessions(party, host):
    one, two = party.join("one", "moderator"), party.join("two", "moderator")
    party.join("tab", "player", subject=two.subject)
    assert one.ask(Promote("tab", "viewer", id="1")).code == "forbidden"
    assert (party.room.state.rulings, role_of(two)) == ({}, "moderator")
    assert role_of(party.clients["tab"]) == "player"
    assert host.ask(Promote("tab", "viewer", id="2")) == Done("2")
    assert role_of(two) == "viewer"


def test_nothing_is_kept_of_hosts_and_admins(party, host):
    admin = party.join("a", "admin")
    host.ask(Revoke("a", "speak", id="1"))
    assert party.room.state.rulings == {}
    admin = again(party, admin)
    assert "speak" in may(admin)
    party.join("theirs", "player", subject=admin.subject)
    host.ask(Revoke("theirs", "speak", id="2"))
    assert party.room.member(admin.link).revoked == ()
    tab = party.join("tab", "player", subject=host.subject)
    host.ask(Revoke("tab", "speak", id="3"))
    host.leave()
    assert "speak" in may(party.join("h2", "host", subject=tab.subject))


# How long -----------------------------------------------------------------------------------------


def test_it_ends_with_the_room(party, host):
    player = party.join("p", "player")
    host.ask(Promote("p", "viewer", id="1"))
    host.ask(Revoke("p", "watch", id="2"))
    player.leave()
    host.leave()
    player = again(party, party.join("p2", "player", subject=player.subject))
    assert (role_of(player), may(player)) == ("player", {"speak": None, "watch": None})


def test_what_was_decided_longest_ago_ends_first(party, host, monkeypatch):
    monkeypatch.setattr(rulings, "MAX_RULINGS", 2)
    people = [party.join(name, "player") for name in ("one", "two", "three")]
    host.ask(Promote("one", "viewer", id="1"))
    host.ask(Promote("two", "viewer", id="2"))
    host.ask(Revoke("one", "watch", id="3"))
    host.ask(Promote("three", "viewer", id="4"))
    came_as = [role_of(again(party, person, f"{person.name}-2")) for person in people]
    assert came_as == ["viewer", "player", "viewer"]


# Nobody takes all the places ----------------------------------------------------------------------


def test_a_user_waits_at_the_door_twice_at_most(party, host):
    host.ask(Configure(policy="approval", id="1"))
    one, _ = (party.join(name, subject="x") for name in ("one", "two"))
    third = party.join("three", subject="x")
    assert (third.error.code, third.error.retry) == ("conflict", True)
    assert party.join("other").error is None
    one.drop()
    third.enter()
    assert third.error is None
    members = party.room.state.members.values()
    assert {member.peer for member in members if member.waiting} == {"two", "other", "three"}


def test_a_user_takes_two_places_of_a_small_room(party, host):
    host.ask(Configure(capacity=4, id="1"))
    one, _ = (party.join(name, subject="x") for name in ("one", "two"))
    one.drop()  # its place is kept
    third = party.join("three", subject="x")
    assert (third.error.code, third.error.retry) == ("conflict", True)
    guests = [party.join(f"i{number}", **INVITED) for number in range(3)]
    assert [guest.error and guest.error.code for guest in guests] == [None, None, "room-full"]
    party.pass_time(30)
    third.enter()
    assert third.error is None


def test_the_sessions_of_staff_are_no_places(party, host):
    host.ask(Configure(capacity=4, id="1"))
    for name in ("m1", "m2", "m3"):
        party.join(name, "moderator", subject="x")
    assert party.join("v", subject="x").error is None


def test_a_user_waits_for_a_control_in_one_window(party, host):
    one, two = (party.join(name, "player", subject="x") for name in ("one", "two"))
    assert one.ask(ControlRequest("pad:1", id="1")) == Done("1")
    error = two.ask(ControlRequest("pad:1", id="2"))
    assert (error.code, error.retry) == ("conflict", True)
    friends = [party.join(name, "player", **INVITED) for name in ("f", "g")]
    for friend in friends:
        assert friend.ask(ControlRequest("pad:1", id="3")) == Done("3")
    assert party.room.state.slots["pad:1"].queue == ["one", "f", "g"]
    host.ask(Configure(control_policy="free", id="4"))
    assert two.ask(ControlRequest("pad:2", id="5")).code == "conflict"
    holders = [slot.holder for slot in party.room.state.slots.values()]
    assert holders == ["one", None, None, None, None, None]
