"""What members ask of the room, and what comes of it for everyone."""

import pytest

from signalling.messages import (
    Admit,
    Ban,
    Bans,
    Chat,
    ChatMessage,
    Configure,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    Controls,
    ControlTake,
    Done,
    Grant,
    Invite,
    Kick,
    PeerJoined,
    PeerLeft,
    Permission,
    Permissions,
    Promote,
    Revoke,
    Settings,
    Unban,
    Welcome,
)
from signalling.rooms import requests

from .party import Party


@pytest.fixture
def party():
    return Party()


@pytest.fixture
def host(party):
    return party.join("h", "host")


@pytest.fixture
def player(party, host):
    player = party.join("p", "player")
    quiet(host, player)
    return player


@pytest.fixture
def viewer(party, player):
    viewer = party.join("v")
    party.tick()  # how many watch has been told
    quiet(*party.clients.values())
    party.took_place()
    return viewer


def quiet(*people):
    for person in people:
        person.take()


def names(permissions):
    return [permission.capability for permission in permissions]


# Answers ----------------------------------------------------------------------------------------


def test_every_answer_carries_the_requests_id_and_without_one_there_is_none(host, viewer):
    assert host.ask(Configure(title="Doom", id="a")) == Done("a")
    host.take()
    host.say(Configure(title="Quake"))
    assert [type(message) for message in host.take()] == [Settings]
    error = host.ask(Promote("gone", "player", id="b"))
    assert (error.id, error.code) == ("b", "unknown-peer")
    host.take()
    host.say(Promote("gone", "player"))
    (error,) = host.take()
    assert (error.id, error.code) == ("", "unknown-peer")


# The room ---------------------------------------------------------------------------------------


def test_settings_are_told_to_everyone_and_unchanged_ones_to_nobody(party, host, viewer):
    host.ask(Configure(title="Doom", pads=1, id="1"))
    settings = viewer.take(Settings)[0]
    assert (settings.settings.title, settings.viewers) == ("Doom", 2)
    assert settings.settings.policy == "open"
    host.ask(Configure(title="Doom", id="2"))
    assert viewer.take() == []
    (record,) = [record for record in party.records if record.type == "room.configured"]
    assert (record.actor, record.data) == ("sub-h", {"title": "Doom", "pads": 1})


def test_fewer_pads_are_taken_from_who_has_them(host, player):
    host.ask(ControlGrant("pad:4", "p", id="1"))
    quiet(player)
    host.ask(Configure(pads=2, id="2"))
    (controls,) = player.take(Controls)
    assert controls.reason == "settings"
    assert [(state.control, state.holder) for state in controls.controls] == [("pad:4", None)]
    assert names(host.inbox[-2].capabilities) == ["speak", "watch"]


def test_everyone_reads_what_is_said_its_author_too(party, host, viewer):
    party.at += 1
    assert viewer.ask(Chat("hello", id="1")) == Done("1")
    for person in (host, viewer, party.clients["p"]):
        (message,) = [m for m in person.inbox if isinstance(m, ChatMessage)]
        assert (message.peer, message.name, message.role) == ("v", "V", "viewer")
        assert (message.text, message.at) == ("hello", party.at)
    record = party.records[-1]
    assert (record.type, record.data) == ("chat.message", {"length": 5})


def test_what_cannot_be_seen_is_taken_out_of_the_chat(host, viewer):
    viewer.ask(Chat(" red\x1b[31m \u202eback\u2066 \x07\nline\x9b ", id="1"))
    assert host.take(ChatMessage)[0].text == "red[31m back \nline"
    error = viewer.ask(Chat("\x00 \u202e", id="2"))
    assert error.code == "bad-message"
    host.ask(Configure(title="\x1b[1mDoom", id="3"))
    assert viewer.take(Settings)[-1].settings.title == "[1mDoom"
    host.take()
    viewer.ask(ControlRequest("pad:1", id="4"))
    host.ask(ControlDeny("pad:1", "v", "no\x07", id="5"))
    assert viewer.take(Controls)[-1].message == "no"
    host.ask(Kick("v", "\x9bbye", id="6"))
    assert viewer.error.message == "bye"
    host.take()
    assert host.take() == []


