"""What ``playcast host`` publishes about its viewers, through a real Redis."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from integrations.events import OLDEST, EventBus, RedisLog, Route, SubscriptionSettings
from signalling.redis.settings import RedisSettings

from ..integrations.events.waiting import Handled
from ..signalling.redis import server as redis_server
from .host_process import HostProcess
from .view_process import ViewProcess

pytestmark = pytest.mark.e2e

PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")


async def test_a_viewer_that_falls_silent_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server.single(tmp_path / "redis") as redis:
        monkeypatch.setenv("PLAYCAST_REDIS__URL", redis.url)
        monkeypatch.setenv("PLAYCAST_EVENTS__PUBLISH", "true")
        async with (
            EventBus(RedisLog(RedisSettings(url=redis.url))) as bus,
            HostProcess(*PATTERN) as host,
            ViewProcess(host.link) as view,
        ):
            handled = Handled()
            settings = SubscriptionSettings(start=OLDEST)
            bus.subscribe("test", handled, Route(("quality.*",)), settings)
            await view.report(lambda report: report["frames"] >= 30)
            await host.report(lambda report: report["viewers"] == 1)
            view._process.send_signal(signal.SIGSTOP)
            try:
                await handled.until(1)
            finally:
                view._process.send_signal(signal.SIGCONT)
    (event,) = handled[:1]
    assert event.type == "quality.degraded"
    assert event.room == "play"
    assert event.data.peer
    assert event.data.reasons == ["silent"]
