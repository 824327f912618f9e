from dataclasses import replace

from integrations.events import EventBus, MemoryLog
from integrations.events.quality import quality_events
from tests.peer.test_quality import BAD, REPORT


async def test_what_a_host_sees_is_published():
    async with EventBus(MemoryLog()) as bus:
        async with quality_events(bus, "den", source="/host/x") as observe:
            observe(REPORT)
            for _ in range(4):
                observe(replace(REPORT, viewers=(BAD["loss"],)))
            for _ in range(5):
                observe(REPORT)
        degraded, recovered = [event async for _, event in bus.replay()]
    assert (degraded.type, degraded.source) == ("quality.degraded", "/host/x")
    assert degraded.subject == "room/den/peer/v"
    assert degraded.data.reasons == ["loss"]
    assert (degraded.data.loss, degraded.data.rtt_ms, degraded.data.fps) == (0.06, 20.0, 60.0)
    assert (degraded.data.queue_ms, degraded.data.target_bps) == (2.0, 8e6)
    assert (recovered.type, recovered.data.seconds) == ("quality.recovered", 6.0)


async def test_a_slow_host_is_everybodys():
    async with EventBus(MemoryLog()) as bus:
        async with quality_events(bus, "den") as observe:
            for n in range(5):
                observe(replace(REPORT, late=10 * n))
        ((_, event),) = [found async for found in bus.replay()]
    assert event.subject == "room/den"
    assert event.source.startswith("/host/")
    assert (event.data.peer, event.data.reasons, event.data.fps) == ("", ["late"], 60.0)
