"""Where a signalling client connects to, as whom, and how patiently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from signalling.messages import Role, RoomSettings

TokenSource = Callable[[], Awaitable[str]]
"""Returns a token that is good now; raises :class:`TokenUnavailable` when there is none now."""


class TokenUnavailable(Exception):
    """No token can be had now. Says why; it is asked for again later."""


@dataclass(frozen=True, kw_only=True)
class SignallingClientSettings:
    """Where to and as whom. Raises :class:`ValueError` naming the field that makes no sense."""

    url: str
    """The server's WebSocket: ``ws://…/ws`` or ``wss://…/ws``."""

    other_urls: tuple[str, ...] = ()
    """Servers of the same rooms, taken in turn where one cannot be reached, shuts down or is none.
    """

    token: str
    """May be empty for a client with a ``fresh_token`` callback."""

    room: str
    role: Role = "host"
    name: str = ""
    """Shown to the others."""

    room_settings: RoomSettings | None = None
    """Of a host: how its room is run from the start, where nobody has chosen anything yet."""

    traceparent: str = ""
    """The W3C trace context that the connection is a part of."""

    region: str = ""
    """Where we are, in the operator's words: names the TURN servers that are near."""

    first_delay_s: float = 0.25
    """The bound of the delay before the first retry, in seconds; it doubles with every try."""

    max_delay_s: float = 15.0
    """The bound that it never exceeds, but where the server names a longer one."""

    stable_s: float = 10.0
    """A connection that held this long starts the backoff afresh."""

    open_timeout_s: float = 10.0
    """How long the WebSocket, and then the welcome, may take."""

    ping_interval_s: float = 10.0
    """How often the connection is pinged, and how long an answer may take."""

    request_timeout_s: float = 10.0
    """How long the answer to a request may take."""

    room_taken_tries: int = 6
    """A room that has another host is given up after this many refusals in a row. The server
    needs some seconds to find out that a host has vanished: it may be ourselves."""

    def __post_init__(self) -> None:
        for name, url in (("url", self.url), *(("other_urls", url) for url in self.other_urls)):
            try:
                check_server_url(url)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        for name in (
            "first_delay_s",
            "max_delay_s",
            "open_timeout_s",
            "ping_interval_s",
            "request_timeout_s",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")

    @property
    def urls(self) -> tuple[str, ...]:
        """Every server, in the order in which they are tried."""
        return (self.url, *self.other_urls)


def check_server_url(url: str) -> None:
    """Raises :class:`ValueError` in words for what is no WebSocket's address."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("ws", "wss") and parts.hostname
        _ = parts.port  # ValueError when it is none
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{url!r} is not a ws:// or wss:// address")
