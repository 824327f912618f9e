"""A host: many viewers on one encode.

::

    track = ScreenTrack(display=":0")
    async with Host(track, hub, signalling) as host:
        await host.run()        # until the source is gone, or signalling refuses us for good

What the signalling client says, in order, drives everything: who joins gets a connection and an
offer, who answers gets the stream. One task reads those messages, one sends ours, one reports once
a second; connections call back on the same loop, so nothing here needs a lock.

A viewer and its link to signalling are two things. Media goes on when signalling is lost, on
either side::

    in the room     connection            then
    yes             on the way            offered; given up after ``answer_timeout_s``
    yes             connected             plays
    yes             silent                makes room after a while, when places are short
    no (lost)       connected             plays on; makes room for others when places are short
    again           connected             the same viewer, by its seat: plays on
    again           silent                the same viewer, by its seat: ICE restart
    no (lost)       on the way            closed
    no (bye)        any                   closed
    any             failed, closed        forgotten
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self

from native import (
    NativeError,
    SourceLost,
    SourceResized,
    Stream,
    StreamFailed,
    clock_ns,
)
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
from peer.hub import MediaHub, StreamEvent
from peer.ice_servers import ice_servers_of
from peer.report import HostReport, Meter
from peer.sdp import SdpError
from peer.signalling_client import ClientState, SignallingClient
from peer.tracks import NativeTrack
from peer.viewer import Viewer
from signalling import messages

__all__ = ["Host", "HostSettings", "MakeConnection", "SourceGone"]

log = logging.getLogger(__name__)

STATS_LABEL = "stats"
MAX_WAITING = 1024
"""Viewers that are remembered while there is no place for them."""
SILENT_PATIENCE_S = 10.0
"""How long a viewer may be silent and keep its place when another wants it."""
RESTART_SPACING_S = 0.5
"""The least time between two ICE restarts that one viewer asks for."""
NO_PLACE = "Every place is taken: the host lets {} watch at a time."
OVERLOADED = "The host cannot take another viewer now."
OUR_MISTAKE = "a mistake of ours"
"""Met through one viewer, it must not end the stream of the others."""


class SourceGone(Exception):
    """There is nothing to stream any more. Says why."""


class MakeConnection(Protocol):
    """Makes a viewer's connection; see :class:`.Connection`."""

    def __call__(
        self,
        hub: MediaHub,
        events: ConnectionEvents,
        settings: ConnectionSettings,
        certificate: Certificate,
    ) -> Connection: ...


