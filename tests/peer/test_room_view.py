"""A room as its messages tell of it."""

from __future__ import annotations

from peer.room_view import MemberReport, RoomView, report_of
from signalling.messages import (
    BanEntry,
    Bans,
    Controls,
    ControlState,
    PeerJoined,
    PeerLeft,
    Permission,
    Permissions,
    RoomSettings,
    Settings,
    Waiting,
    Welcome,
)

ANNA = PeerJoined("anna", "player", "Anna")
WELCOME = Welcome(
    "me",
    "den",
    "host",
    True,
    capabilities=[Permission("watch")],
    members=[ANNA],
    controls=[ControlState("pad:1", "anna", queue=["bob"]), ControlState("pad:2")],
    resume_window_s=30.0,
    at=5000.0,
)


def view(*messages: object) -> RoomView:
    found = RoomView(clock=lambda: 1000.0)
    for message in (WELCOME, *messages):
        found.take(message)  # type: ignore[arg-type]
    return found


def test_a_welcome_tells_how_things_stand() -> None:
    room = view()
    assert (room.peer, room.role, room.resume_window_s) == ("me", "host", 30.0)
    assert room.members == {"anna": ANNA}
    assert room.holds("anna") == ["pad:1"]
    assert room.now() == 5000.0, "by the room's clock, not by ours"
    again = view(PeerJoined("bob", "viewer"), WELCOME)
    assert again.members == {"anna": ANNA}, "what a welcome does not name is not there"


def test_the_clock_is_ours_where_the_server_names_none() -> None:
    room = RoomView(clock=lambda: 1000.0)
    room.take(Welcome("me", "den", "host", True))
    assert room.now() == 1000.0


def test_who_comes_changes_and_goes() -> None:
    room = view(PeerJoined("bob", "viewer", waiting=True), PeerJoined("anna", "player", away=True))
    report = report_of(room, 5.0)
    assert [(m.peer, m.away, m.waiting) for m in report.members] == [
        ("anna", True, False),
        ("bob", False, True),
    ]
    assert [member.peer for member in report.knocking] == ["bob"]
    room.take(PeerLeft("anna", "player", "bye"))
    assert [member.peer for member in report_of(room, None).members] == ["bob"]


def test_controls_and_settings_follow() -> None:
    room = view(
        PeerJoined("bob", "player"),
        Controls([ControlState("pad:1", "bob", queue=["anna"])], "given"),
        Settings(RoomSettings(pads=1, keyboard=False, locked=True), 7),
    )
    report = report_of(room, None)
    assert (report.locked, report.viewers) == (True, 7)
    assert [state.control for state in report.controls] == ["pad:1"], "there is no other any more"
    assert report.members == (
        MemberReport("anna", "Anna", "player", False, False, (), ("pad:1",)),
        MemberReport("bob", "", "player", False, False, ("pad:1",), ()),
    )


def test_what_concerns_us_is_ours() -> None:
    room = RoomView()
    room.take(Waiting("me", "den"))
    assert room.waiting
    room.take(Welcome("me", "den", "viewer", True))
    assert not room.waiting
    room.take(PeerJoined("me", "moderator"))
    room.take(Permissions("me", [Permission("moderate")]))
    room.take(Permissions("anna", [Permission("watch")]))
    room.take(Bans([BanEntry("sub")]))
    assert (room.role, room.capabilities) == ("moderator", [Permission("moderate")])
    assert room.members == {}
    assert room.banned == 1


def test_a_report_is_plain_json() -> None:
    row = report_of(view(), 5.0).to_json()
    assert row["controls"][0] == {
        "control": "pad:1",
        "holder": "anna",
        "until": None,
        "away": False,
        "queue": ["bob"],
    }
    assert (row["rtt_ms"], row["at"], row["policy"]) == (5.0, 5000.0, "open")
