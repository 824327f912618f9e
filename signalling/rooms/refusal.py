"""How a rule of the room says no."""

from __future__ import annotations

from ..messages import Error, ErrorCode


class Refusal(Exception):
    """What was asked for is not done, and nothing has changed."""

    def __init__(self, code: ErrorCode, text: str, *, retry: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry = retry

    def error(self, request_id: str = "") -> Error:
        return Error(self.code, self.text, self.retry, request_id)