def test_where_the_chat_is_off_only_staff_is_heard(host, viewer):
    host.ask(Configure(chat=False, id="1"))
    assert viewer.ask(Chat("hello", id="2")).code == "forbidden"
    assert host.ask(Chat("hello", id="3")) == Done("3")


def test_who_comes_late_reads_the_last_of_the_chat(party, host, viewer):
    for number in range(requests.CHAT_KEPT + 5):
        viewer.ask(Chat(str(number), id="1"))
    late = party.join("late")
    texts = [message.text for message in late.take(ChatMessage)]
    assert texts == [str(number) for number in range(5, requests.CHAT_KEPT + 5)]
    late.drop()
    late.come_back()
    assert late.take(ChatMessage) == []


def test_who_talks_most_pushes_out_what_they_said_themselves(party, host, viewer):
    other = party.join("other")
    other.ask(Chat("who plays next?", id="1"))
    for number in range(2 * requests.CHAT_KEPT):
        viewer.ask(Chat(f"spam {number}", id="1"))
        tab = party.join(f"tab-{number}", subject=viewer.subject)
        tab.ask(Chat(f"more spam {number}", id="1"))
    texts = [message.text for message in party.join("late").take(ChatMessage)]
    assert len(texts) == requests.CHAT_KEPT
    assert (texts[0], texts[-1]) == ("who plays next?", "more spam 31")


def test_an_invitation_is_made_by_the_server_of_who_asks(party, host, viewer):
    request = Invite("player", 600.0, id="1")
    assert host.ask(request) is None
    assert host.invitations == [(request, "player")]
    assert host.ask(Invite("admin", id="2")).code == "forbidden"
    (record,) = party.records
    assert (record.type, record.data) == ("invite.made", {"role": "player", "for_s": 600.0})


# Its people -------------------------------------------------------------------------------------


def test_who_is_let_in_is_welcomed_and_seen(party, host, player):
    host.ask(Configure(policy="approval", id="1"))
    waiting = party.join("w", "player")
    quiet(host, player, waiting)
    assert host.ask(Admit("w", id="2")) == Done("2")
    welcome = waiting.take()[0]
    assert isinstance(welcome, Welcome)
    assert (welcome.peer, welcome.role) == ("w", "player")
    (joined,) = player.take(PeerJoined)
    assert (joined.peer, joined.waiting) == ("w", False)
    assert host.ask(Admit("w", id="3")) == Done("3")
    assert waiting.take(Welcome) == []
    assert party.took_place()[-2:] == ["viewer.admitted", "viewer.joined"]


def test_who_is_not_let_in_is_told_so_and_only_staff_hears_of_it(party, host, player):
    host.ask(Configure(policy="approval", id="1"))
    waiting = party.join("w", "player")
    quiet(host, player)
    host.ask(Kick("w", "not today", id="2"))
    assert (waiting.error.code, waiting.error.message) == ("not-admitted", "not today")
    assert [type(message) for message in host.take()] == [PeerLeft, Done]
    assert player.take() == []
    assert party.took_place()[-1] == "viewer.refused"


def test_nobody_is_let_into_a_full_room(party, host, viewer):
    host.ask(Configure(policy="approval", capacity=2, id="1"))
    party.join("w")
    error = host.ask(Admit("w", id="2"))
    assert (error.code, error.retry) == ("room-full", True)
    viewer.leave()
    assert host.ask(Admit("w", id="3")) == Done("3")


def test_who_is_promoted_sees_and_may_what_its_role_may(party, host, viewer):
    party.join("m", "moderator")
    other = party.join("w")
    quiet(host, viewer, other)
    host.ask(Promote("v", "player", id="1"))
    me, staff, permissions = viewer.take()
    assert (me.peer, me.role) == ("v", "player")
    assert (staff.peer, staff.role) == ("m", "moderator")
    assert (permissions.peer, names(permissions.capabilities)) == ("v", ["speak", "watch"])
    (seen,) = other.take()
    assert (seen.peer, seen.role) == ("v", "player")
    host.ask(Promote("v", "moderator", id="2"))
    assert "w" in [message.peer for message in viewer.inbox if isinstance(message, PeerJoined)]
    assert [type(message) for message in viewer.take()].count(Bans) == 1
    host.ask(Promote("v", "viewer", id="3"))
    assert viewer.ask(Kick("w", id="4")).code == "forbidden"


