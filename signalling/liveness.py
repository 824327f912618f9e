"""Whether a client is still there, reads what it is sent, and may stay: one connection's watch.

It says hello in time, answers pings, takes what is on its way to it, and its token counts. One
timer wakes the watch at the next moment at which one of these may have ended.
"""

from __future__ import annotations

import math
from typing import Protocol

from .deadlines import Deadlines
from .identity import Identity
from .messages import Error, ServerMessage, TokenExpiring
from .services import Services
from .websocket import WebSocket


class Watched(Protocol):
    """Whose connection is watched over."""

    @property
    def is_member(self) -> bool:
        """Whether the hello has come and was good."""

    def send(self, message: ServerMessage) -> None:
        """Queue ``message``."""

    def close(self, error: Error) -> None:
        """End the connection with ``error``."""

    def drop(self, reason: str, why: str) -> None:
        """End the connection without a word: nobody would read it."""


class Liveness:
    """The watch over one connection, until :meth:`end`."""

    __slots__ = (
        "_blocked_left",
        "_deadlines",
        "_ping_sent_at",
        "_pings",
        "_services",
        "_watched",
        "_websocket",
        "rtt_s",
    )

    def __init__(self, services: Services, websocket: WebSocket, watched: Watched) -> None:
        """From now on the client has ``hello_timeout_s`` for its hello."""
        self.rtt_s = math.nan
        """The last round trip to the client, in seconds."""

        self._services = services
        self._websocket = websocket
        self._watched: Watched | None = watched
        self._pings = 0
        self._ping_sent_at = math.inf
        self._blocked_left = 0
        self._deadlines = Deadlines(services.now, self._wake)
        self._deadlines.pong = services.now() + services.settings.hello_timeout_s
        self._deadlines.arm()

    def end(self) -> None:
        """Watch no more. Who is watched is let go of, and so freed at once."""
        self._watched = None
        self._deadlines.close()

    def entered(self, identity: Identity) -> None:
        """The hello was good, and it was ``identity``'s."""
        self._deadlines.pong = math.inf
        self._deadlines.ping = self._services.now() + self._services.settings.ping_interval_s
        self.renewed(identity)

    def renewed(self, identity: Identity) -> None:
        """What the client may be it owes to ``identity`` from now on."""
        left_s = max(0.0, identity.expires_at - self._services.unix_time())
        self._deadlines.expect_token_end(left_s, self._services.settings.token_notice_s)
        self._deadlines.arm()

    def token_left_s(self) -> float:
        """How long the token still counts, in seconds."""
        return self._deadlines.token_left_s()

    def ping(self, timeout_s: float) -> None:
        """Ask the client to answer within ``timeout_s``."""
        now = self._services.now()
        self._pings = (self._pings + 1) % 2**32
        self._ping_sent_at = now
        self._deadlines.pong = min(self._deadlines.pong, now + timeout_s)
        self._websocket.ping(self._pings.to_bytes(4, "big"))
        self._deadlines.arm()

    def ponged(self, payload: bytes) -> bool:
        """The client sent a pong. ``False``: nobody had asked for that one."""
        if self._ping_sent_at == math.inf or payload != self._pings.to_bytes(4, "big"):
            return False
        self.rtt_s = self._services.now() - self._ping_sent_at
        self._services.metrics.rtt(self.rtt_s)
        self._ping_sent_at = math.inf
        if self._watched is not None and self._watched.is_member:
            self._deadlines.pong = math.inf
        return True

    def blocked(self) -> None:
        """The client does not read what is there for it: see that it goes on."""
        if self._deadlines.stalled == math.inf:
            self._blocked_left = self._websocket.unwritten_bytes
            write_timeout_s = self._services.settings.write_timeout_s
            self._deadlines.stalled = self._services.now() + write_timeout_s
            self._deadlines.arm()

    def _wake(self) -> None:
        services, watched, deadlines = self._services, self._watched, self._deadlines
        assert watched is not None
        settings, now = services.settings, services.now()
        if now >= deadlines.token:
            text = "the token has expired: get a new one and join again"
            watched.close(Error("token-expired", text))
        elif now >= deadlines.pong:
            if not watched.is_member:
                watched.close(Error("timeout", "no hello came in time", retry=True))
            else:
                watched.drop("idle", "did not answer a ping")
        elif now >= deadlines.stalled:
            self._look_at_stall(watched, now)
        if self._watched is None:
            return
        if now >= deadlines.notice:
            deadlines.notice = math.inf
            watched.send(TokenExpiring(deadlines.token_left_s()))
        if now >= deadlines.ping:
            deadlines.ping = now + settings.ping_interval_s
            if deadlines.pong == math.inf:
                self.ping(settings.ping_timeout_s)
        deadlines.arm()

    def _look_at_stall(self, watched: Watched, now: float) -> None:
        left = self._websocket.unwritten_bytes
        if not self._websocket.blocked:
            self._deadlines.stalled = math.inf
        elif left < self._blocked_left:
            self._blocked_left = left
            self._deadlines.stalled = now + self._services.settings.write_timeout_s
        else:
            watched.drop("slow", "reads too slowly")
