"""When a connection must be looked at next: its deadlines, and one timer for the earliest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

LEAST_NOTICE_S = 0.5


class Deadlines:
    """Times of ``now``'s clock, in seconds; infinity: not awaited. Call :meth:`arm` after one
    comes nearer.
    """

    __slots__ = (
        "_now",
        "_timer",
        "_timer_at",
        "_wake",
        "notice",
        "ping",
        "pong",
        "stalled",
        "token",
    )

    def __init__(self, now: Callable[[], float], wake: Callable[[], None]) -> None:
        """``wake`` is called at the earliest of them, or a little before."""
        self.ping = math.inf
        """The next ping is due."""

        self.pong = math.inf
        """The answer must be there; before the hello, that."""

        self.stalled = math.inf
        """A client that does not read must have read something."""

        self.notice = math.inf
        """The client is told that its token ends soon."""

        self.token = math.inf
        """It ends."""

        self._now = now
        self._wake = wake
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def arm(self) -> None:
        """Wake up at the next deadline."""
        due = min(self.ping, self.pong, self.stalled, self.notice, self.token)
        if due >= self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        left_s = max(0.0, due - self._now())
        self._timer = asyncio.get_running_loop().call_later(left_s, self._woken)

    def close(self) -> None:
        """Wake up no more. Whose deadlines these are is let go of, and so freed at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake = _nobody

    def expect_token_end(self, left_s: float, notice_s: float) -> None:
        """The token counts for so long, and its end is to be told so long before."""
        self.token = self._now() + left_s
        # Half of what is left at the latest: who answers with the same token is asked again, and
        # ever sooner, but not for ever.
        notice_s = min(notice_s, left_s / 2)
        self.notice = self.token - notice_s if notice_s >= LEAST_NOTICE_S else math.inf

    def token_left_s(self) -> float:
        """How long the token still counts."""
        return max(0.0, self.token - self._now())

    def _woken(self) -> None:
        self._timer = None
        self._wake()


def _nobody() -> None:
    pass
