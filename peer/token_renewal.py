"""Renews the token of an open link before it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from peer.signalling_settings import TokenSource, TokenUnavailable
from signalling.messages import FreshToken, encode

log = logging.getLogger("peer.signalling_client")

FIRST_PAUSE_S = 0.5
"""Before a token is asked for again, where there was none; twice as long each time."""


class TokenRenewal:
    """Of one link after the other, one at a time."""

    def __init__(
        self,
        source: TokenSource | None,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """``source`` ``None``: there is no other token."""
        self._source = source
        self._sleep = sleep
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def begin(self, socket: ClientConnection, left_s: float) -> None:
        """The token of this link ends so soon. Without effect while that is being mended."""
        if self._source is None:
            log.warning("signalling: the token ends in %.0f s", left_s)
        elif self._task is None or self._task.done():
            renewal = self._renew(socket, self._source, left_s)
            self._task = asyncio.create_task(renewal, name="token-renewal")

    async def end(self) -> None:
        """The link has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _renew(self, socket: ClientConnection, source: TokenSource, left_s: float) -> None:
        """Send a fresh token, as soon as there is one while the old one is good. Without one the
        server closes, and the next hello asks again."""
        ends_at, pause_s = self._clock() + left_s, FIRST_PAUSE_S
        while True:
            try:
                token = await source()
            except TokenUnavailable as error:
                log.warning("signalling: the token ends soon and there is no other: %s", error)
            else:
                with suppress(ConnectionClosed):  # then the next hello has it
                    await socket.send(encode(FreshToken(token)))
                return
            if self._clock() + pause_s >= ends_at:
                return
            await self._sleep(pause_s)
            pause_s *= 2
