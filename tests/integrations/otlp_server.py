"""A collector for tests: takes OTLP traces over HTTP on loopback and keeps their spans."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collected:
    """A span, in units of ours."""

    name: str
    trace: str
    span: str
    parent: str
    start: float
    end: float
    attributes: dict[str, object]
    error: str
    service: str


class OtlpServer:
    def __init__(self) -> None:
        self.spans: list[Collected] = []
        self.headers: list[dict[str, str]] = []
        self.endpoint = ""
        self._changed = asyncio.Condition()

    async def until(self, count: int) -> list[Collected]:
        """All spans, once there are so many; within five seconds."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self.spans) >= count)
        return self.spans

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        async with self._changed:
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            for resource in message.resource_spans:
                names = _attributes(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += [
                        _collected(span, str(names["service.name"])) for span in scope.spans
                    ]
            self._changed.notify_all()
        return web.Response(body=b"", content_type="application/x-protobuf")


def _collected(span: Span, service: str) -> Collected:
    return Collected(
        name=span.name,
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
        attributes=_attributes(span.attributes),
        error=span.status.message,
        service=service,
    )


def _attributes(pairs) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@asynccontextmanager
async def otlp_server() -> AsyncIterator[OtlpServer]:
    server = OtlpServer()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/traces", server._take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    try:
        yield server
    finally:
        await runner.cleanup()
