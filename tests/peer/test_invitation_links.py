"""The links that a host gives to others."""

from __future__ import annotations

import asyncio

import pytest

from peer.invitation_links import WORDS, InvitationLinks, link_to, page_of
from peer.requests import RequestRefused
from peer.view_link import parse_link
from signalling.messages import Invited, Role

TOKEN = "invite.k1.payload.mac"


@pytest.mark.parametrize(
    ("socket", "page"),
    [
        ("ws://127.0.0.1:8080/ws", "http://127.0.0.1:8080/"),
        ("wss://play.example/ws", "https://play.example/"),
        ("wss://play.example/arena/ws", "https://play.example/arena/"),
    ],
)
def test_the_page_is_beside_the_socket(socket: str, page: str) -> None:
    assert page_of(socket) == page
    link = parse_link(link_to(page, "den", TOKEN))
    assert (link.websocket_url, link.room, link.token) == (socket, "den", TOKEN)


class Maker:
    def __init__(self) -> None:
        self.asked: list[tuple[Role, float]] = []
        self.links: dict[str, str] = {}
        self.refusals: list[str] = []
        self.refuses: RequestRefused | None = None
        self.done = asyncio.Event()
        self.page = "http://h/"

    async def invite(self, role: Role, for_s: float) -> Invited:
        self.asked.append((role, for_s))
        if self.refuses is not None:
            raise self.refuses
        return Invited("r1", TOKEN, 5.0)

    def link(self, name: str, link: str) -> None:
        self.links[name] = link
        if len(self.links) == 3:
            self.done.set()

    def refusal(self, words: str) -> None:
        self.refusals.append(words)
        self.done.set()

    async def make(self) -> InvitationLinks:
        links = InvitationLinks(
            self.invite,
            lambda: self.page,
            "den",
            wanted=tuple(WORDS),
            on_link=self.link,
            on_refusal=self.refusal,
        )
        links.make()
        await asyncio.wait_for(self.done.wait(), 5)
        links.cancel()
        return links


async def test_each_link_lets_in_as_what_it_says() -> None:
    maker = Maker()
    await maker.make()
    assert maker.asked == [(role, 86400.0) for role in ("viewer", "player", "moderator")]
    assert set(maker.links) == set(WORDS)
    assert maker.links["play"] == f"http://h/#room=den&token={TOKEN}"


async def test_the_same_links_lead_to_the_server_that_the_host_moves_to() -> None:
    maker = Maker()
    links = await maker.make()
    told = list(maker.links)
    maker.links.clear()
    links.move()
    assert maker.links == {}, "nothing has moved"
    maker.page = "https://b.example/"
    links.move()
    links.move()
    assert list(maker.links) == told
    assert maker.links["watch"] == f"https://b.example/#room=den&token={TOKEN}"
    assert len(maker.asked) == 3, "nobody is invited anew"


async def test_what_cannot_be_had_is_told_once() -> None:
    maker = Maker()
    maker.refuses = RequestRefused("forbidden", "this server makes no invitations")
    await maker.make()
    assert maker.links == {}
    assert maker.refusals == ["There are no links for others: this server makes no invitations"]
