"""Coming, being away, coming back and going; and who is told what."""

import pytest

from signalling.messages import (
    Admit,
    Answer,
    Ban,
    Candidate,
    Chat,
    Configure,
    ControlRequest,
    Controls,
    Error,
    Offer,
    PeerJoined,
    PeerLeft,
    Permission,
    Permissions,
    Refused,
    Restart,
    RoomSettings,
    Settings,
    Waiting,
    Welcome,
)
from signalling.rooms import Away, Greet, Join, Leave, Resume, Room, Say, Tick

from .party import Party, hashed


@pytest.fixture
def party():
    return Party()


@pytest.fixture
def host(party):
    host = party.join("h", "host")
    host.take()
    return host


def quiet(*people):
    for person in people:
        person.take()


# Coming -----------------------------------------------------------------------------------------


def test_a_viewer_may_be_there_before_the_host(party):
    viewer = party.join("v")
    (welcome,) = viewer.welcomes
    assert (welcome.peer, welcome.room, welcome.role) == ("v", "doom", "viewer")
    assert (welcome.host_present, welcome.peers, welcome.members) == (False, [], [])
    assert (welcome.resumed, welcome.complete, welcome.resume_window_s) == (False, True, 30.0)
    assert welcome.capabilities == [Permission("watch")]
    assert welcome.at == party.at
    viewer.take()
    host = party.join("h", "host")
    assert host.welcomes[0].host_present
    assert host.welcomes[0].peers == ["v"]
    assert host.welcomes[0].members == [PeerJoined("v", "viewer", "V")]
    (joined,) = viewer.take()
    assert (joined.peer, joined.role, joined.name) == ("h", "host", "H")
    assert party.took_place() == ["room.opened", "viewer.joined", "stream.started"]


def test_the_host_is_told_who_comes_with_its_seat_its_trace_and_what_it_may_do(party, host):
    staff = party.join("m", "moderator")
    quiet(host, staff)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    viewer = party.join("v", seat="seat", traceparent=trace)
    joined, permissions = host.take()
    assert joined == PeerJoined("v", "viewer", "V", "seat", traceparent=trace, seq=joined.seq)
    assert permissions == Permissions("v", [Permission("watch")], seq=permissions.seq)
    (joined,) = staff.take()
    assert joined == PeerJoined("v", "viewer", "V", seq=joined.seq)
    assert viewer.welcomes[0].members == [PeerJoined("h", "host", "H")]


def test_who_comes_is_told_the_settings_and_the_host_what_everyone_may_do(party):
    party.join("v")
    party.join("p", "player")
    host = party.join("h", "host", settings=RoomSettings(title="Do\x1bom", pads=2))
    assert host.inbox[1] == Settings(host.welcomes[0].settings, 2, seq=host.inbox[1].seq)
    assert host.welcomes[0].settings.title == "Doom"
    assert [state.control for state in host.welcomes[0].controls] == [
        "pad:1",
        "pad:2",
        "keyboard",
        "mouse",
    ]
    told = {message.peer: message.capabilities for message in host.take(Permissions)}
    assert told == {"v": [Permission("watch")], "p": [Permission("speak"), Permission("watch")]}


def test_a_hosts_settings_count_where_nobody_has_chosen_any(party):
    party.join("v")
    party.join("h", "host", settings=RoomSettings(title="first")).leave()
    party.join("h2", "host", settings=RoomSettings(title="second"))
    assert party.room.state.settings.title == "first"


