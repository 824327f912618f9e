"""Every role with every message, against a table of its own: what is declared, and what is done."""

import itertools
from typing import get_args

import pytest

from signalling.messages import (
    Admit,
    Answer,
    Ban,
    Bye,
    Candidate,
    Chat,
    ClientMessage,
    Configure,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    ControlTake,
    Done,
    Error,
    FreshToken,
    Grant,
    Hello,
    Invite,
    Kick,
    Offer,
    PeerJoined,
    Ping,
    Pong,
    Promote,
    Refused,
    Relayed,
    Restart,
    Revoke,
    RoomRequest,
    RoomSettings,
    Trace,
    Unban,
)
from signalling.rooms.permissions import (
    CAPABILITIES,
    GRANTABLE,
    MAY_ACT_ON,
    MAY_ADDRESS,
    MAY_APPOINT,
    MAY_CONFIGURE,
    MAY_SEND,
    MAY_STEER,
    PROMOTABLE,
    ROLES,
    SEEN_BY,
    STAFF,
    VISIBLE,
    tag_of,
)
from signalling.rooms.rulings import RANKS

from .party import Party

#                              admin host moderator player viewer
SENDERS = {
    FreshToken: "ahmpv",
    Bye: "ahmpv",
    Ping: "ahmpv",
    Pong: "ahmpv",
    Trace: "ahmpv",
    Chat: "ahmpv",
    Offer: "h",
    Refused: "h",
    Candidate: "ahmpv",
    Answer: "ampv",
    Restart: "ampv",
    ControlRequest: "ampv",
    ControlRelease: "ampv",
    ControlGive: "ampv",
    ControlGrant: "ahm",
    ControlDeny: "ahm",
    ControlTake: "ahm",
    Grant: "ahm",
    Revoke: "ahm",
    Configure: "ahm",
    Admit: "ahm",
    Promote: "ahm",
    Kick: "ahm",
    Ban: "ahm",
    Unban: "ahm",
    Invite: "ahm",
    Hello: "",
}


def every(*sets):
    return list(itertools.product(*map(sorted_by_name, sets)))


def sorted_by_name(values):
    return sorted(values, key=lambda value: getattr(value, "__name__", value))


MESSAGES = {
    Offer: lambda peer: Offer(peer, "sdp"),
    Answer: lambda peer: Answer(peer, "sdp"),
    Candidate: lambda peer: Candidate(peer, "c"),
    Restart: lambda peer: Restart(peer),
    Refused: lambda peer: Refused(peer, "no place"),
    ControlRequest: lambda peer: ControlRequest("pad:1", id="1"),
    ControlRelease: lambda peer: ControlRelease("pad:1", id="1"),
    ControlGive: lambda peer: ControlGive("pad:1", peer, id="1"),
    ControlGrant: lambda peer: ControlGrant("pad:1", peer, id="1"),
    ControlDeny: lambda peer: ControlDeny("pad:1", peer, id="1"),
    ControlTake: lambda peer: ControlTake("pad:1", id="1"),
    Grant: lambda peer: Grant(peer, "speak", id="1"),
    Revoke: lambda peer: Revoke(peer, "speak", id="1"),
    Configure: lambda peer: Configure(locked=True, id="1"),
    Admit: lambda peer: Admit(peer, id="1"),
    Promote: lambda peer: Promote(peer, "player", id="1"),
    Kick: lambda peer: Kick(peer, id="1"),
    Ban: lambda peer: Ban(peer, id="1"),
    Unban: lambda peer: Unban("someone", id="1"),
    Chat: lambda peer: Chat("hello", id="1"),
    Invite: lambda peer: Invite("viewer", id="1"),
}


@pytest.fixture
def party():
    """One of each role, and a second viewer."""
    party = Party()
    for name, role in [("h", "host"), *((role[0], role) for role in ROLES if role != "host")]:
        party.join(name, role)
    party.join("target", "viewer")
    for person in party.clients.values():
        person.take()
    party.took_place()
    return party


def person_of(party, role):
    return party.clients[role[0]]


def test_the_table_of_this_test_names_every_message():
    assert set(SENDERS) == set(get_args(ClientMessage))
    assert set(MESSAGES) == set(get_args(RoomRequest)) | set(get_args(Relayed))


@pytest.mark.parametrize(("role", "kind"), every(ROLES, SENDERS))
def test_who_may_send_what_is_declared(role, kind):
    assert (kind in MAY_SEND[role]) is (role[0] in SENDERS[kind])


