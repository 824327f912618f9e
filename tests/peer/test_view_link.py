"""Links as people paste them."""

from __future__ import annotations

import pytest

from peer.view_link import ViewLink, parse_link

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
