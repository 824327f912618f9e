"""One viewer, as its host keeps it: a connection, its stats channel, and a timer."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Protocol

from aiortc import RTCDataChannel

from native import Congestion, PeerStats
from peer.connection import Connection, ConnectionEvents, ConnectionState
from peer.report import HostReport, NetworkReport, ViewerReport
from peer.spans import Spans

MAX_STATS_BACKLOG = 64 * 1024
"""Bytes that may wait in a viewer's stats channel before it misses a message."""


class ViewerOwner(Protocol):
    """What a viewer tells its host."""

    def send_candidate(self, viewer: Viewer, candidate: str) -> None:
        """One of our candidates, for the viewer."""

    def connection_changed(self, viewer: Viewer, state: ConnectionState) -> None:
        """The viewer's connection has a new state."""

    def drop(self, viewer: Viewer, why: str) -> None:
        """The viewer's time is over."""


class Viewer(ConnectionEvents):
    """One viewer of a host; hands its connection's events on."""

    connection: Connection
    stats_channel: RTCDataChannel

    def __init__(self, owner: ViewerOwner, peer: str, traceparent: str = "") -> None:
        self.peer = peer
        """Its name in the room: another one each time that it joins anew."""
        self.spans = Spans(traceparent)
        """What its coming takes, for the trace that it is a part of."""
        self.offer = ""
        """The session description that it was offered first."""
        self.offered_again = False
        """That offer was sent twice: two answers may come."""
        self.seat = secrets.token_urlsafe(16)
        """What it can show when it joins again, to be known as the same."""
        self.present = True
        """It is in the room."""
        self.complained = False
        self._owner = owner
        self._timer: asyncio.TimerHandle | None = None
        self._silent_since: float | None = None
        self._restarted_at = float("-inf")

    @property
    def state(self) -> ConnectionState:
        return self.connection.state

    @property
    def connected(self) -> bool:
        """Media flows, or did and may again."""
        return self.state in (ConnectionState.CONNECTED, ConnectionState.DISCONNECTED)

    @property
    def silent_for(self) -> float:
        """Seconds since its path fell silent; 0 while it answers."""
        if self._silent_since is None:
            return 0.0
        return max(asyncio.get_running_loop().time() - self._silent_since, 1e-9)

    def come_back(self, peer: str) -> None:
        """It has joined again under that name. What was sent to the old one may be lost."""
        self.cancel_timer()
        self.peer, self.present = peer, True
        self._restarted_at = float("-inf")

    def may_restart(self, spacing_s: float) -> bool:
        """Is the last restart that it may ask for longer ago than that?"""
        now = asyncio.get_running_loop().time()
        if now - self._restarted_at < spacing_s:
            return False
        self._restarted_at = now
        return True

    def drop_after(self, seconds: float, why: str) -> None:
        """Its owner is to drop it then, unless :meth:`cancel_timer` comes first."""
        self.cancel_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._owner.drop, self, why)

    def cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell(self, report: HostReport, own: ViewerReport) -> None:
        """Send what the report says to this viewer, unless its channel is stuck."""
        channel = self.stats_channel
        if not own.codec or channel.readyState != "open":
            return
        if channel.bufferedAmount <= MAX_STATS_BACKLOG:
            channel.send(json.dumps(report.to_viewer(own)))

    def report(self) -> ViewerReport:
        stats, answer = self.connection.stats(), self.connection.answer
        media = stats.media
        words = {ConnectionState.CONNECTED: "connected", ConnectionState.DISCONNECTED: "silent"}
        return ViewerReport(
            peer=self.peer,
            state=words.get(stats.state, "connecting"),
            codec=answer.video.codec.name if answer and answer.video else "",
            rtt_ms=media.rtt_ms if media else None,
            loss=media.loss if media else 0.0,
            sent_bytes=media.bytes if media else 0,
            resent_packets=media.rtx_packets if media else 0,
            frames_dropped=media.frames_dropped if media else 0,
            idr_requests=media.plis + media.firs if media else 0,
            rung=media.rung if media else 0,
            network=_network(media) if media else None,
        )

    # ConnectionEvents ----------------------------------------------------------------------------

    def state_changed(self, connection: Connection, state: ConnectionState) -> None:
        silent = state is ConnectionState.DISCONNECTED
        self._silent_since = asyncio.get_running_loop().time() if silent else None
        self._owner.connection_changed(self, state)

    def candidate(self, connection: Connection, candidate: str) -> None:
        self._owner.send_candidate(self, candidate)


def _network(media: PeerStats) -> NetworkReport | None:
    if media.congestion is Congestion.FIXED:
        return None
    repair = media.rtx_bytes + media.fec_bytes
    return NetworkReport(
        state=media.congestion.name.lower(),
        target_bps=media.target_bps,
        queue_ms=media.queue_ms,
        loss=media.network_loss,
        repair=repair / max(1, media.bytes + repair),
    )
