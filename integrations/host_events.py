"""Events of ``playcast host``: how its viewers' picture is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from peer.report import HostReport
from signalling.redis.settings import RedisSettings

from .config.tree import Settings
from .events import EventBus, RedisLog, Retention
from .events.quality import quality_events

Observe = Callable[[HostReport], None]


def host_observer(settings: Settings) -> Callable[[str], AbstractAsyncContextManager[Observe]]:
    """For a room: what to call with each report, as long as the context lasts.

    Raises :class:`ValueError` naming the setting that is missing.
    """
    url = settings.redis.url.get_secret_value()
    if settings.events.publish and not url:
        raise ValueError("events.publish: needs redis.url")

    @asynccontextmanager
    async def observing(room: str) -> AsyncIterator[Observe]:
        if not settings.events.publish:
            yield lambda _: None
            return
        redis, events = settings.redis, settings.events
        connection = RedisSettings(
            url=url,
            prefix=redis.prefix,
            ca_file=redis.ca,
            cert_file=redis.certificate,
            key_file=redis.key,
        )
        kept = Retention(events=events.keep, seconds=events.keep_s)
        async with (
            EventBus(RedisLog(connection, kept, name=events.name)) as bus,
            quality_events(bus, room) as observe,
        ):
            yield observe

    return observing