def test_a_live_role_outlives_the_connection_and_the_member_but_not_the_room(party, host, viewer):
    host.ask(Promote("v", "player", id="1"))
    viewer.drop()
    viewer.come_back()
    assert viewer.welcomes[-1].role == "player"
    viewer.leave()
    again = party.join("v2", subject=viewer.subject)
    assert again.welcomes[-1].role == "player"
    for person in tuple(party.clients.values()):
        person.leave()
    assert party.join("v3", subject=viewer.subject).welcomes[-1].role == "viewer"


def test_who_is_kicked_is_gone_for_all_and_may_come_again(party, host, viewer):
    host.ask(Kick("v", "be nice", id="1"))
    assert (viewer.error.code, viewer.error.message) == ("kicked", "be nice")
    assert [message.reason for message in host.take(PeerLeft)] == ["kicked"]
    assert "viewer.kicked" in party.took_place()
    viewer.come_back()
    assert not viewer.welcomes[-1].resumed  # its seat is gone
    assert viewer.error is None


def test_who_is_kicked_while_away_has_no_seat_to_come_back_to(party, host, viewer):
    viewer.drop()
    host.ask(Kick("v", id="1"))
    viewer.come_back()
    assert not viewer.welcomes[-1].resumed


def test_who_is_banned_is_kept_out_by_every_token_until_it_ends(party, host, viewer):
    second = party.join("v2", subject=viewer.subject)
    quiet(host)
    host.ask(Ban("v", 60.0, "enough", id="1"))
    assert (viewer.error.code, second.error.code) == ("banned", "banned")
    (bans,) = host.take(Bans)
    assert [(ban.subject, ban.name, ban.until) for ban in bans.bans] == [
        (viewer.subject, "V", party.at + 60)
    ]
    viewer.come_back()
    assert viewer.error.code == "banned"
    party.pass_time(60)
    assert host.take(Bans)[-1].bans == []
    viewer.enter()
    assert viewer.error is None


def test_a_ban_can_be_lifted(party, host, viewer):
    host.ask(Ban("v", id="1"))
    host.ask(Unban(viewer.subject, id="2"))
    assert host.inbox[0].bans == []
    viewer.come_back()
    assert viewer.error is None
    host.take()
    assert host.ask(Unban("nobody", id="3")) == Done("3")
    assert host.take(Bans) == []
    assert [(r.type, r.subject) for r in party.records if "ban" in r.type] == [
        ("viewer.banned", viewer.subject),
        ("viewer.unbanned", viewer.subject),
    ]


@pytest.mark.parametrize("role", ["moderator", "admin"])
def test_a_ban_takes_no_host_along(party, host, viewer, role):
    staff = party.join("s", role)
    tab = party.join("h-tab", subject=host.subject)
    assert staff.ask(Ban("h-tab", id="1")) == Done("1")
    assert tab.error.code == "banned"
    assert host.error is None
    assert party.room.host.peer == "h"


def test_a_moderator_keeps_no_other_out_by_another_of_its_sessions(party, host):
    one, two = party.join("one", "moderator"), party.join("two", "moderator")
    party.join("tab", subject=two.subject)
    assert one.ask(Ban("tab", id="1")).code == "forbidden"
    assert party.room.state.bans == {}
    assert host.ask(Ban("tab", id="2")) == Done("2")
    assert two.error.code == "banned"


def test_it_is_on_record_who_put_whom_out(party, host, viewer):
    host.ask(Kick("v", id="1"))
    host.ask(Configure(policy="approval", id="2"))
    waiting = party.join("w")
    host.ask(Kick("w", id="3"))
    ends = {"viewer.kicked", "viewer.left", "viewer.refused"}
    assert [(r.type, r.actor, r.subject) for r in party.records if r.type in ends] == [
        ("viewer.kicked", host.subject, viewer.subject),
        ("viewer.left", host.subject, viewer.subject),
        ("viewer.refused", host.subject, waiting.subject),
    ]


