"""The seam for traces: what the server asks of a tracer, and one that does nothing.

A trace runs from a viewer's click to its first frame. The page begins it; its W3C trace context
(``traceparent``) travels in the messages, so that the server's, the other servers' and the host's
spans are its children. The page reports its own spans when the first frame is there; the server
records them with the times that the page gives. Nothing is traced per frame or per relayed message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

Attribute = str | int | float | bool

MAX_REPORTED_S = 600.0
"""How far a client's report may reach into the past or the future, in seconds."""

ROOT_SPAN = "viewer.start"
"""The span from the click to the first frame, in the page's report."""

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class ReportedSpan(Protocol):
    """Something that took a client time, as its report has it."""

    @property
    def name(self) -> str: ...

    @property
    def start_ms(self) -> float: ...

    @property
    def duration_ms(self) -> float: ...


class Span(Protocol):
    """Something that takes time. A context manager: what it raises is noted, and it ends."""

    @property
    def traceparent(self) -> str:
        """The context for what is caused by this; empty when there is none."""

    def set(self, name: str, value: Attribute) -> None:
        """Note something about it. Never a token, a session description or an address."""

    def end(self, *, at: float | None = None, error: str = "") -> None:
        """It is over: now, or ``at`` (seconds of Unix time). Does nothing the second time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Tracer(Protocol):
    """Makes spans. No method blocks or raises, whatever the client's ``traceparent`` is."""

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        at: float | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Span:
        """Begin a span now, or ``at`` (seconds of Unix time).

        ``parent`` is a ``traceparent``; without a valid one a trace begins here.
        """

    def record(
        self,
        name: str,
        *,
        parent: str,
        start: float,
        duration_s: float,
        span: str = "",
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Keep a span that somebody else has measured; ``start`` in seconds of Unix time.

        ``span`` is the ``traceparent`` of the span itself, where others are its children already:
        it keeps that id. Ignored without a valid ``parent`` or ``span``.
        """


class _NoSpan:
    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def set(self, name: str, value: Attribute) -> None:
        pass

    def end(self, *, at: float | None = None, error: str = "") -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


_NO_SPAN = _NoSpan("")


class NoTracer:
    """A :class:`Tracer` that keeps nothing, and passes the context on."""

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        at: float | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Span:
        return _NoSpan(parent) if valid_traceparent(parent) else _NO_SPAN

    def record(
        self,
        name: str,
        *,
        parent: str,
        start: float,
        duration_s: float,
        span: str = "",
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        pass


def parse_traceparent(text: str) -> tuple[int, int, int] | None:
    """Trace id, span id and flags (W3C Trace Context, version 00); ``None`` when it is not one."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    trace, span, flags = (int(part, 16) for part in found.groups())
    return (trace, span, flags) if trace and span else None


def format_traceparent(trace: int, span: int, flags: int) -> str:
    """The reverse of :func:`parse_traceparent`."""
    return f"00-{trace:032x}-{span:016x}-{flags:02x}"


def valid_traceparent(text: str) -> bool:
    """Whether others would take this as a context."""
    return bool(text) and parse_traceparent(text) is not None


def keep_report(
    tracer: Tracer,
    traceparent: str,
    spans: Sequence[ReportedSpan],
    *,
    now: float,
    whole: bool = True,
) -> float | None:
    """Keep what a client measured: :data:`ROOT_SPAN`, and the others as its children.

    ``traceparent`` is the one of the client's hello: the id of the root, so that what the server
    and the host did meanwhile stands under it too. A report without a root gets one that holds all
    the others. ``now`` in seconds of Unix time; of a clock that differs from ours by more than
    :data:`MAX_REPORTED_S` nothing is kept. What is not the ``whole`` way, as a host's part of it,
    has no root: ``traceparent`` is then the span that caused it.

    Returns how long the root took, in seconds; ``None`` when none was kept.
    """
    times = {
        span.name: (span.start_ms / 1000, span.duration_ms / 1000)
        for span in spans
        if math.isfinite(span.start_ms) and math.isfinite(span.duration_ms)
    }
    if len(times) < len(spans) or not times or not valid_traceparent(traceparent):
        return None
    begin = min(start for start, _ in times.values())
    end = max(start + duration for start, duration in times.values())
    if not (now - MAX_REPORTED_S <= begin <= end <= now + MAX_REPORTED_S):
        return None
    duration: float | None = None
    if whole:
        start, duration = times.pop(ROOT_SPAN, (begin, end - begin))
        tracer.record(ROOT_SPAN, parent="", span=traceparent, start=start, duration_s=duration)
    for name, (child_start, child_duration) in times.items():
        tracer.record(name, parent=traceparent, start=child_start, duration_s=child_duration)
    return duration
