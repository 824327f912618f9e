"""The viewers of a host: a connection each, from the offer until it is closed.

Who is in the room, and what that means, the host knows (:mod:`peer.host`); here is what becomes of
the connections. They call back on the same loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

from native import NativeError, Stream
from peer.connection import (
    Connection,
    ConnectionEvents,
    ConnectionSettings,
    ConnectionState,
    InvalidState,
)
from peer.dtls import Certificate
from peer.gathering import IceServer
from peer.host_settings import HostSettings
from peer.hub import MediaHub
from peer.sdp import SdpError
from peer.tracks import NativeTrack
from peer.viewer import Viewer
from signalling import messages

__all__ = ["Audience", "AudienceOwner", "MakeConnection"]

log = logging.getLogger(__name__)

STATS_LABEL = "stats"
MAX_WAITING = 1024
"""Viewers that are remembered while there is no place for them."""
SILENT_PATIENCE_S = 10.0
"""How long a viewer may be silent and keep its place when another wants it."""
RESTART_SPACING_S = 0.5
"""The least time between two ICE restarts that one viewer asks for."""
RETURN_PATIENCE_S = 30.0
"""How long a viewer may take to join a room that has begun anew, by its seat."""
REPORT_SPACING_S = 2.0
"""The least time between two reports of what a viewer's coming took."""
NO_PLACE = "Every place is taken: the host lets {} watch at a time."
OVERLOADED = "The host cannot take another viewer now."
NOT_ALLOWED = "The host does not let you watch any more."
OUR_MISTAKE = "a mistake of ours"
"""Met through one viewer, it must not end the stream of the others."""


class MakeConnection(Protocol):
    """Makes a viewer's connection; see :class:`.Connection`."""

    def __call__(
        self,
        hub: MediaHub,
        events: ConnectionEvents,
        settings: ConnectionSettings,
        certificate: Certificate,
    ) -> Connection: ...


class AudienceOwner(Protocol):
    """What an audience asks of, and tells, its host."""

    def say(self, message: messages.ClientMessage) -> None:
        """Send this to the room. Does not block."""

    def plays(self, peer: str) -> bool:
        """Does that viewer hold a control?"""

    def cut_off(self, peer: str) -> None:
        """Nothing comes from that viewer any more: its path is silent, or gone."""


