"""What a host sees of its viewers' picture, as events."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from peer.quality import QualityChange, QualityWatch
from peer.report import HostReport

from .bus import EventBus
from .envelope import Event
from .outbox import Outbox
from .types import EventData, QualityDegraded, QualityRecovered


@asynccontextmanager
async def quality_events(
    bus: EventBus, room: str, *, report_interval_s: float = 1.0, source: str = ""
) -> AsyncIterator[Callable[[HostReport], None]]:
    """Gives what is to be called with each report of the host; it does not wait for anything.

    The bus stays the caller's. ``source`` is this machine unless something else is said.
    """
    outbox, watch = Outbox(bus), QualityWatch()
    name = source or f"/host/{socket.gethostname()}"

    def observe(report: HostReport) -> None:
        for change in watch.see(report):
            outbox.put(Event.of(_data_of(change, room, report_interval_s), source=name))

    try:
        yield observe
    finally:
        await outbox.close()


def _data_of(change: QualityChange, room: str, interval_s: float) -> EventData:
    if not change.degraded:
        return QualityRecovered(room=room, peer=change.peer, seconds=change.reports * interval_s)
    viewer = change.viewer
    if viewer is None:
        return QualityDegraded(room=room, reasons=list(change.reasons), fps=change.fps)
    network = viewer.network
    return QualityDegraded(
        room=room,
        peer=change.peer,
        reasons=list(change.reasons),
        loss=viewer.loss if network is None else network.loss,
        rtt_ms=viewer.rtt_ms,
        queue_ms=None if network is None else network.queue_ms,
        target_bps=None if network is None else network.target_bps,
        fps=change.fps,
    )