@pytest.mark.parametrize(
    ("policy", "stays", "again"),
    [
        ("open", {"v", "f", "i", "p"}, None),
        ("approval", {"i"}, True),
        ("followers", {"f", "i"}, False),
        ("invite", {"i"}, False),
    ],
)
def test_who_came_before_the_host_is_judged_by_its_policy(party, policy, stays, again):
    guests = {
        "v": party.join("v"),
        "f": party.join("f", marks=frozenset({"follower"})),
        "i": party.join("i", marks=frozenset({"invite"})),
        "p": party.join("p", "player"),
    }
    own, moderator = party.join("o", subject="host"), party.join("m", "moderator")
    guests["p"].drop()
    host = party.join("h", "host", subject="host", settings=RoomSettings(policy=policy))
    assert party.room.state.members.keys() == stays | {"o", "m", "h"}
    assert set(host.welcomes[0].peers) == stays | {"o", "m"}
    assert own.error is None
    assert moderator.error is None
    for name, guest in guests.items():
        if name in stays or name == "p":
            assert guest.error is None
        else:
            assert (guest.error.code, guest.error.retry) == ("not-admitted", again)


def test_a_host_that_comes_again_puts_nobody_out(party):
    settings = RoomSettings(policy="approval")
    host = party.join("h", "host", settings=settings)
    guest = party.join("v")
    host.ask(Admit("v", id="1"))
    host.leave()
    party.join("h2", "host", settings=settings)
    assert guest.error is None
    assert "v" in party.room.state.members


def test_a_host_brings_its_settings_for_all_that_the_staff_has_not_chosen(party):
    moderator = party.join("m", "moderator")
    moderator.ask(Configure(locked=True, id="1"))
    party.join("h", "host", settings=RoomSettings(title="Doom", pads=2))
    settings = party.room.state.settings
    assert (settings.locked, settings.title, settings.pads) == (True, "Doom", 2)


def test_viewers_hear_nothing_of_each_other(party, host):
    first = party.join("v")
    first.take()
    second = party.join("w")
    second.drop()
    second.come_back()
    second.leave()
    assert first.take() == []


def test_a_room_of_many_costs_the_newcomer_and_the_host_not_the_others(party, host):
    for number in range(100):
        party.join(f"v{number}")
    effects = party.apply(Join(link="new", at=party.at, subject="n", role="viewer"))
    receivers = {link for effect in effects for link in getattr(effect, "to", ())}
    assert receivers == {"h", "new"}


def test_a_welcome_that_would_be_too_long_leaves_the_rest_to_messages(party, monkeypatch):
    monkeypatch.setattr("signalling.rooms.membership.MAX_WELCOME", 1000)
    names = [f"v{number}" for number in range(20)]
    for name in names:
        party.join(name)
    host = party.join("h", "host")
    in_welcome = [card.peer for card in host.welcomes[0].members]
    assert 0 < len(in_welcome) < 20
    assert in_welcome + [card.peer for card in host.take(PeerJoined)] == names


# The host's place -------------------------------------------------------------------------------


def test_a_second_host_is_refused_and_the_first_is_asked_whether_it_is_there(party, host):
    second = party.join("h2", "host")
    assert (second.error.code, second.error.retry) == ("room-taken", True)
    assert (host.probed, host.error) == (1, None)
    assert party.room.host.peer == "h"
    second.drop()
    assert party.room.host.peer == "h"


def test_a_host_that_is_away_makes_room_for_another(party, host):
    viewer = party.join("v")
    viewer.take()
    host.drop()
    (away,) = viewer.take()
    assert away == PeerJoined("h", "host", "H", away=True, seq=away.seq)
    second = party.join("h2", "host")
    assert second.error is None
    left, joined = viewer.take()
    assert (left.peer, left.role, left.reason) == ("h", "host", "lost")
    assert (joined.peer, joined.role) == ("h2", "host")
    host.come_back()
    assert host.error.code == "room-taken"
    assert party.took_place().count("stream.started") == 2


def test_a_host_that_is_there_goes_on_over_another_connection_with_its_secret(party, host):
    viewer = party.join("v")
    quiet(host, viewer)
    party.clients["h"] = old = type(host)(party, "old", "host", host.subject)
    host.come_back()
    assert old.error.code == "replaced"
    assert host.error is None
    assert host.welcomes[-1].resumed
    assert party.room.host.peer == "h"
    (same,) = viewer.take()
    assert (same.peer, same.away) == ("h", False)
    party.apply(Say("h", party.at, Offer("v", "of the old link")))
    party.apply(Away("h", party.at))
    assert viewer.take() == []
    assert party.room.host.away_since is None