def test_nobody_bans_themselves(party, host, viewer):
    party.join("mine", subject=host.subject)
    assert host.ask(Ban("mine", id="1")).code == "forbidden"
    assert host.ask(Kick("h", id="2")).code == "forbidden"


def test_there_is_an_end_to_bans(party, host, viewer, monkeypatch):
    monkeypatch.setattr(requests, "MAX_BANS", 1)
    party.join("w")
    host.ask(Ban("v", id="1"))
    assert host.ask(Ban("w", id="2")).code == "conflict"


# Controls ---------------------------------------------------------------------------------------


def test_a_request_is_told_to_everyone_and_granted_by_the_host(party, host, player, viewer):
    assert viewer.ask(ControlRequest("pad:1", id="1")) == Done("1")
    (controls,) = host.take(Controls)
    assert controls.reason == "requested"
    assert [(state.control, state.holder, state.queue) for state in controls.controls] == [
        ("pad:1", None, ["v"])
    ]
    party.at += 5
    quiet(*party.clients.values())
    assert host.ask(ControlGrant("pad:1", "v", 60.0, id="2")) == Done("2")
    controls, permissions = viewer.take()
    assert (controls.reason, controls.controls[0].holder) == ("granted", "v")
    until = party.at + 60
    assert controls.controls[0].until == until
    assert permissions.capabilities[-1] == Permission("pad:1", until)
    assert [type(m) for m in host.inbox] == [Controls, Permissions, Done]
    assert [type(m) for m in player.take()] == [Controls]  # what others may do is not theirs to see
    party.pass_time(60)
    controls, permissions = viewer.take()
    assert (controls.reason, controls.controls[0].holder) == ("expired", None)
    assert names(permissions.capabilities) == ["watch"]
    kinds = [kind for kind in party.took_place() if kind.startswith("control")]
    assert kinds == ["control.requested", "control.granted", "control.released"]


def test_both_hear_of_it_when_a_control_changes_hands(host, player, viewer):
    host.ask(ControlGrant("mouse", "p", id="1"))
    quiet(host, player)
    host.ask(ControlGrant("mouse", "v", id="2"))
    assert [(m.peer, names(m.capabilities)) for m in host.inbox if isinstance(m, Permissions)] == [
        ("p", ["speak", "watch"]),
        ("v", ["watch", "mouse"]),
    ]
    assert names(player.take(Permissions)[0].capabilities) == ["speak", "watch"]


def test_a_denied_request_comes_with_a_word(host, player, viewer):
    player.ask(ControlRequest("pad:1", id="1"))
    quiet(player)
    host.ask(ControlDeny("pad:1", "p", "not yet", id="2"))
    (controls,) = player.take()
    assert (controls.reason, controls.message) == ("denied", "not yet")
    assert controls.controls[0].queue == []
    assert host.ask(ControlDeny("pad:1", "p", id="3")).code == "conflict"


def test_what_is_taken_or_released_is_free(party, host, player):
    host.ask(ControlGrant("pad:1", "p", id="1"))
    host.ask(ControlTake("pad:1", id="2"))
    assert party.room.state.slots["pad:1"].holder is None
    assert player.take(Controls)[-1].reason == "taken"
    host.ask(ControlGrant("pad:1", "p", id="3"))
    player.ask(ControlRelease("pad:1", id="4"))
    assert player.inbox[0].reason == "released"
    assert host.ask(ControlTake("pad:1", id="5")) == Done("5")


