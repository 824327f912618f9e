"""A host: many viewers on one encode, in a room where others may hold the controls.

::

    track = ScreenTrack(display=":0")
    async with Host(track, hub, signalling, on_release=injector.release) as host:
        await host.run()        # until the source is gone, or signalling refuses us for good

    await host.grant_control("anna", "pad:1")       # from another task; see Moderation
    if host.allows("anna", "pad:1"):                # before each input event
        …

What the signalling client says, in order, drives everything: who is let in gets a connection and
an offer, who answers gets the stream, who is granted something may do it. One task reads those
messages, one sends ours, one reports once a second; connections call back on the same loop, so
nothing here needs a lock.

A viewer and its link to signalling are two things. Media goes on when a link is lost, on either
side::

    in the room     connection            then
    waiting         none                  gets nothing: somebody must let it in
    in              on the way            offered; given up after ``answer_timeout_s``
    in              connected             plays
    in              silent                makes room after a while, when places are short
    away            any                   as if it were in: its link may come back
    back            not answered yet      offered again
    back            silent                ICE restart
    again           connected             by its seat: plays on, under its new name
    left, kicked    any                   closed
    may not watch   any                   closed
    any             failed, closed        forgotten; offered anew when it asks

What was granted (:class:`.Grants`) counts until the server takes it back, its time passes, or its
holder is gone. Without a link to the server nobody can take it back: it then counts for as long as
the server keeps our place (``resume_window_s`` of the welcome), and not at all from then on until
the link is there again. A room that has begun anew meanwhile has other grants, or none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from native import (
    SourceLost,
    SourceResized,
    Stream,
    StreamFailed,
    clock_ns,
)
from peer.audience import NOT_ALLOWED, Audience, MakeConnection
from peer.connection import Connection, ConnectionState
from peer.grants import Grants, Release
from peer.host_settings import HostSettings
from peer.hub import MediaHub, StreamEvent
from peer.ice_servers import ice_servers_of
from peer.moderation import Moderation
from peer.report import HostReport, Meter
from peer.requests import RequestRefused
from peer.room_view import RoomView, report_of
from peer.signalling_client import ClientState, SignallingClient
from peer.tracks import NativeTrack
from peer.viewer import Viewer
from signalling import messages

__all__ = ["Host", "HostSettings", "MakeConnection", "SourceGone"]

log = logging.getLogger(__name__)


class SourceGone(Exception):
    """There is nothing to stream any more. Says why."""


class Host(Moderation):
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
        on_release: Callable[[Release], None] | None = None,
        on_welcome: Callable[[messages.Welcome], None] | None = None,
        make_connection: MakeConnection = Connection,
    ) -> None:
        """``on_release`` hears what must be let go of: see :class:`.Grants`.

        ``on_welcome`` hears of each session in the room: the first, and each that had to begin
        anew.
        """
        super().__init__(signalling)
        self.settings = settings or HostSettings()
        self.room = RoomView()
        """The room, as the server tells of it."""
        self.grants = Grants(on_release or (lambda _: None))
        """What the members may do at this machine."""
        self._track = track
        self._hub = hub
        self.on_report = on_report or (lambda _: None)
        self.on_welcome = on_welcome or (lambda _: None)
        self._audience = Audience(self, hub, track, self.settings, make_connection)
        self._barred: set[str] = set()
        self._outbox: asyncio.Queue[messages.ClientMessage] = asyncio.Queue()
        self._linked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._gone: asyncio.Future[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._configuring: asyncio.Task[None] | None = None

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
        return tuple(self._audience.viewers)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The peers for whom there is no place, who came first first."""
        return tuple(self._audience.waiting)

    @property
    def bad_input(self) -> int:
        """How many answers and candidates could not be used."""
        return self._audience.bad_input

    def allows(self, peer: str, capability: messages.Capability) -> bool:
        """May that member do this, now? Takes less than a microsecond."""
        return self.grants.allows(peer, capability, self.room.now())

    async def run(self) -> None:
        """Stream until :meth:`close`.

        Raises :class:`SourceGone` when the source is lost or the encoder fails, and
        :class:`.SignallingRefused` when the server will not have us.
        """
        self._audience.stream = stream = self._track.open(self._hub.native)
        self._gone = asyncio.get_running_loop().create_future()
        self._signalling.on_state = self._link_changed
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
        await self._audience.viewers[peer].connection.close()

    async def close(self) -> None:
        """Tell everyone, close every connection, stop the track. May be called again."""
        self._audience.begin_close()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        await self._signalling.close()
        await self._end_tasks()
        self.grants.suspend()
        await self._audience.close()
        self._track.stop()

    async def _end_tasks(self) -> None:
        for timer in (self._expiry, self._cut_off):
            if timer is not None:
                timer.cancel()
        tasks = [*self._tasks, *([self._configuring] if self._configuring else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Signalling ----------------------------------------------------------------------------------

    async def _read_messages(self) -> None:
        async for message in self._signalling:
            known = self.room.members.get(getattr(message, "peer", ""))
            self.room.take(message)
            await self._take(message, known)
            self._arm_expiry()

    async def _take(
        self, message: messages.ServerMessage, known: messages.PeerJoined | None
    ) -> None:
        """One message. ``known`` is what its ``peer`` was before."""
        match message:
            case messages.Welcome():
                await self._welcomed(message)
            case messages.PeerJoined() if message.peer != self.room.peer:
                await self._came(message, known)
            case messages.PeerLeft(peer=peer, reason=reason):
                self.grants.drop(peer)
                self._barred.discard(peer)
                self._audience.leave(peer, f"left ({reason})")
            case messages.Permissions(peer=peer, capabilities=permissions):
                self.grants.permit(peer, permissions)
                await self._permitted(peer, permissions)
            case messages.Controls(controls=controls):
                self.grants.hand_over(controls)
                self._prefer_players()
            case messages.Answer(peer=peer, sdp=sdp):
                await self._audience.answered(peer, sdp)
            case messages.Candidate(peer=peer, candidate=candidate):
                await self._audience.trickled(peer, candidate)
            case messages.Restart(peer=peer):
                if peer not in self._barred:
                    await self._audience.restart_wanted(peer)
            case messages.Error(code="unknown-peer"):
                log.debug("signalling: %s", message.message)
            case messages.Error():
                log.warning("signalling: %s", message.message)

    async def _send_messages(self) -> None:
        while True:
            message = await self._outbox.get()
            self._linked.clear()
            while not await self._signalling.send(message):
                await self._linked.wait()
                self._linked.clear()

    async def _welcomed(self, welcome: messages.Welcome) -> None:
        """We are in the room, for the first time or again."""
        audience = self._audience
        audience.ice_servers = ice_servers_of([*self.settings.ice_servers, *welcome.ice_servers])
        whole = not (welcome.resumed and welcome.complete)
        guests = {peer: messages.PeerJoined(peer, "viewer") for peer in welcome.peers}
        guests.update({m.peer: m for m in welcome.members if m.role != "host" and not m.waiting})
        if whole:
            self.grants.settle(guests, welcome.controls)
            self._barred &= guests.keys()
            for peer in audience.waiting.keys() - guests.keys():
                del audience.waiting[peer]
            for viewer in audience:
                if viewer.peer not in guests:
                    audience.missing(viewer)
        for viewer in audience:
            if viewer.present:
                audience.link_is_back(viewer)
        if whole:
            for guest in guests.values():
                if guest.peer not in self._barred:
                    await audience.join(guest.peer, guest.seat, guest.traceparent)
        self.grants.resume()
        self._prefer_players()
        if not welcome.resumed:
            self._configuring = asyncio.create_task(self._configure(welcome))
        self._linked.set()

    async def _configure(self, welcome: messages.Welcome) -> None:
        """Run the room as the settings say, and say that we are in it."""
        if self.settings.room != messages.Configure():
            try:
                await self._signalling.request(self.settings.room)
            except RequestRefused as error:
                log.warning("the room keeps its settings: %s", error)
        self.on_welcome(welcome)

    async def _came(self, member: messages.PeerJoined, known: messages.PeerJoined | None) -> None:
        """Someone has joined, or is not what they were."""
        peer = member.peer
        if member.waiting or member.away or member.role == "host" or peer in self._barred:
            return
        viewer = self._audience.viewers.get(peer)
        if viewer is None:
            if peer not in self._audience.waiting:
                await self._audience.join(peer, member.seat, member.traceparent)
        elif known is not None and (known.away or known.role == member.role):
            await self._returned(viewer, member)

    async def _returned(self, viewer: Viewer, member: messages.PeerJoined) -> None:
        """A viewer has another link to the server. Without its seat its picture is gone too: a page
        that was loaded again, or that has given the path up."""
        if member.seat == viewer.seat or viewer.state is ConnectionState.OFFERED:
            self._audience.link_is_back(viewer)
        else:
            self._audience.drop(viewer, "begins anew")
            await self._audience.join(member.peer, traceparent=member.traceparent)

    async def _permitted(self, peer: str, permissions: list[messages.Permission]) -> None:
        """Whoever may not watch, or not any more, is sent nothing."""
        member = self.room.members.get(peer)
        if any(permission.capability == "watch" for permission in permissions):
            if peer in self._barred:
                self._barred.discard(peer)
                if member is not None:
                    await self._came(member, member)
        elif peer not in self._barred and peer != self.room.peer:
            self._barred.add(peer)
            self._audience.leave(peer, "may not watch")
            self.say(messages.Refused(peer, NOT_ALLOWED))

    def _prefer_players(self) -> None:
        for viewer in self._audience:
            viewer.connection.set_player(self.plays(viewer.peer))

    def _link_changed(self, state: ClientState) -> None:
        if state is ClientState.JOINED:
            if self._cut_off is not None:
                self._cut_off.cancel()
                self._cut_off = None
        elif self._cut_off is None:
            loop = asyncio.get_running_loop()
            self._cut_off = loop.call_later(self.room.resume_window_s, self.grants.suspend)

    def _arm_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        end = self.grants.next_end()
        if end is not None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(max(0.0, end - self.room.now()), self._expire)

    def _expire(self) -> None:
        self.grants.expire(self.room.now())
        self._arm_expiry()

    # What the audience asks and tells: see AudienceOwner -----------------------------------------

    def say(self, message: messages.ClientMessage) -> None:
        """Send this to the room, now or when there is a link to it again."""
        self._outbox.put_nowait(message)

    def plays(self, peer: str) -> bool:
        """Does that member hold a control?"""
        return bool(self.room.holds(peer))

    def cut_off(self, peer: str) -> None:
        """Nothing comes from that member any more: what it pressed is let go of."""
        self.grants.let_go(peer)

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
            viewers = {viewer: viewer.report() for viewer in self._audience}
            report = meter.read(
                clock_ns(),
                viewers=tuple(viewers.values()),
                waiting=len(self._audience.waiting),
                signalling=self._signalling.state.value,
                trouble=self._trouble(),
                room=report_of(self.room, self._signalling.rtt_ms),
            )
            for viewer, own in viewers.items():
                viewer.tell(report, own)
            self.on_report(report)

    def _trouble(self) -> str:
        if self._signalling.state is ClientState.JOINED:
            return ""
        return self._signalling.trouble or "joining the room"
