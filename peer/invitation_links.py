"""The links that a host gives to others: to watch, to play, to run the room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

from peer.requests import RequestRefused
from signalling.messages import Invited, Role

INVITATION_S = 24 * 3600.0
"""How long the links let in."""

_PAGES = {"ws": "http", "wss": "https"}

WORDS: Mapping[str, str] = {
    "watch": "To watch (lets in for 24 hours)",
    "play": "To play (lets in for 24 hours)",
    "manage": "To manage the room (lets in for 24 hours)",
}
"""What each link is for."""

_ROLES: Mapping[str, Role] = {"watch": "viewer", "play": "player", "manage": "moderator"}


def page_of(websocket_url: str) -> str:
    """The web viewer of a signalling server: what is served beside its WebSocket."""
    parts = urlsplit(websocket_url)
    folder = parts.path.rpartition("/")[0]
    return urlunsplit((_PAGES[parts.scheme], parts.netloc, f"{folder}/", "", ""))


def link_to(page: str, room: str, token: str) -> str:
    """What a browser opens. What follows the # is never sent to a server."""
    return f"{page}#{urlencode({'room': room, 'token': token})}"


class InvitationLinks:
    """Makes the links anew whenever the room has begun anew; they lead to the server where the host
    is.
    """

    def __init__(
        self,
        invite: Callable[[Role, float], Awaitable[Invited]],
        page: Callable[[], str],
        room: str,
        *,
        wanted: tuple[str, ...],
        on_link: Callable[[str, str], None],
        on_refusal: Callable[[str], None],
    ) -> None:
        """``page`` is where they lead to now; ``on_link`` hears of each link that is ``wanted``, by
        its name in :data:`WORDS`.
        """
        self._invite = invite
        self._page, self._room = page, room
        self._led_to = ""
        self._tokens: dict[str, str] = {}
        self._wanted = wanted
        self._on_link = on_link
        self._on_refusal = on_refusal
        self._task: asyncio.Task[None] | None = None

    def make(self) -> None:
        """Begin to. What cannot be had is told, and nothing else."""
        self.cancel()
        self._task = asyncio.create_task(self._make(), name="invitation-links")

    def move(self) -> None:
        """Tell the links again if they lead elsewhere now. What lets in is still the same."""
        page = self._page()
        if self._tokens and page != self._led_to:
            self._led_to = page
            for name, token in self._tokens.items():
                self._on_link(name, link_to(page, self._room, token))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _make(self) -> None:
        self._led_to, self._tokens = self._page(), {}
        for name in self._wanted:
            try:
                invited = await self._invite(_ROLES[name], INVITATION_S)
            except RequestRefused as error:
                self._on_refusal(f"There are no links for others: {error}")
                return
            self._tokens[name] = invited.token
            self._on_link(name, link_to(self._led_to, self._room, invited.token))
