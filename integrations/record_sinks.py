"""Where the records of ``playcast serve`` go: the audit log, and events for others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import Field, SecretStr

from signalling.audit import AuditLog, AuditSettings
from signalling.records import Records, RecordSink
from signalling.redis.settings import RedisSettings

from .config.section import Count, Seconds, Section
from .events import EventBus, RecordEvents, RedisLog, Retention


class AuditSection(Section):
    """The audit log."""

    file: Path | None = None
    """The file that grows, as ``audit.jsonl``; others of the log stand beside it."""

    key: SecretStr = SecretStr("")
    """Of the HMAC that chains its lines, 32 characters or more; empty: anyone who may write the
    file can make it anew."""

    sync: Literal["always", "second", "never"] = "always"
    """When lines are brought to the disk: at once, every second, or whenever the system likes."""

    rotate_bytes: Annotated[int, Field(ge=1_000, le=2**40)] = 64 * 1024 * 1024
    """How large a file may grow, in bytes."""

    keep_files: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """How many old files are kept; 0: all of them."""


class EventsSection(Section):
    """Events, published into Redis Streams."""

    publish: bool = False
    """Publish what happens, in the Redis of ``redis.url``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "all"
    """Which log they are kept in: subscribers name the same."""

    keep: Count = 100_000
    """About how many are kept."""

    keep_s: Seconds = 7 * 24 * 3600.0
    """For how long they are kept, in seconds."""


class _SinkMetrics(Collector):
    """How the sinks fare."""

    def __init__(self) -> None:
        self.audit: AuditLog | None = None
        self.events: RecordEvents | None = None

    def collect(self) -> Iterator[Metric]:
        if (audit := self.audit) is not None:
            yield _count("audit_records", "Records in the audit log.", audit.written)
            yield _count("audit_dropped", "Records that are not in it.", audit.dropped)
            yield GaugeMetricFamily(
                "playcast_audit_up", "1 while it can be written.", not audit.trouble
            )
        if (events := self.events) is not None:
            outbox = events.outbox
            lost = outbox.dropped + outbox.refused + events.malformed
            yield _count("events_published", "Events that were published.", outbox.published)
            yield _count("events_dropped", "Events that were not, and will not be.", lost)
            yield GaugeMetricFamily(
                "playcast_events_waiting", "Events that are not published yet.", outbox.waiting
            )


def _count(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"playcast_{name}", text, value)


@asynccontextmanager
async def record_sinks(
    audit: AuditSection,
    events: EventsSection,
    redis: RedisSettings | None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[RecordSink]:
    """What is configured of them. Leave it after the server is closed.

    How they fare is told to ``registry``. Raises :class:`signalling.audit.AuditError`, and
    :class:`ValueError` naming a wrong setting.
    """
    server = socket.gethostname()
    sinks: list[RecordSink] = []
    metrics = _SinkMetrics()
    async with AsyncExitStack() as stack:
        if audit.file is not None:
            key = audit.key.get_secret_value().encode()
            settings = AuditSettings(
                path=audit.file,
                server=server,
                key=key,
                sync=audit.sync,
                rotate_bytes=audit.rotate_bytes,
                keep_files=audit.keep_files,
            )
            log = await asyncio.to_thread(AuditLog(settings).open)
            stack.push_async_callback(asyncio.to_thread, log.close)
            sinks.append(log)
            metrics.audit = log
        if events.publish:
            if redis is None:
                raise ValueError("events.publish: needs redis.url")
            kept = Retention(events=events.keep, seconds=events.keep_s)
            bus = await stack.enter_async_context(EventBus(RedisLog(redis, kept, name=events.name)))
            published = RecordEvents(bus, f"/signalling/{server}")
            stack.push_async_callback(published.close)
            sinks.append(published)
            metrics.events = published
        if registry is not None and sinks:
            registry.register(metrics)
            stack.callback(registry.unregister, metrics)
        yield Records(*sinks)