def test_a_player_hands_on_to_players_who_are_there(party, host, player, viewer):
    host.ask(ControlGrant("pad:1", "p", id="1"))
    other = party.join("q", "player")
    assert player.ask(ControlGive("pad:1", "v", id="2")).code == "forbidden"
    assert player.ask(ControlGive("pad:1", "h", id="3")).code == "forbidden"
    other.drop()
    error = player.ask(ControlGive("pad:1", "q", id="4"))
    assert (error.code, error.retry) == ("conflict", True)
    other.come_back()
    assert player.ask(ControlGive("pad:1", "q", id="5")) == Done("5")
    assert party.room.state.slots["pad:1"].holder == "q"
    assert player.ask(ControlGive("pad:1", "q", id="6")).code == "conflict"


def test_a_moderator_takes_nothing_from_an_admin_and_the_host_takes_from_all(party, host, player):
    admin, moderator = party.join("a", "admin"), party.join("m", "moderator")
    admin.ask(ControlGrant("pad:1", "a", id="1"))
    for request in (ControlTake("pad:1", id="2"), ControlGrant("pad:1", "p", id="3")):
        assert moderator.ask(request).code == "forbidden"
    assert party.room.state.slots["pad:1"].holder == "a"
    assert host.ask(ControlTake("pad:1", id="4")) == Done("4")


def test_turns_go_by_themselves(party, host, player):
    host.ask(Configure(control_policy="turns", turn_s=60.0, id="1"))
    other = party.join("q", "player")
    player.ask(ControlRequest("pad:1", id="2"))
    other.ask(ControlRequest("pad:1", id="3"))
    quiet(host, player, other)
    party.pass_time(60)
    controls = other.take(Controls)[0]
    assert (controls.reason, controls.controls[0].holder) == ("expired", "q")
    assert names(player.take(Permissions)[0].capabilities) == ["speak", "watch"]
    assert names(host.take(Permissions)[-1].capabilities) == ["speak", "watch", "pad:1"]
    assert party.room.next_due() is None


def test_a_turn_is_no_longer_for_what_else_the_staff_changes(party, host, player):
    host.ask(Configure(control_policy="turns", turn_s=60.0, id="1"))
    player.ask(ControlRequest("pad:1", id="2"))
    party.at += 60.0
    party.join("q", "player").ask(ControlRequest("pad:1", id="3"))
    until = party.at + 5.0  # the notice
    party.at += 4.0
    host.ask(Configure(locked=True, title="Doom", id="4"))
    assert party.room.state.slots["pad:1"].until == until


def test_who_comes_back_gets_what_was_free_meanwhile(party, host, player):
    host.ask(Configure(control_policy="free", id="1"))
    other = party.join("q", "player")
    player.ask(ControlRequest("pad:1", id="2"))
    other.ask(ControlRequest("pad:1", id="3"))
    other.drop()
    player.ask(ControlRelease("pad:1", id="4"))
    assert party.room.state.slots["pad:1"].holder is None
    other.come_back()
    assert party.room.state.slots["pad:1"].holder == "q"
    assert "pad:1" in names(other.take(Permissions)[-1].capabilities)


def test_a_viewer_gets_a_free_control_as_soon_as_it_is_a_player(party, host, viewer):
    viewer.ask(ControlRequest("pad:1", id="1"))
    host.ask(Configure(control_policy="free", id="2"))
    assert party.room.state.slots["pad:1"].holder is None
    assert viewer.ask(ControlRequest("pad:2", id="3")).code == "forbidden"
    host.ask(Promote("v", "player", id="4"))
    assert party.room.state.slots["pad:1"].holder == "v"


def test_who_is_a_player_no_more_keeps_what_the_host_gave_it(party, host, viewer):
    host.ask(Configure(control_policy="free", id="1"))
    host.ask(Promote("v", "player", id="2"))
    viewer.ask(ControlRequest("pad:1", id="3"))
    host.ask(ControlGrant("keyboard", "v", id="4"))
    viewer.take()
    host.ask(Promote("v", "viewer", id="5"))
    slots = party.room.state.slots
    assert (slots["pad:1"].holder, slots["keyboard"].holder) == (None, "v")
    assert [control.control for control in viewer.take(Controls)[-1].controls] == ["pad:1"]