class Host:
    """Streams one track to everyone in one room. Run it once.

    The track, the hub and the signalling client stay the caller's. :meth:`close` stops the track
    and leaves the room, though, so that viewers hear it first.
    """

    def __init__(
        self,
        track: NativeTrack,
        hub: MediaHub,
        signalling: SignallingClient,
        settings: HostSettings | None = None,
        *,
        on_report: Callable[[HostReport], None] | None = None,
        make_connection: MakeConnection = Connection,
    ) -> None:
        self.settings = settings or HostSettings()
        self.bad_input = 0
        """Answers and candidates that could not be used."""
        self._track = track
        self._hub = hub
        self._signalling = signalling
        self._on_report = on_report
        self._make_connection = make_connection
        self._certificate = Certificate()
        self._viewers: dict[str, Viewer] = {}
        self._waiting: dict[str, None] = {}
        self._ice_servers: tuple[IceServer, ...] = ()
        self._outbox: asyncio.Queue[messages.ClientMessage] = asyncio.Queue()
        self._stream: Stream | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._gone: asyncio.Future[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def viewers(self) -> tuple[str, ...]:
        """The peers that have a connection, or are getting one."""
        return tuple(self._viewers)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The peers for whom there is no place, who came first first."""
        return tuple(self._waiting)

    async def run(self) -> None:
        """Stream until :meth:`close`.

        Raises :class:`SourceGone` when the source is lost or the encoder fails, and
        :class:`.SignallingRefused` when the server will not have us.
        """
        self._stream = stream = self._track.open(self._hub.native)
        self._gone = asyncio.get_running_loop().create_future()
        stream_id = stream.id  # the stream may be closed at the end
        self._hub.watch_stream(stream_id, self._stream_event)
        self._tasks = tasks = [
            asyncio.create_task(work, name=f"host-{name}")
            for name, work in (
                ("messages", self._read_messages()),
                ("outbox", self._send_messages()),
                ("reports", self._report(stream)),
            )
        ]
        try:
            await asyncio.wait([*tasks, self._gone], return_when=asyncio.FIRST_COMPLETED)
            for ended in (self._gone, *tasks):
                if ended.done() and not ended.cancelled():
                    ended.result()
        finally:
            await self._end_tasks()
            self._hub.unwatch_stream(stream_id)

    async def disconnect(self, peer: str) -> None:
        """End a viewer's connection. It may join again. Raises :class:`KeyError` for a stranger."""
        await self._viewers[peer].connection.close()

    async def close(self) -> None:
        """Tell everyone, close every connection, stop the track. May be called again."""
        self._closed = True
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        await self._signalling.close()
        await self._end_tasks()
        for viewer in tuple(self._viewers.values()):
            self._drop(viewer, "the host ends the stream")
        await asyncio.gather(*self._background)
        self._track.stop()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Signalling ----------------------------------------------------------------------------------

    async def _read_messages(self) -> None:
        async for message in self._signalling:
            match message:
                case messages.Welcome():
                    await self._welcomed(message)
                case messages.PeerJoined(peer=peer, role="viewer", seat=seat):
                    await self._joined(peer, seat)
                case messages.PeerLeft(peer=peer, role="viewer", reason=reason):
                    self._left(peer, reason)
                case messages.Answer(peer=peer, sdp=sdp):
                    await self._answered(peer, sdp)
                case messages.Candidate(peer=peer, candidate=candidate):
                    await self._trickled(peer, candidate)
                case messages.Restart(peer=peer):
                    viewer = self._viewers.get(peer)
                    if viewer is not None and viewer.may_restart(RESTART_SPACING_S):
                        self._restart(viewer)
                case messages.Error(code="unknown-peer"):
                    log.debug("signalling: %s", message.message)
                case messages.Error():
                    log.warning("signalling: %s", message.message)

    async def _send_messages(self) -> None:
        while True:
            message = await self._outbox.get()
            if not await self._signalling.send(message):
                # The viewer is offered anew when we are back: see _welcomed().
                log.debug("not sent, signalling is down: %s", type(message).__name__)

    async def _welcomed(self, welcome: messages.Welcome) -> None:
        """We are in the room, for the first time or again; viewers know us by a new name."""
        self._ice_servers = ice_servers_of([*self.settings.ice_servers, *welcome.ice_servers])
        here = set(welcome.peers)
        for peer in self._waiting.keys() - here:
            del self._waiting[peer]
        for peer, viewer in tuple(self._viewers.items()):
            if peer not in here:
                self._left(peer, "lost")
            elif not viewer.connected:
                self._drop(viewer, "its offer may be lost")
            elif viewer.silent_for > 0:
                self._restart(viewer)
        for peer in welcome.peers:
            await self._admit(peer)

    async def _joined(self, peer: str, seat: str) -> None:
        """Someone came in: a viewer that was here before is known by its seat."""
        viewer = next((v for v in self._viewers.values() if v.seat == seat), None)
        if viewer is None or not viewer.connected:
            if viewer is not None:
                self._drop(viewer, "joined anew")
            await self._admit(peer)
            return
        log.info("viewer %s is back as %s", viewer.peer, peer)
        del self._viewers[viewer.peer]
        viewer.come_back(peer)
        self._viewers[peer] = viewer
        # Only its link to the server may have broken; if it is the path, the viewer asks.
        if viewer.silent_for > 0 and viewer.may_restart(0.0):
            self._restart(viewer)

    def _restart(self, viewer: Viewer) -> None:
        """Offer a viewer the session that it has again, to find another path."""
        try:
            sdp = viewer.connection.restart_ice()
        except InvalidState as error:
            log.debug("viewer %s: %s", viewer.peer, error)
            return
        self._outbox.put_nowait(messages.Offer(viewer.peer, sdp, viewer.seat))

    async def _admit(self, peer: str) -> None:
        """Offer the stream to a viewer, or let it wait for a place."""
        if self._closed or peer in self._viewers:
            return
        if len(self._viewers) >= self.settings.max_viewers and not self._make_room():
            if len(self._waiting) < MAX_WAITING:
                self._waiting[peer] = None
            log.warning("no place for viewer %s: --max-viewers is %d", peer, len(self._viewers))
            words = NO_PLACE.format(self.settings.max_viewers)
            self._outbox.put_nowait(messages.Refused(peer, words))
            return
        self._waiting.pop(peer, None)
        viewer = Viewer(self, peer)
        assert self._stream is not None
        settings = self.settings.for_viewer(
            self._stream.stats(), self._track.settings, self._ice_servers
        )
        try:
            viewer.connection = connection = self._make_connection(
                self._hub, viewer, settings, self._certificate
            )
        except NativeError as error:
            log.warning("no connection for viewer %s: %s", peer, error.strerror)
            self._outbox.put_nowait(messages.Refused(peer, OVERLOADED))
            return
        self._viewers[peer] = viewer
        viewer.stats_channel = connection.create_data_channel(
            STATS_LABEL, ordered=False, max_retransmits=0
        )
        try:
            sdp = await connection.create_offer()
            connection.send_stream(self._stream)
        except InvalidState:
            return  # closed meanwhile
        self._outbox.put_nowait(messages.Offer(peer, sdp, viewer.seat))
        viewer.give_up_after(self.settings.answer_timeout_s)
        log.info("offered to viewer %s", peer)

    def _make_room(self) -> bool:
        """Close the connection of a viewer that has left the room or is silent, if there is one."""
        going = [v for v in self._viewers.values() if not v.present] or [
            v for v in self._viewers.values() if v.silent_for >= SILENT_PATIENCE_S
        ]
        if not going:
            return False
        # One whose path is silent first; then who has been here longest.
        self._drop(max(going, key=lambda viewer: viewer.silent_for), "its place is needed")
        return True

    def _left(self, peer: str, reason: str) -> None:
        self._waiting.pop(peer, None)
        viewer = self._viewers.get(peer)
        if viewer is None:
            return
        viewer.present = False
        if reason == "bye" or not viewer.connected:
            self._drop(viewer, f"left ({reason})")
        else:
            viewer.connection.check_path()

    async def _answered(self, peer: str, sdp: str) -> None:
        viewer = self._viewers.get(peer)
        if viewer is None:
            return
        try:
            await viewer.connection.accept_answer(sdp)
        except (SdpError, InvalidState) as error:
            self._bad_input(viewer, "answer", error)
        except Exception:
            log.exception("viewer %s: %s", peer, OUR_MISTAKE)
            self._drop(viewer, OUR_MISTAKE)
        else:
            viewer.cancel_timer()

    async def _trickled(self, peer: str, candidate: str) -> None:
        viewer = self._viewers.get(peer)
        if viewer is None:
            return
        try:
            await viewer.connection.add_candidate(candidate)
        except SdpError as error:
            self._bad_input(viewer, "candidate", error)
        except Exception:
            log.exception("viewer %s: %s", peer, OUR_MISTAKE)
            self._drop(viewer, OUR_MISTAKE)

    def _bad_input(self, viewer: Viewer, what: str, error: Exception) -> None:
        self.bad_input += 1
        level = logging.DEBUG if viewer.complained else logging.WARNING
        viewer.complained = True
        log.log(level, "viewer %s: dropped a bad %s: %s", viewer.peer, what, error)

    # Connections ---------------------------------------------------------------------------------

    def send_candidate(self, viewer: Viewer, candidate: str) -> None:
        """One of our candidates, for the viewer."""
        if self._viewers.get(viewer.peer) is viewer:
            self._outbox.put_nowait(messages.Candidate(viewer.peer, candidate))

    def connection_changed(self, viewer: Viewer, state: ConnectionState) -> None:
        """A viewer's connection has a new state."""
        if state is ConnectionState.CONNECTED:
            log.info("viewer %s is connected", viewer.peer)
        elif state is ConnectionState.FAILED:
            self._drop(viewer, viewer.connection.failure)
        elif state is ConnectionState.CLOSED:
            self._forget(viewer)

    def give_up(self, viewer: Viewer) -> None:
        """A viewer has not answered in time."""
        self._drop(viewer, "did not answer the offer")

    def _drop(self, viewer: Viewer, why: str) -> None:
        """Forget a viewer now, and close its connection in the background."""
        if self._viewers.get(viewer.peer) is not viewer:
            return
        log.info("viewer %s is gone: %s", viewer.peer, why)
        self._forget(viewer)
        self._spawn(viewer.connection.close())

    def _forget(self, viewer: Viewer) -> None:
        viewer.cancel_timer()
        if self._viewers.get(viewer.peer) is not viewer:
            return
        del self._viewers[viewer.peer]
        if self._waiting and not self._closed:
            self._spawn(self._admit(next(iter(self._waiting))))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # The stream ----------------------------------------------------------------------------------

    def _stream_event(self, event: StreamEvent) -> None:
        assert self._gone is not None
        match event:
            case SourceResized(width=width, height=height):
                log.info("the picture is %d x %d now", width, height)
                return
            case SourceLost():
                gone = SourceGone("what was streamed is gone: the display or window was closed")
            case StreamFailed(reason=reason):
                gone = SourceGone(f"the encoder failed: {reason}")
        if not self._gone.done():
            self._gone.set_exception(gone)

    async def _report(self, stream: Stream) -> None:
        meter = Meter(stream, clock_ns())
        while True:
            await asyncio.sleep(self.settings.report_interval_s)
            viewers = {viewer: viewer.report() for viewer in self._viewers.values()}
            report = meter.read(
                clock_ns(),
                viewers=tuple(viewers.values()),
                waiting=len(self._waiting),
                signalling=self._signalling.state.value,
                trouble=self._trouble(),
            )
            for viewer, own in viewers.items():
                viewer.tell(report, own)
            if self._on_report is not None:
                self._on_report(report)

    def _trouble(self) -> str:
        if self._signalling.state is ClientState.JOINED:
            return ""
        return self._signalling.trouble or "joining the room"
