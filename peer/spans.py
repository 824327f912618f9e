"""What a host or a viewer measures of a viewer's coming, for one trace from the viewer's click, or
its command, to the first frame.

A viewer begins the trace: its context travels in the hello, so that what the server and the host do
about it belongs to it. What each of them measured is reported once.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from signalling.messages import Span, Trace

ROOT_SPAN = "viewer.start"
"""From the click to the first frame: the server makes it the root."""

MAX_SPANS = 16
MAX_SPAN_S = 600.0
"""What a report may hold, by the protocol."""


def new_traceparent() -> str:
    """The context of a trace that begins here (W3C Trace Context)."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def process_start() -> float:
    """When this process began, in seconds of Unix time (proc(5): starttime)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


class Spans:
    """The spans of one viewer. Kept only where its coming is traced at all."""

    def __init__(self, traceparent: str, clock: Callable[[], float] = time.time) -> None:
        """``clock`` has Unix time, in seconds."""
        self.traceparent = traceparent
        """The context for what this trace causes; empty once it was reported."""
        self._clock = clock
        self._begun: dict[str, float] = {}
        self._spans: dict[str, Span] = {}

    def begin(self, name: str, at: float | None = None) -> None:
        """Something begins, now or then; what had begun under that name is forgotten."""
        if self.traceparent:
            self._begun[name] = self._clock() if at is None else at

    def end(self, name: str, at: float | None = None) -> None:
        """It is over, now or then. Without effect where it has not begun.

        The last of a name is kept; what took longer than can be reported is not.
        """
        begun = self._begun.pop(name, None)
        if begun is None:
            return
        lasted = max(0.0, (self._clock() if at is None else at) - begun)
        self._spans.pop(name, None)
        if lasted <= MAX_SPAN_S:
            self._spans[name] = Span(name, 1000 * begun, 1000 * lasted)

    def first_frame(self, complete_ns: int, decoded_ns: int) -> None:
        """The first frame was there, and decoded (0: it is not decoded here), at these times of
        CLOCK_MONOTONIC: that is the end of the whole.
        """
        ahead_s = self._clock() - time.monotonic()
        complete_s, decoded_s = ahead_s + complete_ns / 1e9, ahead_s + decoded_ns / 1e9
        self.end("first-frame.receive", complete_s)
        if decoded_ns:
            self.begin("first-frame.decode", complete_s)
            self.end("first-frame.decode", decoded_s)
        self.end(ROOT_SPAN, decoded_s if decoded_ns else complete_s)

    def take(self) -> Trace | None:
        """The report, once: nothing more is kept. ``None`` where there is nothing to report."""
        traceparent, self.traceparent = self.traceparent, ""
        spans = list(self._spans.values())[-MAX_SPANS:]
        return Trace(spans, traceparent) if traceparent and spans else None