@pytest.mark.parametrize(("role", "kind"), every(ROLES, MESSAGES))
def test_what_a_role_may_not_send_is_refused_and_changes_nothing(party, role, kind):
    sender = person_of(party, role)
    before = party.room.snapshot()
    others = [person for person in party.clients.values() if person is not sender]
    target = "h" if role != "host" and issubclass(kind, get_args(Relayed)) else "target"
    sender.say(MESSAGES[kind](target))
    refused = Error("forbidden", f"a {role} may not send {tag_of(kind)}")
    answers = sender.take(Error)
    said_so = [error for error in answers if error.message == refused.message]
    assert bool(said_so) is (role[0] not in SENDERS[kind])
    if said_so:
        assert [error.code for error in answers] == ["forbidden"]
        assert all(not person.take() for person in others)
        assert party.took_place() == []
        assert sender.error is None
        # The answer to a request is kept for who asked; nothing else has changed.
        room = type(party.room)("doom")
        room.restore(before)
        assert party.room.state.members == room.state.members
        assert party.room.state.settings == room.state.settings
        assert party.room.state.slots == room.state.slots


@pytest.mark.parametrize(("role", "other"), every(ROLES, ROLES))
def test_what_is_handed_on_goes_between_the_host_and_each_other(party, role, other):
    sender = person_of(party, role)
    receiver = party.clients["target"] if role == other == "viewer" else person_of(party, other)
    if sender is receiver and role != "host":
        receiver = party.join("second", role)
        receiver.take()
    sender.take()
    sender.say(Candidate(receiver.peer, "c"))
    goes = (role == "host") != (other == "host")
    assert (other in MAY_ADDRESS[role]) is goes
    if goes:
        (candidate,) = receiver.take()
        assert (candidate.peer, candidate.candidate) == (sender.peer, "c")
        assert sender.take() == []
    else:
        (error,) = sender.take()
        assert error.code == "forbidden"
        assert receiver.take(Candidate) == []


SEES = {
    "admin": {"admin", "host", "moderator", "player", "viewer"},
    "host": {"admin", "host", "moderator", "player", "viewer"},
    "moderator": {"admin", "host", "moderator", "player", "viewer"},
    "player": {"admin", "host", "moderator", "player"},
    "viewer": {"host", "player"},
}


@pytest.mark.parametrize(("role", "other"), every(ROLES, ROLES))
def test_who_comes_is_told_to_those_who_may_see_it(role, other):
    assert (other in VISIBLE[role]) is (other in SEES[role]) is (role in SEEN_BY[other])
    if role == other == "host":
        return
    party = Party()
    seer = party.join("seer", role)
    seer.take()
    comer = party.join("comer", other)
    told = [message.peer for message in seer.take(PeerJoined)]
    assert told == (["comer"] if other in SEES[role] else [])
    there = [card.peer for card in comer.welcomes[0].members]
    assert there == (["seer"] if role in SEES[other] else [])


def test_whoever_is_seen_by_viewers_is_seen_by_all():
    """What is told to viewers is a broadcast."""
    for role in ROLES:
        assert "viewer" not in SEEN_BY[role] or SEEN_BY[role] == set(ROLES)


def test_a_moderator_acts_on_nobody_above_and_makes_nobody_more_than_a_player():
    assert MAY_ACT_ON["moderator"] == {"player", "viewer"}
    assert MAY_STEER["moderator"] == {"moderator", "player", "viewer"}
    assert MAY_APPOINT["moderator"] == {"player", "viewer"}


def test_only_staff_acts_on_others():
    for table in (MAY_ACT_ON, MAY_STEER, MAY_APPOINT, MAY_CONFIGURE):
        assert set(table) == set(ROLES)
        assert {role for role, what in table.items() if what} == STAFF


def test_nobody_makes_hosts_or_admins_and_the_host_takes_controls_from_everyone():
    for made in MAY_APPOINT.values():
        assert not made & {"host", "admin"}
    assert MAY_STEER["host"] == set(ROLES) - {"host"}
    assert "admin" not in MAY_ACT_ON["host"]
    assert all("admin" not in acted_on for acted_on in MAY_ACT_ON.values())


