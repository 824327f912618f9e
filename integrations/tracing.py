"""Traces over OpenTelemetry (OTLP/HTTP): a :class:`signalling.tracing.Tracer`.

Off unless an endpoint is set. A span costs tens of microseconds, so there is a handful for a
viewer that joins, and none for a message or a frame. They are sent by a thread of the SDK, in
batches; when the collector is away, what does not fit into the queue is lost and nothing waits.

Whether a trace is kept is decided by its id alone, so that every server decides alike and no client
can have more kept than :attr:`TelemetrySettings.sample_ratio`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, SecretStr

from signalling.tracing import Attribute, format_traceparent, parse_traceparent

from .config.section import Section
from .errors import NotInstalled
from .scrub import Scrubber

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as SdkSpan
    from opentelemetry.trace import SpanContext

__all__ = ["OtlpTracer", "TelemetrySettings"]

_SAMPLED = 1
_HALF = 2**64 - 1
_SCOPE = "playcast"


class TelemetrySettings(Section):
    """Traces."""

    endpoint: str = ""
    """The collector's address for OTLP over HTTP, ``https://HOST:4318/v1/traces``; empty: none."""

    headers: SecretStr = SecretStr("")
    """Headers for it, as ``name=value,name=value``."""

    service_name: str = "playcast-signalling"
    """What the traces say they are from."""

    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of traces that is kept."""

    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long the collector may take to answer, in seconds."""

    def parsed_headers(self) -> dict[str, str]:
        """Raises :class:`ValueError` without what was wrong: it may be a secret."""
        text = self.headers.get_secret_value()
        headers = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = pair.partition("=")
            if not equals or not name.strip():
                raise ValueError("headers: takes name=value,name=value")
            headers[name.strip().lower()] = value.strip()
        return headers


class OtlpTracer:
    """Spans that go to a collector. Close it to have the last ones sent."""

    def __init__(
        self,
        settings: TelemetrySettings,
        scrubber: Scrubber,
        *,
        version: str = "",
        environment: str = "",
        exporter: SpanExporter | None = None,
        delay_s: float = 2.0,
    ) -> None:
        """``exporter`` instead of OTLP over HTTP; spans wait up to ``delay_s`` for others.

        Raises :class:`NotInstalled`, or :class:`ValueError` naming the field.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            text = 'telemetry.endpoint: needs pip install "playcast[operations]"'
            raise NotInstalled(text) from error
        self._scrubber = scrubber
        self._by_id = TraceIdRatioBased(settings.sample_ratio)
        self._provider = TracerProvider(
            sampler=ParentBased(self._by_id, remote_parent_sampled=self._by_id),
            resource=Resource.create(
                {
                    "service.name": settings.service_name,
                    "service.version": version,
                    "service.instance.id": socket.gethostname(),
                    "deployment.environment.name": environment,
                }
            ),
            shutdown_on_exit=False,
        )
        self._processor = BatchSpanProcessor(
            exporter
            or OTLPSpanExporter(
                endpoint=settings.endpoint,
                headers=settings.parsed_headers(),
                timeout=settings.timeout_s,
            ),
            schedule_delay_millis=delay_s * 1000,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer(_SCOPE, version)

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        at: float | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> OtlpSpan:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            name,
            context=_context_of(parent) or Context(),
            kind=SpanKind.SERVER,
            attributes=self._scrubbed(attributes),
            start_time=_ns(at),
        )
        return OtlpSpan(span, self._scrubber)

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
        if span:
            self._record_as(name, span, parent, start, duration_s, attributes)
        elif (context := _context_of(parent)) is not None:
            from opentelemetry.trace import SpanKind

            kept = self._tracer.start_span(
                name,
                context=context,
                kind=SpanKind.CLIENT,
                attributes=self._scrubbed(attributes),
                start_time=_ns(start),
            )
            kept.end(_ns(start + duration_s))

    async def close(self) -> None:
        """Send what waits, and take no more."""
        await asyncio.to_thread(self._provider.shutdown)

    def _record_as(
        self,
        name: str,
        span: str,
        parent: str,
        start: float,
        duration_s: float,
        attributes: Mapping[str, Attribute] | None,
    ) -> None:
        """A span whose id its children know already: the SDK would give it one of its own."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanKind

        context = _span_context(span)
        if context is None or not self._keeps(context):
            return
        self._processor.on_end(
            ReadableSpan(
                name,
                context=context,
                parent=_span_context(parent),
                resource=self._provider.resource,
                attributes=self._scrubbed(attributes),
                kind=SpanKind.CLIENT,
                start_time=_ns(start),
                end_time=_ns(start + duration_s),
                instrumentation_scope=InstrumentationScope(_SCOPE),
            )
        )

    def _keeps(self, context: SpanContext) -> bool:
        if not context.trace_flags.sampled:
            return False
        # As the SDK's sampler has it: the lower half of the id, against the ratio.
        return context.trace_id & _HALF < self._by_id.bound

    def _scrubbed(self, attributes: Mapping[str, Attribute] | None) -> dict[str, Any]:
        return {
            name: self._scrubber.value(value, name) for name, value in (attributes or {}).items()
        }


class OtlpSpan:
    """A :class:`signalling.tracing.Span`."""

    __slots__ = ("_ended", "_scrubber", "_span")

    def __init__(self, span: SdkSpan, scrubber: Scrubber) -> None:
        self._span = span
        self._scrubber = scrubber
        self._ended = False

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return format_traceparent(context.trace_id, context.span_id, context.trace_flags)

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, self._scrubber.value(value, name))

    def end(self, *, at: float | None = None, error: str = "") -> None:
        from opentelemetry.trace import Status, StatusCode

        if self._ended:
            return
        self._ended = True
        if error:
            self._span.set_status(Status(StatusCode.ERROR, self._scrubber.text(error)))
        self._span.end(_ns(at))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error="" if error is None else f"{type(error).__name__}: {error}")


def _span_context(traceparent: str) -> SpanContext | None:
    from opentelemetry.trace import SpanContext, TraceFlags

    found = parse_traceparent(traceparent)
    if found is None:
        return None
    trace, span, flags = found
    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags & _SAMPLED))


def _context_of(traceparent: str) -> Any:
    """What the SDK calls a context, with this parent; ``None`` without one."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    parent = _span_context(traceparent)
    return None if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


def _ns(at: float | None) -> int:
    return time.time_ns() if at is None else int(at * 1e9)