def test_when_the_host_leaves_those_who_are_there_wait_for_another(party, host):
    viewer = party.join("v")
    viewer.take()
    host.leave()
    (left,) = viewer.take()
    assert left == PeerLeft("h", "host", "bye", seq=left.seq)
    assert party.room.host is None
    party.join("h2", "host")
    assert [message.peer for message in viewer.take()] == ["h2"]


# Messages ---------------------------------------------------------------------------------------


def test_what_brings_the_media_up_goes_both_ways_under_the_senders_name(party, host):
    viewer = party.join("v")
    quiet(host, viewer)
    host.say(Offer("v", "sdp", "seat"))
    viewer.say(Answer("h", "sdp"))
    host.say(Candidate("v", "c", "1"))
    viewer.say(Candidate("h", "", "0"))
    viewer.say(Restart("h"))
    host.say(Refused("v", "no place"))
    offer, candidate, refused = viewer.take()
    assert offer == Offer("h", "sdp", "seat", seq=offer.seq)
    assert candidate == Candidate("h", "c", "1", seq=candidate.seq)
    assert refused == Refused("h", "no place", seq=refused.seq)
    answer, end, restart = host.take()
    assert answer == Answer("v", "sdp", seq=answer.seq)
    assert end == Candidate("v", "", "0", seq=end.seq)
    assert restart == Restart("v", seq=restart.seq)
    numbers = [message.seq for message in (offer, answer, candidate, end, restart, refused)]
    assert numbers == list(range(offer.seq, offer.seq + 6))


def test_a_message_for_nobody_is_answered_and_goes_no_further(party, host):
    viewer = party.join("v")
    quiet(host, viewer)
    viewer.say(Answer("gone", "sdp"))
    (error,) = viewer.take()
    assert (error.code, "gone" in error.message) == ("unknown-peer", True)
    assert host.take() == []


# Being away -------------------------------------------------------------------------------------


def test_a_member_that_comes_back_has_its_seat_and_all_that_it_missed(party, host):
    viewer = party.join("v")
    host.say(Offer("v", "first"))
    had = viewer.take(Offer)[0]
    quiet(host)
    viewer.drop()
    (away,) = host.take()
    assert away == PeerJoined("v", "viewer", "V", away=True, seq=away.seq)
    host.say(Candidate("v", "missed"))
    host.ask(Chat("hello", id="1"))
    host.say(Offer("v", "missed too"))
    viewer.come_back()
    welcome, candidate, chat, offer = viewer.take()
    assert (welcome.peer, welcome.resumed, welcome.complete) == ("v", True, True)
    assert welcome.seq == 0
    assert (candidate.candidate, chat.text, offer.sdp) == ("missed", "hello", "missed too")
    assert had.seq < candidate.seq < chat.seq < offer.seq
    (back,) = host.take(PeerJoined)
    assert not back.away
    assert party.took_place()[-2:] == ["chat.message", "viewer.returned"]


def test_what_was_had_does_not_come_again_and_what_came_before_them_does_not_come(party, host):
    host.ask(Chat("before", id="1"))
    viewer = party.join("v")
    host.ask(Chat("during", id="2"))
    viewer.take()
    viewer.drop()
    viewer.come_back(seq=0)  # forgets all that it had
    texts = [message.text for message in viewer.inbox if hasattr(message, "text")]
    assert texts == ["during"]
    viewer.take()
    viewer.drop()
    viewer.come_back()
    assert [type(message) for message in viewer.take()] == [Welcome]


