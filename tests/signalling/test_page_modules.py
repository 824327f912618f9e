"""The page's modules that need no page: coming back, requests, links, traces, words."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "signalling" / "web"
SCRIPT = Path(__file__).parent / "page_modules.mjs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's modules as node takes them: its folder has no package.json."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "package.json").write_text('{"type": "module"}')
    for module in WEB.glob("*.js"):
        shutil.copy(module, folder)
    return folder


@pytest.fixture
def run(folder):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")

    def run(case: str):
        done = subprocess.run(
            [node, SCRIPT, folder, case], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_seat_is_resumed_and_nothing_is_heard_twice(run):
    found = run("resume")
    assert found["resumes"] == [
        None,
        {"peer": "p", "secret": "s1", "seq": 12},
        {"peer": "p", "secret": "s2", "seq": 13},
    ]
    assert found["came"] == ["welcome", "before you came", "one", "two", "welcome", "three"]


def test_a_request_is_done_once_whatever_becomes_of_the_link(run):
    found = run("requests")
    assert found["ends"] == {
        "answered": "done",
        "refused": "forbidden",
        "answered late": "done",
        "never reached": "done",
        "while away": "done",
        # Another seat: nobody knows what became of it, and it is not said twice.
        "lost with the seat": "lost",
        "for the next seat": "done",
    }
    assert found["before"] == 0  # nothing is sent again until all that was missed has come
    assert found["chats"] == [
        ["answered", "refused", "answered late", "never reached"],
        ["never reached", "while away", "lost with the seat"],
        ["for the next seat"],
    ]


def test_how_long_a_page_waits_before_it_comes_back(run):
    found = run("delays")
    assert found["rate-limited"] == 7000  # as the server wishes
    assert found["shutting-down"] == 300  # at most: there are other servers
    assert 250 <= found["room-full"] <= 500
    assert 250 <= found["internal"] <= 500
    assert found["kicked"] is None  # trying again by itself would be no use


def test_links_and_invitations(run):
    assert run("link") == {
        "jwt": {"room": "den", "token": "a.b.c"},
        "invitation": {"room": "den", "token": "invite.k1.aGk.bWFj"},
        "cut": "invite.k1.aGk",
        "signedIn": {"room": "den", "token": ""},
        "mangled": True,
        "made": "https://play.example/watch/#room=den&token=invite.k1.aGk.bWFj",
    }


def test_a_seat_that_was_put_away_is_taken_once_and_soon(run):
    assert run("seat") == {
        "soon": "p",
        "late": None,
        "elsewhere": None,
        "back": None,
        "withinWindow": "p",
        "afterWindow": None,
        "twice": None,
        "broken": None,
        "wrong": None,
        "forbidden": None,
    }


def test_a_trace_is_reported_once(run):
    found = run("trace")
    assert found["traceparent"] == f"00-{'ab' * 16}-{'ab' * 8}-01"
    assert found["spans"] == [
        ["ice", 1200, 30],
        ["first-frame.receive", 1240, 30],
        ["first-frame.decode", 1270, 10],
        ["first-frame.present", 1280, 10],
        ["viewer.start", 1100, 190],
    ]
    assert found["after"] == ["", None]


def test_words(run):
    assert run("words") == {
        "places": [
            "next",
            "2nd",
            "3rd",
            "4th",
            "11th",
            "12th",
            "13th",
            "21st",
            "22nd",
            "101st",
            "111th",
        ],
        "clocks": ["0:00", "0:07", "1:00", "2:00", "1:00:00", "1:01:01"],
        "spans": [
            "1 second",
            "1 second",
            "1 minute",
            "2 minutes",
            "2 minutes",
            "1 hour",
            "1 hour",
            "2 hours",
            "1 day",
            "7 days",
        ],
        "titles": [
            "Pad 1",
            "Pad 1 and pad 2",
            "The keyboard",
            "Keyboard and mouse",
            "Pad 1, keyboard and mouse",
        ],
    }


def test_what_happens_in_a_room_in_sentences(run):
    """Those with a "!" are also shown."""
    found = run("news")
    assert found["said"] == [
        ["Ann came in."],
        ["! Guest 1234 waits to be let in."],
        ["Guest 1234 came in."],
        ["Ann lost the connection."],
        [],
        ["Ann is a player now."],
        ["You asked for pad 1."],
        ["Ann has pad 1.", "You are next in line for pad 1."],
        ["! Pad 1 is yours for 2 minutes."],
        ["! Pad 1 is Ann’s now."],
        ["You asked for pad 1."],
        ["! You were not given pad 1. Not now."],
        ["The room is locked now.", "The chat is closed now."],
        ["Ann was put out."],
        [],  # the page's own states tell of the host
        ["! You are a viewer now."],
    ]
    assert found["left"] == 120  # by the room's clock
    assert found["others"] == []  # a viewer does not see other viewers
    assert found["staff"] is False
