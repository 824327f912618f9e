"""Events: how many a second, and how long one takes from the publisher to the handler.

For both logs, in memory and in a Redis on loopback that keeps nothing on disk (`redis`) or writes
before it confirms (`redis-aof`). `publish_per_s`: 16 publishers, each waiting for each event;
`publish_batch_per_s`: 64 events at a time; `handle_per_s`: one consumer, from a log that is full;
`delivery_p50_ms` and `_p99_ms`: at 200 events a second, from before publishing to the handler.

`events.record_us` is what a record costs a signalling server's loop on its way to events, and
`events.audit_us` on its way to the audit log; `events.audit_per_s`: lines chained, written and
synced.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.common.report import Report, parse_options, percentile
from integrations.events import (
    OLDEST,
    Event,
    EventBus,
    EventLog,
    MemoryLog,
    RecordEvents,
    RedisLog,
    SubscriptionSettings,
)
from integrations.events.types import ControlGranted
from signalling.audit import AuditLog, AuditSettings
from signalling.records import Record
from signalling.redis.settings import RedisSettings
from tests.signalling.redis import server as redis_server

PUBLISHERS = 16
BATCH = 64
RATE = 200.0
AOF = ("appendonly yes", "appendfsync always")

MakeLog = Callable[[str], EventLog]


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("events", __doc__ or "", runs=3, quick_runs=1)
    count = 5_000 if options.quick else 20_000
    report = Report("events", options, {"events": count, "publishers": PUBLISHERS, "batch": BATCH})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            redis_server.single(folder / "plain") as plain,
            redis_server.single(folder / "aof", *AOF) as aof,
        ):
            logs: dict[str, MakeLog] = {
                "memory": lambda _: MemoryLog(),
                "redis": lambda log: RedisLog(RedisSettings(url=plain.url), name=log),
                "redis-aof": lambda log: RedisLog(RedisSettings(url=aof.url), name=log),
            }
            for run in range(options.runs):
                for kind, make in logs.items():
                    if options.wants(kind):
                        asyncio.run(_run(report, kind, make, f"run{run}", count))
                if options.wants("records"):
                    asyncio.run(_run_records(report, folder / f"audit{run}.jsonl", count))
    return report.finish()


async def _run(report: Report, kind: str, make: MakeLog, name: str, count: int) -> None:
    async with EventBus(make(name + "a")) as bus:
        share = count // PUBLISHERS
        publishers = [_publish_each(bus, share) for _ in range(PUBLISHERS)]
        seconds = await _timed(asyncio.gather(*publishers))
        per_s = share * PUBLISHERS / seconds
        report.add(f"events.{kind}.publish_per_s", per_s, "events/s", better="higher")
    async with EventBus(make(name + "b")) as bus:
        seconds = await _timed(_publish_batches(bus, count))
        report.add(
            f"events.{kind}.publish_batch_per_s", count / seconds, "events/s", better="higher"
        )
        seconds = await _timed(_handle(bus, count))
        report.add(f"events.{kind}.handle_per_s", count / seconds, "events/s", better="higher")
    async with EventBus(make(name + "c")) as bus:
        delays = await _delays(bus, min(count, 1000))
        for share_of, figure in ((0.5, "p50"), (0.99, "p99")):
            delay_ms = percentile(delays, share_of) * 1e3
            report.add(f"events.{kind}.delivery_{figure}_ms", delay_ms, "ms")


async def _timed(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


def _event(number: int) -> Event:
    data = ControlGranted(room="den", actor="host", subject="u", peer=f"p{number}", control="pad:1")
    return Event.of(data, source="/signalling/bench")


async def _publish_each(bus: EventBus, count: int) -> None:
    for number in range(count):
        await bus.publish(_event(number))


async def _publish_batches(bus: EventBus, count: int) -> None:
    for first in range(0, count, BATCH):
        await bus.publish(*(_event(n) for n in range(first, min(count, first + BATCH))))


async def _handle(bus: EventBus, count: int) -> None:
    done = asyncio.Event()
    left = count

    async def handle(event: Event) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    settings = SubscriptionSettings(start=OLDEST, prefetch=256)
    subscription = bus.subscribe("bench", handle, settings=settings)
    await done.wait()
    await subscription.close()


async def _delays(bus: EventBus, count: int) -> list[float]:
    started: dict[str, float] = {}
    delays: list[float] = []
    done = asyncio.Event()

    async def handle(event: Event) -> None:
        delays.append(time.perf_counter() - started[event.id])
        if len(delays) == count:
            done.set()

    bus.subscribe("bench", handle, settings=SubscriptionSettings(start=OLDEST))
    begin = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(begin + number / RATE - time.perf_counter())
        event = _event(number)
        started[event.id] = time.perf_counter()
        await bus.publish(event)
    await done.wait()
    return delays


async def _run_records(report: Report, path: Path, count: int) -> None:
    record = Record(
        type="control.granted",
        at=1_700_000_000.0,
        room="den",
        actor="host",
        subject="u",
        peer="p",
        data={"control": "pad:1"},
    )
    async with EventBus(MemoryLog()) as bus:
        events = RecordEvents(bus, "/signalling/bench", capacity=count)
        start = time.perf_counter()
        for _ in range(count):
            events.put(record)
        report.add("events.record_us", (time.perf_counter() - start) / count * 1e6, "µs")
        await events.close(60)
        if events.outbox.published != count:
            report.invalid(f"{events.outbox.published} of {count} records were published")
    audit = AuditLog(AuditSettings(path=path, capacity=count)).open()
    start = time.perf_counter()
    for _ in range(count):
        audit.put(record)
    report.add("events.audit_us", (time.perf_counter() - start) / count * 1e6, "µs")
    await asyncio.to_thread(audit.close, 60)
    seconds = time.perf_counter() - start
    report.add("events.audit_per_s", count / seconds, "lines/s", better="higher")
    if audit.written != count:
        report.invalid(f"{audit.written} of {count} lines were written")


if __name__ == "__main__":
    sys.exit(main())