def test_every_setting_may_be_changed_by_the_host():
    assert MAY_CONFIGURE["host"] == set(RoomSettings.__struct_fields__)
    assert MAY_CONFIGURE["host"] == set(Configure.__struct_fields__) - {"id"}


def test_everyone_may_watch_and_only_staff_moderates():
    for role in ROLES:
        assert "watch" in CAPABILITIES[role]
        assert ("moderate" in CAPABILITIES[role]) is (role in STAFF)
    assert "moderate" not in GRANTABLE


ACTIONS = {
    "kick": lambda peer: Kick(peer, id="1"),
    "ban": lambda peer: Ban(peer, id="1"),
    "promote": lambda peer: Promote(peer, "viewer", id="1"),
}


@pytest.mark.parametrize(("role", "other", "action"), every(STAFF, ROLES, ACTIONS))
def test_staff_acts_on_those_whom_the_table_names(party, role, other, action):
    actor, target = person_of(party, role), person_of(party, other)
    answer = actor.ask(ACTIONS[action](target.peer))
    # A host can be put out, but is no less than one while it is there.
    allowed = other in MAY_ACT_ON[role] and (action == "kick" or other != "host")
    assert isinstance(answer, Done if allowed else Error)
    gone = target.error is not None
    assert gone is (allowed and action != "promote")
    if not allowed:
        assert answer.code == "forbidden"
        assert party.room.member(target.link).role == other


@pytest.mark.parametrize(("role", "made"), every(STAFF, ROLES))
def test_staff_makes_of_others_what_the_table_says(party, role, made):
    actor = person_of(party, role)
    answer = actor.ask(Promote("target", made, id="1"))
    allowed = made in MAY_APPOINT[role]
    assert isinstance(answer, Done if allowed else Error)
    assert party.room.member("target").role == (made if allowed else "viewer")
    actor.ask(Invite(made, id="2"))
    assert [invited for _, invited in actor.invitations] == ([made] if allowed else [])


# By the token's role, and what the host has made of them.
COMES_ANEW_AS = {
    #                         by a token for viewer, player, moderator
    ("viewer", "viewer"): ("viewer", "player", "moderator"),
    ("viewer", "player"): ("player", "player", "moderator"),
    ("viewer", "moderator"): ("moderator", "moderator", "moderator"),
    ("player", "viewer"): ("viewer", "viewer", "viewer"),
    ("player", "player"): ("viewer", "player", "moderator"),
    ("player", "moderator"): ("moderator", "moderator", "moderator"),
    ("moderator", "viewer"): ("viewer", "viewer", "viewer"),
    ("moderator", "player"): ("viewer", "player", "player"),
    ("moderator", "moderator"): ("viewer", "player", "moderator"),
}
TOKENS = ("viewer", "player", "moderator")


@pytest.mark.parametrize(("token", "made"), every(PROMOTABLE, PROMOTABLE))
def test_what_somebody_was_made_goes_before_their_token(party, token, made):
    person = party.join("x", token)
    person_of(party, "host").ask(Promote("x", made, id="1"))
    person.leave()
    came_as = []
    for role in (*TOKENS, "admin"):
        again = party.join(f"x-{role}", role, subject=person.subject)
        came_as.append(again.welcomes[0].role)
        again.leave()
    assert came_as == [*COMES_ANEW_AS[token, made], "admin"]


def test_what_is_decided_of_a_user_may_be_decided_of_all_whose_role_can_change():
    """Of their other sessions it is decided along with the one that was named."""
    assert all(MAY_STEER[role] >= PROMOTABLE for role in STAFF)
    assert set(RANKS) == PROMOTABLE


@pytest.mark.parametrize(("role", "setting"), every(STAFF, MAY_CONFIGURE["host"]))
def test_staff_changes_the_settings_that_the_table_names(party, role, setting):
    changed = {
        "policy": "link",
        "locked": True,
        "capacity": 7,
        "privacy": "public",
        "title": "Doom",
        "steam_app_id": 2280,
        "control_policy": "turns",
        "turn_s": 33.0,
        "pads": 2,
        "keyboard": False,
        "chat": False,
    }
    before = party.room.state.settings
    answer = person_of(party, role).ask(Configure(**{setting: changed[setting]}, id="1"))
    if setting in MAY_CONFIGURE[role]:
        assert answer == Done("1")
        assert getattr(party.room.state.settings, setting) == changed[setting]
    else:
        assert answer.code == "forbidden"
        assert party.room.state.settings == before