def test_without_the_host_there_is_nothing_to_hold(party, host, player):
    host.ask(ControlGrant("pad:1", "p", id="1"))
    quiet(player)
    host.leave()
    left, controls, permissions = player.take()
    assert isinstance(left, PeerLeft)
    assert (controls.reason, controls.controls[0].holder) == ("left", None)
    assert names(permissions.capabilities) == ["speak", "watch"]
    error = player.ask(ControlRequest("pad:1", id="2"))
    assert (error.code, error.retry) == ("conflict", True)


# Other permissions ------------------------------------------------------------------------------


def test_a_capability_is_granted_for_a_while(party, host, viewer):
    assert host.ask(Grant("v", "clipboard", 60.0, id="1")) == Done("1")
    until = party.at + 60
    assert viewer.take(Permissions)[-1].capabilities == [
        Permission("watch"),
        Permission("clipboard", until),
    ]
    assert [(m.peer, len(m.capabilities)) for m in host.take(Permissions)] == [("v", 2)]
    party.pass_time(59.9)
    assert viewer.take(Permissions) == []
    party.pass_time(0.1)
    assert viewer.take(Permissions)[0].capabilities == [Permission("watch")]
    assert party.took_place()[:2] == ["permission.granted", "permission.revoked"]


def test_what_a_role_may_do_can_be_taken_away_and_given_back(party, host, player):
    host.ask(Revoke("p", "speak", id="1"))
    assert names(player.take(Permissions)[0].capabilities) == ["watch"]
    player.drop()
    player.come_back()
    assert names(player.welcomes[-1].capabilities) == ["watch"]
    host.ask(Grant("p", "speak", id="2"))
    assert names(player.take(Permissions)[-1].capabilities) == ["speak", "watch"]


def test_a_role_that_may_needs_no_grant_and_is_not_bounded_by_one(party, host, player):
    host.ask(Grant("p", "speak", 10.0, id="1"))
    assert player.take(Permissions)[-1].capabilities[0] == Permission("speak")
    party.pass_time(11)
    assert player.take(Permissions) == []


def test_what_a_new_role_may_do_has_no_end_though_it_was_granted_with_one(party, host, viewer):
    host.ask(Grant("v", "speak", 10.0, id="1"))
    host.ask(Promote("v", "player", id="2"))
    assert Permission("speak") in viewer.take(Permissions)[-1].capabilities
    host.ask(Promote("v", "viewer", id="3"))
    assert viewer.take(Permissions)[-1].capabilities[-1] == Permission("speak", party.at + 10)


def test_a_grant_of_a_control_is_a_grant_of_the_control(party, host, viewer):
    host.ask(Grant("v", "pad:1", 60.0, id="1"))
    assert party.room.state.slots["pad:1"].holder == "v"
    assert host.ask(Revoke("p", "pad:1", id="2")) == Done("2")  # p does not have it
    assert party.room.state.slots["pad:1"].holder == "v"
    host.ask(Revoke("v", "pad:1", id="3"))
    assert party.room.state.slots["pad:1"].holder is None
    assert host.ask(Grant("v", "pad:8", id="4")).code == "conflict"


def test_moderating_comes_with_the_role(host, viewer):
    for request in (Grant("v", "moderate", id="1"), Revoke("v", "moderate", id="2")):
        assert host.ask(request).code == "forbidden"


def test_taking_what_nobody_has_is_told_to_nobody(party, host, viewer):
    assert host.ask(Revoke("v", "clipboard", id="1")) == Done("1")
    assert viewer.take() == []
    assert party.took_place() == []


@pytest.mark.parametrize(
    "request_of",
    [
        lambda peer: Promote(peer, "player", id="1"),
        lambda peer: ControlGrant("pad:1", peer, id="1"),
        lambda peer: Grant(peer, "speak", id="1"),
        lambda peer: Revoke(peer, "watch", id="1"),
        lambda peer: ControlDeny("pad:1", peer, id="1"),
    ],
)
def test_nothing_is_given_to_who_waits_or_is_gone(party, host, request_of):
    host.ask(Configure(policy="approval", id="1"))
    party.join("w")
    assert host.ask(request_of("w")).code == "not-admitted"
    assert host.ask(request_of("gone")).code == "unknown-peer"