class Audience:
    """All viewers that have a connection, are getting one, or wait for a place."""

    def __init__(
        self,
        owner: AudienceOwner,
        hub: MediaHub,
        track: NativeTrack,
        settings: HostSettings,
        make_connection: MakeConnection,
    ) -> None:
        self.bad_input = 0
        """Answers and candidates that could not be used."""
        self.ice_servers: tuple[IceServer, ...] = ()
        self.stream: Stream | None = None
        self.viewers: dict[str, Viewer] = {}
        self.waiting: dict[str, None] = {}
        """Those for whom there is no place, who came first first."""
        self._owner = owner
        self._hub = hub
        self._track = track
        self._settings = settings
        self._make_connection = make_connection
        self._certificate = Certificate()
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False
        self._reported_at = float("-inf")

    def __iter__(self) -> Iterator[Viewer]:
        return iter(tuple(self.viewers.values()))

    def begin_close(self) -> None:
        """Take in nobody any more."""
        self._closed = True

    async def close(self) -> None:
        """Close every connection. Returns when they are closed."""
        self._closed = True
        for viewer in self:
            self.drop(viewer, "the host ends the stream")
        await asyncio.gather(*self._background)

    # Coming and going ----------------------------------------------------------------------------

    async def join(self, peer: str, seat: str = "", traceparent: str = "") -> None:
        """Someone is in the room: a viewer that was here before is known by its seat."""
        if peer in self.viewers:
            return
        viewer = next((v for v in self if v.seat == seat), None)
        if viewer is None or not viewer.connected:
            if viewer is not None:
                self.drop(viewer, "joined anew")
            await self._admit(peer, traceparent)
            return
        log.info("viewer %s is back as %s", viewer.peer, peer)
        del self.viewers[viewer.peer]
        self._owner.cut_off(viewer.peer)
        viewer.come_back(peer)
        viewer.connection.set_player(self._owner.plays(peer))
        self.viewers[peer] = viewer
        # Only its link to the server may have broken; if it is the path, the viewer asks.
        if viewer.silent_for > 0 and viewer.may_restart(0.0):
            self._restart(viewer)

    def link_is_back(self, viewer: Viewer) -> None:
        """Its link to the server was broken, or ours: what was said last may be lost."""
        if viewer.state is ConnectionState.OFFERED:
            viewer.offered_again = True
            self._owner.say(messages.Offer(viewer.peer, viewer.offer, viewer.seat))
        elif viewer.silent_for > 0 and viewer.may_restart(0.0):
            self._restart(viewer)

    def missing(self, viewer: Viewer) -> None:
        """The room has begun anew, and it is not there (yet)."""
        viewer.present = False
        if viewer.connected:
            viewer.connection.check_path()
            viewer.drop_after(RETURN_PATIENCE_S, "did not come back to the room")
        else:
            self.drop(viewer, "its offer may be lost")

    def leave(self, peer: str, why: str) -> None:
        """Someone is not in the room any more, or may not watch."""
        self.waiting.pop(peer, None)
        viewer = self.viewers.get(peer)
        if viewer is not None:
            self.drop(viewer, why)

    async def _admit(self, peer: str, traceparent: str = "") -> None:
        """Offer the stream to a viewer, or let it wait for a place."""
        if self._closed or peer in self.viewers:
            return
        if len(self.viewers) >= self._settings.max_viewers and not self._make_room():
            if len(self.waiting) < MAX_WAITING:
                self.waiting[peer] = None
            log.warning("no place for viewer %s: --max-viewers is %d", peer, len(self.viewers))
            words = NO_PLACE.format(self._settings.max_viewers)
            self._owner.say(messages.Refused(peer, words))
            return
        self.waiting.pop(peer, None)
        viewer = Viewer(self, peer, traceparent)
        viewer.spans.begin("host.prepare")
        assert self.stream is not None
        settings = self._settings.for_viewer(
            self.stream.stats(),
            self._track.settings,
            self.ice_servers,
            player=self._owner.plays(peer),
        )
        try:
            viewer.connection = connection = self._make_connection(
                self._hub, viewer, settings, self._certificate
            )
        except NativeError as error:
            log.warning("no connection for viewer %s: %s", peer, error.strerror)
            self._owner.say(messages.Refused(peer, OVERLOADED))
            return
        self.viewers[peer] = viewer
        viewer.stats_channel = connection.create_data_channel(
            STATS_LABEL, ordered=False, max_retransmits=0
        )
        try:
            viewer.offer = await connection.create_offer()
            connection.send_stream(self.stream)
        except InvalidState:
            return  # closed meanwhile
        self._owner.say(messages.Offer(viewer.peer, viewer.offer, viewer.seat))
        viewer.spans.end("host.prepare")
        viewer.drop_after(self._settings.answer_timeout_s, "did not answer the offer")
        log.info("offered to viewer %s%s", peer, f" trace={traceparent}" if traceparent else "")

    def _make_room(self) -> bool:
        """Close the connection of a viewer that has left the room or is silent, if there is one."""
        going = [v for v in self if not v.present] or [
            v for v in self if v.silent_for >= SILENT_PATIENCE_S
        ]
        if not going:
            return False
        # One whose path is silent first; then who has been here longest.
        self.drop(max(going, key=lambda viewer: viewer.silent_for), "its place is needed")
        return True

    # What viewers say ----------------------------------------------------------------------------

    async def answered(self, peer: str, sdp: str) -> None:
        """A viewer answers its offer."""
        viewer = self.viewers.get(peer)
        if viewer is None:
            return
        viewer.spans.begin("host.connect")
        try:
            await viewer.connection.accept_answer(sdp)
        except InvalidState as error:
            if viewer.offered_again:
                log.debug("viewer %s: both offers are answered", peer)
            else:
                self._bad_input(viewer, "answer", error)
        except SdpError as error:
            self._bad_input(viewer, "answer", error)
        except Exception:
            log.exception("viewer %s: %s", peer, OUR_MISTAKE)
            self.drop(viewer, OUR_MISTAKE)
        else:
            viewer.cancel_timer()

    async def trickled(self, peer: str, candidate: str) -> None:
        """A viewer has one more candidate."""
        viewer = self.viewers.get(peer)
        if viewer is None:
            return
        try:
            await viewer.connection.add_candidate(candidate)
        except SdpError as error:
            self._bad_input(viewer, "candidate", error)
        except Exception:
            log.exception("viewer %s: %s", peer, OUR_MISTAKE)
            self.drop(viewer, OUR_MISTAKE)

    async def restart_wanted(self, peer: str) -> None:
        """A viewer asks for another path; one that has no connection (any more), for one."""
        viewer = self.viewers.get(peer)
        if viewer is None:
            await self._admit(peer)
        elif viewer.may_restart(RESTART_SPACING_S):
            self._restart(viewer)

    def _restart(self, viewer: Viewer) -> None:
        """Offer a viewer the session that it has again, to find another path."""
        try:
            sdp = viewer.connection.restart_ice()
        except InvalidState as error:
            log.debug("viewer %s: %s", viewer.peer, error)
            return
        self._owner.say(messages.Offer(viewer.peer, sdp, viewer.seat))

    def _bad_input(self, viewer: Viewer, what: str, error: Exception) -> None:
        self.bad_input += 1
        level = logging.DEBUG if viewer.complained else logging.WARNING
        viewer.complained = True
        log.log(level, "viewer %s: dropped a bad %s: %s", viewer.peer, what, error)

    # What connections tell: see ViewerOwner ------------------------------------------------------

    def send_candidate(self, viewer: Viewer, candidate: str) -> None:
        if self.viewers.get(viewer.peer) is viewer:
            self._owner.say(messages.Candidate(viewer.peer, candidate))

    def connection_changed(self, viewer: Viewer, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            log.info("viewer %s is connected", viewer.peer)
            viewer.spans.end("host.connect")
            self._report_spans(viewer)
        elif state is ConnectionState.DISCONNECTED:
            self._owner.cut_off(viewer.peer)
        elif state is ConnectionState.FAILED:
            self.drop(viewer, viewer.connection.failure)
        elif state is ConnectionState.CLOSED:
            self._forget(viewer)

    def _report_spans(self, viewer: Viewer) -> None:
        trace, now = viewer.spans.take(), asyncio.get_running_loop().time()
        # Of a crowd that comes at once, some are enough.
        if trace is not None and now - self._reported_at >= REPORT_SPACING_S:
            self._reported_at = now
            self._owner.say(trace)

    def drop(self, viewer: Viewer, why: str) -> None:
        """Forget a viewer now, and close its connection in the background."""
        if self.viewers.get(viewer.peer) is not viewer:
            return
        log.info("viewer %s is gone: %s", viewer.peer, why)
        self._forget(viewer)
        self._spawn(viewer.connection.close())

    def _forget(self, viewer: Viewer) -> None:
        viewer.cancel_timer()
        if self.viewers.get(viewer.peer) is not viewer:
            return
        del self.viewers[viewer.peer]
        self._owner.cut_off(viewer.peer)
        if self.waiting and not self._closed:
            self._spawn(self._admit(next(iter(self.waiting))))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