def test_the_answer_to_a_request_waits_for_who_asked(party, host):
    player = party.join("p", "player")
    player.take()
    party.clients.pop(player.link)  # its connection is dead, and nobody knows it yet
    player.say(ControlRequest("pad:1", id="7"))
    party.apply(Away(player.link, party.at))
    player.come_back()
    answers = [message for message in player.take() if getattr(message, "id", "") == "7"]
    assert len(answers) == 1


def test_a_member_that_does_not_come_back_is_lost_when_its_time_is_over(party, host):
    viewer = party.join("v", window_s=20.0)
    viewer.drop()
    host.take()
    party.pass_time(19.9)
    assert host.take(PeerLeft) == []
    party.pass_time(0.1)
    (left,) = host.take(PeerLeft)
    assert (left.peer, left.role, left.reason) == ("v", "viewer", "lost")
    viewer.come_back()
    assert not viewer.welcomes[-1].resumed
    assert viewer.welcomes[-1].peer == "v-2"


def test_a_host_that_is_lost_ends_its_stream(party, host):
    viewer = party.join("v")
    quiet(viewer)
    party.took_place()
    host.drop()
    party.pass_time(60)
    assert viewer.take(PeerLeft)[0].reason == "lost"
    assert "stream.ended" in party.took_place()


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "guessed"},
        {"subject": "somebody else"},
        {"role": "host"},
    ],
)
def test_a_session_is_only_for_who_began_it(party, host, wrong):
    viewer = party.join("v")
    viewer.drop()
    host.leave()
    viewer.come_back(**wrong)
    assert (viewer.welcomes[-1].resumed, viewer.welcomes[-1].peer) == (False, "v-2")
    assert party.room.state.members["v"].away_since is not None


def test_nobody_is_let_in_by_a_session_that_waits(party, host):
    host.ask(Configure(policy="approval", id="1"))
    waiting = party.join("w")
    state = party.room.state.members["w"]
    resume = Resume("w", state.secrets[0], 0)
    effects = party.room.apply(
        Join(link="w-2", at=party.at, subject=waiting.subject, role="viewer", resume=resume)
    )
    assert not any(isinstance(effect, Greet) for effect in effects)
    assert party.room.state.members["w-2"].waiting


def test_who_came_back_and_is_away_again_keeps_no_other_in(party, host):
    one, other = party.join("one"), party.join("other")
    one.drop()
    other.drop()
    party.pass_time(20)
    one.come_back()
    one.drop()
    party.pass_time(15)
    assert "other" not in party.room.state.members
    assert "one" in party.room.state.members


def test_a_viewer_is_no_host_by_the_hosts_own_session(party, host):
    host.drop()
    host.come_back(role="viewer")
    assert not host.welcomes[-1].resumed
    assert party.room.host.away_since is not None


def test_a_secret_that_was_shown_counts_until_its_successor_was(party, host):
    viewer = party.join("v")
    first = viewer.secret
    viewer.drop()
    viewer.come_back()  # the welcome with the second secret is lost on the way
    viewer.drop()
    viewer.come_back(secret=first)
    assert viewer.welcomes[-1].resumed
    third = viewer.secret
    viewer.drop()
    viewer.come_back(secret=third)
    assert viewer.welcomes[-1].resumed
    viewer.drop()
    viewer.come_back(secret=first)
    assert not viewer.welcomes[-1].resumed


def test_an_empty_secret_opens_nothing(party, host):
    party.apply(Join(link="v", at=party.at, subject="sub-v", role="viewer", secret_hash=""))
    resume = Resume("v", "", 0)
    party.apply(Join(link="w", at=party.at, subject="sub-v", role="viewer", resume=resume))
    assert party.room.member("v").peer == "v"


def test_who_returns_with_another_role_in_the_token_has_that_role(party, host):
    moderator = party.join("m", "moderator")
    moderator.drop()
    moderator.come_back(role="viewer")
    assert moderator.welcomes[-1].resumed
    assert party.room.member(moderator.link).role == "viewer"
    told = moderator.take(Permissions)[-1]
    assert told.capabilities == [Permission("watch")]


