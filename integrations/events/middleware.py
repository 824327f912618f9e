"""What is done around every handler, and to every event on its way out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from signalling.tracing import Tracer

from .envelope import Event

Handler = Callable[[Event], Awaitable[None]]
"""Handles one event. Returning settles it; raising asks for it again."""

Middleware = Callable[[Event, Handler], Awaitable[None]]
"""Handles one event by calling what is inside, or not."""

Outgoing = Callable[[Event], Event]
"""Changes an event before it is kept, or refuses it with :class:`.envelope.EventError`."""


def wrapped(handler: Handler, middleware: Sequence[Middleware]) -> Handler:
    """The handler inside all of these; the first is outermost."""
    for layer in reversed(middleware):
        handler = _around(layer, handler)
    return handler


def _around(layer: Middleware, inside: Handler) -> Handler:
    async def handle(event: Event) -> None:
        await layer(event, inside)

    return handle


class Deduplicate:
    """A :class:`Middleware` that lets each ``(source, id)`` through once.

    One that failed may come again. Knows the last ``remember`` events of this process: what two
    consumers of a group handle, they have to be able to bear twice.
    """

    def __init__(self, remember: int = 10_000) -> None:
        if remember < 1:
            raise ValueError("remember: takes 1 or more")
        self.duplicates = 0
        self._remember = remember
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, event: Event, inside: Handler) -> None:
        if event.key in self._seen:
            self.duplicates += 1
            return
        self._seen[event.key] = None
        try:
            await inside(event)
        except BaseException:
            self._seen.pop(event.key, None)
            raise
        while len(self._seen) > self._remember:
            self._seen.popitem(last=False)


class Traced:
    """A :class:`Middleware`: a span around the handler, in the trace that the event came from."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def __call__(self, event: Event, inside: Handler) -> None:
        with self._tracer.start(
            "event.handle",
            parent=event.traceparent,
            attributes={"event.type": event.type, "event.id": event.id},
        ):
            await inside(event)
