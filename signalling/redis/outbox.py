"""What one server has to say in one room, from publishing until it was delivered here.

No I/O. Events go out in the order of their sequence (``q``), and again whenever it is not known
what became of them: Redis takes each once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import islice

from ..rooms.events import RoomEvent
from .wire import encode_event


@dataclass(eq=False)
class Waiting:
    """An event on its way to Redis and back."""

    event: RoomEvent
    since: float
    """When it was published, by the clock of :func:`time.monotonic`."""
    encoded: bytes
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Outbox:
    """Empty when there is nothing to send. What was sent is kept too."""

    def __init__(self) -> None:
        self._to_send: dict[int, Waiting] = {}
        self._sent: dict[int, Waiting] = {}  # all older

    def __bool__(self) -> bool:
        return bool(self._to_send)

    @property
    def clear(self) -> bool:
        """Nothing is on its way either."""
        return not (self._to_send or self._sent)

    def put(self, q: int, event: RoomEvent, now: float) -> Waiting:
        """``q`` is greater than any before."""
        waiting = self._to_send[q] = Waiting(event, now, encode_event(event))
        return waiting

    def drop(self, q: int) -> None:
        """Nobody waits for it any more."""
        self._to_send.pop(q, None)
        self._sent.pop(q, None)

    def send(self, most: int) -> dict[int, Waiting]:
        """The next ones, which count as sent."""
        batch = dict(islice(self._to_send.items(), most))
        for q in batch:
            self._sent[q] = self._to_send.pop(q)
        return batch

    def take_back(self) -> None:
        """What was sent and not delivered is to be sent again."""
        self._to_send = {**self._sent, **self._to_send}
        self._sent = {}

    def confirm(self, q: int) -> None:
        """It took place."""
        waiting = self._sent.pop(q, None) or self._to_send.pop(q, None)
        if waiting is not None:
            waiting.done.set()

    def confirm_up_to(self, q: int) -> None:
        """Everything up to ``q`` took place."""
        for known in [known for known in (*self._sent, *self._to_send) if known <= q]:
            self.confirm(known)

    def confirm_sent(self) -> None:
        """Everything that was sent took place."""
        for q in tuple(self._sent):
            self.confirm(q)

    def waiting(self) -> list[tuple[int, RoomEvent]]:
        """What is to be sent, in order."""
        return [(q, waiting.event) for q, waiting in self._to_send.items()]