def test_a_page_that_was_loaded_anew_says_so_by_its_seat(party, host):
    viewer = party.join("v", seat="seat")
    viewer.come_back(seat="seat")
    viewer.come_back(seat="")
    assert [message.seat for message in host.take(PeerJoined)] == ["seat", "seat", ""]


def test_nobody_who_waits_is_away(party, host):
    host.ask(Configure(policy="approval", id="1"))
    waiting = party.join("w")
    waiting.drop()
    assert "w" not in party.room.state.members
    assert [type(message) for message in host.take()][-1] is PeerLeft


# Events that come twice, late, or with an odd clock ---------------------------------------------


def test_events_that_come_twice_or_too_late_change_nothing(party, host):
    viewer = party.join("v")
    viewer.drop()
    viewer.come_back()
    party.tick()
    before = party.room.snapshot()
    for event in (
        Join(link="h", at=party.at, subject="x", role="host"),
        Join(link="v", at=party.at, subject="x", role="viewer"),
        Join(link="v-2", at=party.at, subject="x", role="viewer"),
        Away("v", party.at),
        Leave("v", party.at, "lost"),
        Leave("gone", party.at, "bye"),
        Away("gone", party.at),
        Say("gone", party.at, Answer("h", "sdp")),
        Say("v", party.at, Answer("h", "sdp")),
        Say("v", party.at, ControlRequest("pad:1", id="1")),
        Tick(party.at),
        Tick(party.at - 100),
    ):
        assert party.apply(event) == []
        assert party.room.snapshot() == before


def test_a_clock_that_goes_backwards_stands_still(party, host):
    viewer = party.join("v", window_s=10.0)
    party.tick()
    party.apply(Away("v", party.at - 500))
    assert party.room.due(party.at) == []
    assert party.room.next_due() is not None
    party.apply(Tick(party.at - 1000))
    assert party.room.state.clock == party.at
    assert viewer.peer in party.room.state.members


def test_only_the_first_tick_does_something(party, host):
    party.join("v", window_s=10.0).drop()
    party.at += 10
    assert party.room.due(party.at) == [Tick(party.at)]
    assert party.apply(Tick(party.at))
    assert party.apply(Tick(party.at)) == []


# Viewers and the directory ----------------------------------------------------------------------


def test_everyone_is_told_how_many_watch_about_once_a_second(party, host):
    party.pass_time(5)
    quiet(host)
    for number in range(10):
        party.join(f"v{number}")
    party.tick()
    assert [message.viewers for message in host.take(Settings)] == [10]
    party.at += 0.2
    party.join("late")
    party.tick()
    assert host.take(Settings) == []
    party.pass_time(1.0)
    assert [message.viewers for message in host.take(Settings)] == [11]
    party.pass_time(60)
    assert host.take(Settings) == []
    assert party.room.next_due() is None


def test_the_more_there_are_the_rarer_they_are_counted(party, host):
    party.pass_time(5)
    for number in range(5000):
        party.apply(Join(link=f"v{number}", at=party.at, subject="s", role="viewer"))
    party.tick()
    party.apply(Leave("v0", party.at, "bye"))
    assert party.room.next_due() == pytest.approx(party.at + 5.0)


def test_a_public_room_with_a_host_is_in_the_directory(party):
    host = party.join("h", "host", settings=RoomSettings(privacy="public", title="Doom"))
    (card,) = party.cards
    assert (card.name, card.title, card.host, card.since) == ("doom", "Doom", "H", party.at)
    party.join("v")
    host.ask(Configure(locked=True, steam_app_id=2280, id="1"))
    assert (party.cards[-1].locked, party.cards[-1].steam_app_id) == (True, 2280)
    party.pass_time(2)
    assert party.cards[-1].viewers == 1
    host.drop()
    assert party.cards[-1] is not None  # it may come back
    host.come_back()
    host.ask(Configure(privacy="unlisted", id="2"))
    assert party.cards[-1] is None
    host.ask(Configure(privacy="public", id="3"))
    host.leave()
    assert party.cards[-1] is None


