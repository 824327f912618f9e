"""The link that opens a stream: ``http://HOST:PORT/#room=ROOM&token=JWT``.

What ``playcast host`` prints and the web viewer opens. The fragment stays here: a server sees the
token in the signalling's hello, and never in a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit, urlunsplit

_SOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_ROOM = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2,3}")  # a JWT, or an invitation
_MAX_TOKEN = 8192


@dataclass(frozen=True, slots=True)
class ViewLink:
    """Where to join, and what lets us in."""

    page: str
    """What a browser would open, without the fragment."""
    host: str
    websocket_url: str
    room: str
    token: str
    """Empty where the tokens come from elsewhere."""


def parse_link(text: str, token: str | None = None, *, needs_token: bool = True) -> ViewLink:
    """Read a link; `token` is taken when the link has none. ValueError says what is wrong."""
    try:
        parts = urlsplit(text.strip())
        host = parts.hostname
        _ = parts.port  # ValueError when it is none
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in _SOCKET or not host:
        raise ValueError(f"{_shown(text)} is no http:// or https:// address")
    fields = parse_qs(parts.fragment)
    room = fields.get("room", [""])[0]
    given = fields.get("token", [""])[0] or token or ""
    if not parts.fragment:
        raise ValueError(
            "the part after # is missing, which names the room: a shell cuts it off unless the link"
            " is in quotes"
        )
    if not room:
        raise ValueError("the room is missing from the link")
    if not _ROOM.fullmatch(room):
        raise ValueError("the room's name may only have letters, digits, - and _ (64 at most)")
    if not given and needs_token:
        raise ValueError(
            "the token is missing from the link: a shell cuts the link off at & unless it is in"
            " quotes; $PLAYCAST_TOKEN may hold it too"
        )
    if given and (len(given) > _MAX_TOKEN or not _TOKEN.fullmatch(given)):
        raise ValueError("the token is cut short or mangled")
    if parts.scheme in ("ws", "wss"):
        page = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        return ViewLink(page, host, page, room, given)
    folder = parts.path.rpartition("/")[0]
    return ViewLink(
        page=urlunsplit((parts.scheme, parts.netloc, f"{folder}/", "", "")),
        host=host,
        websocket_url=urlunsplit((_SOCKET[parts.scheme], parts.netloc, f"{folder}/ws", "", "")),
        room=room,
        token=given,
    )


def _shown(text: str) -> str:
    # Not what follows the #: that is a secret.
    return repr(text.partition("#")[0][:80])
