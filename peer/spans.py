"""What a host measures of a viewer's coming, for the trace that began with the viewer's click."""

from __future__ import annotations

import time
from collections.abc import Callable

from signalling.messages import Span, Trace


class Spans:
    """The spans of one viewer. Kept only where its coming is traced at all."""

    def __init__(self, traceparent: str, clock: Callable[[], float] = time.time) -> None:
        """``clock`` has Unix time, in seconds."""
        self.traceparent = traceparent
        self._clock = clock
        self._begun: dict[str, float] = {}
        self._spans: list[Span] = []

    def begin(self, name: str) -> None:
        """Something begins; what had begun under that name is forgotten."""
        if self.traceparent:
            self._begun[name] = self._clock()

    def end(self, name: str) -> None:
        """It is over. Without effect where it has not begun."""
        begun = self._begun.pop(name, None)
        if begun is not None:
            lasted_ms = max(0.0, 1000 * (self._clock() - begun))
            self._spans.append(Span(name, 1000 * begun, lasted_ms))

    def take(self) -> Trace | None:
        """The report, once: nothing more is kept. ``None`` where there is nothing to report."""
        traceparent, self.traceparent = self.traceparent, ""
        return Trace(self._spans, traceparent) if traceparent and self._spans else None