def test_a_host_that_returns_puts_its_card_up_again(party):
    host = party.join("h", "host", settings=RoomSettings(privacy="public"))
    host.drop()
    party.cards.clear()
    host.come_back()
    assert [card.name for card in party.cards] == ["doom"]


def test_an_unlisted_room_is_in_no_directory(party):
    host = party.join("h", "host")
    host.ask(Configure(title="Doom", id="1"))
    host.leave()
    assert party.cards == []


def test_an_empty_room_is_closed_and_the_next_one_is_another(party, host):
    viewer = party.join("v")
    host.ask(Configure(policy="invite", title="Doom", pads=1, id="1"))
    host.ask(Chat("hello", id="2"))
    host.ask(Ban("v", id="3"))
    host.leave()
    seq = party.room.state.seq
    assert party.room.empty
    assert party.took_place()[-2:] == ["stream.ended", "room.closed"]
    viewer.enter()
    (welcome,) = viewer.welcomes[1:]
    assert welcome.settings == RoomSettings()
    assert len(welcome.controls) == 6
    assert welcome.seq >= seq
    assert party.took_place()[0] == "room.opened"
    host.come_back()
    assert not host.welcomes[-1].resumed


def test_who_is_refused_is_on_record(party, host):
    party.join("h2", "host")
    host.ask(Configure(locked=True, id="1"))
    party.join("v")
    refused = [record for record in party.records if record.type == "viewer.refused"]
    assert [(record.subject, record.data["reason"]) for record in refused] == [
        ("sub-h2", "room-taken"),
        ("sub-v", "room-locked"),
    ]


# Waiting ----------------------------------------------------------------------------------------


def test_who_waits_gets_nothing_but_that(party, host):
    viewer = party.join("v")
    host.ask(Configure(policy="approval", id="1"))
    quiet(host, viewer)
    waiting = party.join("w", seat="seat")
    assert waiting.take() == [Waiting("w", "doom")]
    (joined,) = host.take()
    assert joined == PeerJoined("w", "viewer", "W", "seat", waiting=True, seq=joined.seq)
    host.ask(Chat("hello", id="2"))
    host.say(Offer("w", "sdp"))
    (error,) = host.take(Error)
    assert error.code == "not-admitted"
    assert waiting.take() == []
    waiting.say(Answer("h", "sdp"))
    waiting.say(Chat("let me in", id="3"))
    assert [error.code for error in waiting.take()] == ["not-admitted", "not-admitted"]
    assert [message.text for message in viewer.take()] == ["hello"]
    assert host.take() == []


def test_a_host_that_comes_is_told_who_waits(party, host):
    host.ask(Configure(policy="approval", id="1"))
    party.join("w")
    host.leave()
    second = party.join("h2", "host")
    assert [(card.peer, card.waiting) for card in second.welcomes[0].members] == [("w", True)]
    assert second.welcomes[0].peers == []


def test_controls_go_on_while_their_holder_is_away(party, host):
    host.ask(Configure(control_policy="free", id="1"))
    player = party.join("p", "player")
    player.ask(ControlRequest("pad:1", id="1"))
    player.drop()
    assert party.room.state.slots["pad:1"].holder == "p"
    player.come_back()
    assert Permission("pad:1") in player.welcomes[-1].capabilities
    player.drop()
    quiet(host)
    party.pass_time(31)
    assert party.room.state.slots["pad:1"].holder is None
    (controls,) = host.take(Controls)
    assert (controls.reason, controls.controls[0].holder) == ("left", None)


def test_a_member_is_kept_by_the_hash_of_its_secret_alone(party, host):
    assert hashed(host.secret) in party.room.state.members["h"].secrets
    assert host.secret.encode() not in party.room.snapshot()


def test_a_room_has_its_name():
    assert Room("quake").name == "quake"
