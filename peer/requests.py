"""What a client has asked its server for, until the answers come."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TypeVar

from msgspec.structs import replace

from signalling.messages import Done, Error, ErrorCode, Invited, Request, ServerMessage

Answer = Done | Invited

_Request = TypeVar("_Request", bound=Request)


class RequestRefused(Exception):
    """What was asked for was not done, as far as is known."""

    def __init__(
        self, code: ErrorCode, message: str, *, retry: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.code = code
        """``timeout``: no answer came, or the link broke before; it may have been done."""
        self.message = message
        self.retry = retry
        """Trying again may help, ``retry_after_s`` seconds from now at the earliest."""
        self.retry_after_s = retry_after_s


class Requests:
    """Those that are under way, by their ids. Ids are never used twice."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    def begin(self, request: _Request) -> _Request:
        """The request with an id. :meth:`answer_to` waits for what comes of it."""
        request_id = f"r{next(self._ids)}"
        self._waiting[request_id] = asyncio.get_running_loop().create_future()
        return replace(request, id=request_id)

    async def answer_to(self, request: Request, timeout_s: float) -> Answer:
        """Raises :class:`RequestRefused`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._waiting[request.id]
        except TimeoutError:
            text = "the server does not answer"
            raise RequestRefused("timeout", text, retry=True) from None
        finally:
            self._waiting.pop(request.id, None)

    def take(self, message: ServerMessage) -> bool:
        """Is this message the answer to one of them? Then nobody else needs to see it."""
        if not isinstance(message, Done | Invited | Error):
            return False
        future = self._waiting.get(message.id)
        if future is None or future.done():
            return False
        if isinstance(message, Error):
            future.set_exception(
                RequestRefused(
                    message.code,
                    message.message,
                    retry=message.retry,
                    retry_after_s=message.retry_after_s,
                )
            )
        else:
            future.set_result(message)
        return True

    def abandon(self, why: str) -> None:
        """The link is gone: answers to what was asked over it will not come."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RequestRefused("timeout", why, retry=True))
