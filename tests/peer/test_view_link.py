"""Links as people paste them."""

from __future__ import annotations

import pytest

from peer.view_link import ViewLink, parse_link
from signalling.invites import Invitations

TOKEN = "aa.bb.cc"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"http://127.0.0.1:8080/#room=play&token={TOKEN}", "ws://127.0.0.1:8080/ws"),
        (f" https://play.example/#token={TOKEN}&room=play\n", "wss://play.example/ws"),
        (f"https://play.example/den/#room=play&token={TOKEN}", "wss://play.example/den/ws"),
        (
            f"https://play.example/den/index.html#room=play&token={TOKEN}",
            "wss://play.example/den/ws",
        ),
        (f"http://[::1]:8080#room=play&token={TOKEN}", "ws://[::1]:8080/ws"),
        (f"ws://127.0.0.1:8080/ws#room=play&token={TOKEN}", "ws://127.0.0.1:8080/ws"),
    ],
)
def test_a_link_leads_to_its_pages_signalling(text: str, url: str) -> None:
    link = parse_link(text)
    assert (link.websocket_url, link.room, link.token) == (url, "play", TOKEN)
    assert TOKEN not in link.page


def test_the_parts_of_a_link() -> None:
    assert parse_link(f"http://localhost:8080/#room=a-b_C&token={TOKEN}") == ViewLink(
        page="http://localhost:8080/",
        host="localhost",
        websocket_url="ws://localhost:8080/ws",
        room="a-b_C",
        token=TOKEN,
    )


def test_the_token_may_come_from_elsewhere_and_the_links_own_goes_first() -> None:
    assert parse_link("http://h/#room=play", TOKEN).token == TOKEN
    assert parse_link(f"http://h/#room=play&token={TOKEN}", "x.y.z").token == TOKEN


def test_an_invitation_is_a_token_too() -> None:
    token, _ = Invitations().make("play", "viewer", 60.0, "ann")
    assert parse_link(f"http://h/#room=play&token={token}").token == token
    with pytest.raises(ValueError, match="cut short or mangled"):
        parse_link(f"http://h/#room=play&token={token}.more")


def test_who_has_tokens_from_elsewhere_needs_none_in_the_link() -> None:
    assert parse_link("http://h/#room=play", needs_token=False).token == ""
    with pytest.raises(ValueError, match="room is missing"):
        parse_link("http://h/#x=y", needs_token=False)
    with pytest.raises(ValueError, match="cut short or mangled"):
        parse_link("http://h/#room=play&token=a.b", needs_token=False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no http:// or https:// address"),
        ("play", "no http:// or https:// address"),
        ("ftp://h/#room=play&token=a.b.c", "no http:// or https:// address"),
        ("http://h:port/#room=play&token=a.b.c", "no http:// or https:// address"),
        ("http:///#room=play&token=a.b.c", "no http:// or https:// address"),
        ("http://h:8080/", "part after # is missing"),
        ("http://h/#token=a.b.c", "the room is missing"),
        ("http://h/#room=p%20lay&token=a.b.c", "the room's name may only have"),
        (f"http://h/#room={'r' * 65}&token=a.b.c", "the room's name may only have"),
        ("http://h/#room=play", "the token is missing"),
        ("http://h/#room=play&token=a.b", "cut short or mangled"),
        ("http://h/#room=play&token=a.b.%20", "cut short or mangled"),
        (f"http://h/#room=play&token=a.b.{'c' * 9000}", "cut short or mangled"),
    ],
)
def test_what_is_wrong_with_a_link_is_said(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_link(text)


def test_errors_do_not_tell_the_token() -> None:
    with pytest.raises(ValueError, match="address") as caught:
        parse_link("htp://h/#room=play&token=secret.secret.secret")
    assert "secret" not in str(caught.value)
