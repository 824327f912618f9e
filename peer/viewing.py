"""A viewer's session: be in a room, answer the host's offers, and have its picture.

::

    viewing = Viewing(hub, signalling, on_track=show)
    await viewing.run()                             # until the host ends the stream

A link to the server that breaks costs nothing: the client resumes the session, and the picture
goes on meanwhile. A picture that breaks is begun again after a pause: another link to the server,
which goes on with the session but not with the seat, and the host makes a fresh offer. What does
not get better in time ends with :class:`NoPicture`.

::

              welcome           offer               keys
    JOINING ──────────▶ WAITING ─────▶ CONNECTING ──────▶ CONNECTED ◀──▶ SILENT
      │ ▲ ▲ welcome                        │                  │             │
      ▼ │ │                                │                  │             │
    KNOCKING            after a pause      │                  │             │
        └──────────────────────────────────┴──────────────────┴─────────────┘
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from aiortc import RTCDataChannel

from native import Reception
from peer.dtls import Certificate
from peer.gathering import IceServer
from peer.hub import MediaHub
from peer.ice_servers import ice_servers_of
from peer.peer_connection import ConnectionState, InvalidState
from peer.receiving import ReceivingConnection, ReceivingEvents, ReceivingSettings
from peer.requests import RequestRefused
from peer.room_view import RoomView
from peer.sdp_lines import SdpError
from peer.signalling_client import ClientState, SignallingClient
from peer.spans import Spans
from peer.view_words import news_of
from signalling import messages

__all__ = ["NoPicture", "Viewing", "ViewingSettings", "ViewingState"]

log = logging.getLogger(__name__)

HANG_UP_S = 0.5
"""So long the server gets to say why, after the host has closed the connection."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
"""Before the room is joined again; the pause doubles while no picture comes."""

_WATCH_S = 0.1


class ViewingState(enum.Enum):
    """How far the way to the picture is gone."""

    JOINING = "joining"
    """There is no link to the server yet."""
    KNOCKING = "waiting to be let in"
    WAITING = "waiting for the host"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    SILENT = "silent"
    """The host does not answer any more; it may come back."""
    CLOSED = "closed"


class NoPicture(Exception):
    """There was no picture for so long that viewing ended. The text says why."""

    def __init__(self, state: ViewingState, reason: str, seen: bool) -> None:
        super().__init__(reason)
        self.state = state
        """How far it had come."""
        self.seen = seen
        """There was a picture before."""


@dataclass(frozen=True, slots=True)
class ViewingSettings:
    """How to view."""

    receiving: ReceivingSettings = field(default_factory=ReceivingSettings)
    """ICE servers are added from the server's welcome."""
    patience_s: float = 15.0
    """Without a picture for so long, viewing ends; who waits to be let in waits on."""
    asks: tuple[messages.Control, ...] = ()
    """The controls to ask for."""


class Viewing(ReceivingEvents):
    """One viewer of one room. Run it once. The hub and the client stay the caller's.

    `on_track` hears of each connection that has a track: the first, and each that replaces it.
    `on_message` hears the texts of the host's data channel "stats", `on_news` sentences about what
    has become of us in the room.
    """

    def __init__(
        self,
        hub: MediaHub,
        signalling: SignallingClient,
        settings: ViewingSettings | None = None,
        *,
        on_track: Callable[[ReceivingConnection], None] | None = None,
        on_message: Callable[[str], None] | None = None,
        on_news: Callable[[str], None] | None = None,
        spans: Spans | None = None,
    ) -> None:
        """``spans`` are told of the way to the first picture, and then reported."""
        self.settings = settings or ViewingSettings()
        self.connection: ReceivingConnection | None = None
        """The current one."""
        self.refusal = ""
        """Why the host has no place for us, in its words."""
        self.seen = False
        """There was a picture."""
        self.room = RoomView()
        """The room, as far as we may see it."""
        self._hub = hub
        self._client = signalling
        self._on_track = on_track or (lambda _: None)
        self._on_message = on_message or (lambda _: None)
        self._on_news = on_news or (lambda _: None)
        self._spans = spans or Spans("")
        self._certificate = Certificate()
        self._ice_servers: tuple[IceServer, ...] = ()
        self._host_present = False
        self._host = ""
        self._answered: tuple[str, messages.Answer] | None = None
        self._outbox: asyncio.Queue[messages.ClientMessage] = asyncio.Queue()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._broken = asyncio.Event()
        self._failure = ""
        self._pause = FIRST_PAUSE_S
        self._background: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> ViewingState:
        """How far the way to the picture is gone."""
        if self._ended.done():
            return ViewingState.CLOSED
        match self.connection.state if self.connection else None:
            case ConnectionState.GATHERING | ConnectionState.CONNECTING:
                return ViewingState.CONNECTING
            case ConnectionState.CONNECTED:
                return ViewingState.CONNECTED
            case ConnectionState.DISCONNECTED:
                return ViewingState.SILENT
        match self._client.state:
            case ClientState.KNOCKING:
                return ViewingState.KNOCKING
            case ClientState.JOINED:
                return ViewingState.WAITING
        return ViewingState.JOINING

    @property
    def trouble(self) -> str:
        """What is in the way of the picture now, in words; empty while nothing is."""
        state = self.state
        if state in (ViewingState.CONNECTED, ViewingState.CLOSED):
            return ""
        if state is ViewingState.SILENT:
            return "the host does not answer"
        if state is ViewingState.CONNECTING:
            return self._failure or "no path to the host answers yet"
        if state is ViewingState.JOINING:
            return self._client.trouble or "the server does not answer"
        if state is ViewingState.KNOCKING:
            return "somebody of the room must let you in"
        if self.refusal:
            return self.refusal
        if self._failure:
            return self._failure
        if self._host_present:
            return "the host makes no offer"
        return "there is no host in this room"

    @property
    def rtt_ms(self) -> float | None:
        """The round trip to the signalling server, in milliseconds."""
        return self._client.rtt_ms

    async def run(self) -> None:
        """View until the host ends the stream, or :meth:`close`.

        Raises :class:`NoPicture`, and :class:`.SignallingRefused` when the server will not have us.
        """
        tasks = [
            asyncio.create_task(work, name=f"viewing-{name}")
            for name, work in (
                ("messages", self._read_messages()),
                ("watch", self._watch()),
                ("mend", self._mend()),
                ("outbox", self._send_messages()),
            )
        ]
        try:
            await asyncio.wait({*tasks, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """Leave the room, close the connection, end :meth:`run`. May be called again."""
        self._end()
        await self._client.close()
        if self.connection is not None:
            await self.connection.close()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._background, *self._asking, return_exceptions=True)

    async def _mend(self) -> None:
        """Begin anew when the picture is lost, unless the host has done so meanwhile."""
        while True:
            await self._broken.wait()
            self._broken.clear()
            broken = self.connection
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            if self.connection is broken:
                self._client.seat = ""
                await self._client.reconnect()

    async def _watch(self) -> None:
        """Raises :class:`NoPicture` when none has come for too long."""
        loop = asyncio.get_running_loop()
        seen_at, count = loop.time(), 0
        while True:
            await asyncio.sleep(_WATCH_S)
            reception = self.connection.reception if self.connection else None
            now = 0 if reception is None or reception.closed else reception.stats().units
            if now > count:
                seen_at, self.seen, self._pause = loop.time(), True, FIRST_PAUSE_S
            count = now
            if count and reception is not None and self._spans.traceparent:
                self._report_first_frame(reception)
            if self.state is ViewingState.KNOCKING:
                seen_at = loop.time()
            if loop.time() - seen_at > self.settings.patience_s:
                reason = self.trouble or "connected, but the host sends no picture"
                raise NoPicture(self.state, reason, self.seen)

    def _report_first_frame(self, reception: Reception) -> None:
        """As soon as there is one, and somebody to tell."""
        decoded = self.settings.receiving.decode
        first = next((f for f in reception.frames() if f.decoded_ns or not decoded), None)
        if first is None or self._client.state is not ClientState.JOINED:
            return
        self._spans.first_frame(first.complete_ns, first.decoded_ns)
        trace = self._spans.take()
        if trace is not None:
            self._outbox.put_nowait(messages.Trace(trace.spans))

    # Signalling ----------------------------------------------------------------------------------

    async def _read_messages(self) -> None:
        async for message in self._client:
            news = news_of(message, self.room)
            self.room.take(message)
            for words in news:
                self._on_news(words)
            match message:
                case messages.Welcome():
                    self._welcomed(message)
                case messages.PeerJoined(role="host", away=away):
                    self._host_present = not away
                case messages.PeerLeft(role="host", reason=reason):
                    self._host_present = False
                    if reason == "bye":
                        log.info("the host has ended the stream")
                        self._end()
                case messages.Offer():
                    await self._offered(message)
                case messages.Candidate():
                    await self._trickled(message)
                case messages.Refused(message=text):
                    self.refusal = text
                case messages.Error():
                    log.warning("signalling: %s", message.message)

    async def _send_messages(self) -> None:
        while True:
            message = await self._outbox.get()
            if not await self._client.send(message):
                log.debug("not sent, signalling is down: %s", type(message).__name__)

    def _welcomed(self, welcome: messages.Welcome) -> None:
        self._host_present = welcome.host_present
        if self.connection is None:
            self._spans.begin("host.offer")
        self._ice_servers = ice_servers_of(welcome.ice_servers)
        self.refusal = ""
        if self.state is ViewingState.SILENT:
            self._outbox.put_nowait(messages.Restart(self._host))  # the last one may be lost
        if not welcome.resumed:
            for control in self.settings.asks:
                task = asyncio.create_task(self._ask(control))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _ask(self, control: messages.Control) -> None:
        try:
            await self._client.request(messages.ControlRequest(control))
        except RequestRefused as error:
            self._on_news(f"{control} cannot be had: {error}")

    async def _offered(self, offer: messages.Offer) -> None:
        self.refusal = self._failure = ""
        self._spans.end("host.offer")
        self._host = offer.peer
        if self._answered is not None and self._answered[0] == offer.sdp:
            self._outbox.put_nowait(self._answered[1])  # it may have been lost
            return
        connection = self.connection
        if connection is None or not connection.continues(offer.sdp):
            connection = self._replace_connection()
        before = connection.track
        self._spans.begin("offer.answer")
        try:
            answer = await connection.accept_offer(offer.sdp)
        except (SdpError, InvalidState) as error:
            log.warning("dropped a bad offer: %s", error)
            self._failure = f"the host's offer cannot be used: {error}"
            return
        self._spans.end("offer.answer")
        self._answered = (offer.sdp, messages.Answer(offer.peer, answer))
        self._outbox.put_nowait(self._answered[1])
        self._client.seat = offer.seat
        if connection.track is None:
            self._failure = "the host offers no video in a codec that is wanted"
        elif connection.track is not before:
            self._on_track(connection)

    async def _trickled(self, message: messages.Candidate) -> None:
        if self.connection is None or message.peer != self._host:
            return
        try:
            await self.connection.add_candidate(message.candidate)
        except SdpError as error:
            log.warning("dropped a bad candidate: %s", error)

    def _replace_connection(self) -> ReceivingConnection:
        if self.connection is not None:
            self._spawn(self.connection.close())
        base = self.settings.receiving
        ice = replace(base.ice, servers=(*base.ice.servers, *self._ice_servers))
        self.connection = ReceivingConnection(
            self._hub, self, replace(base, ice=ice), self._certificate
        )
        return self.connection

    # The connection ------------------------------------------------------------------------------

    def state_changed(self, connection: ReceivingConnection, state: ConnectionState) -> None:
        if connection is not self.connection or self._ended.done():
            return
        if state in (ConnectionState.FAILED, ConnectionState.CLOSED):
            self._answered = None
        log.info("the connection is %s", state.value)
        if state is ConnectionState.CONNECTING:
            self._spans.begin("ice")
        elif state is ConnectionState.CONNECTED:
            self._spans.end("dtls")
            self._spans.begin("first-frame.receive")
        if state is ConnectionState.FAILED:
            self._failure = connection.failure
            self._broken.set()
        elif state is ConnectionState.DISCONNECTED:
            self._outbox.put_nowait(messages.Restart(self._host))
        elif state is ConnectionState.CLOSED:
            self._failure = "the host has hung up"
            self._spawn(self._hung_up(connection))

    def path_found(self, connection: ReceivingConnection) -> None:
        if connection is self.connection:
            self._spans.end("ice")
            self._spans.begin("dtls")

    def candidate(self, connection: ReceivingConnection, candidate: str) -> None:
        if connection is self.connection:
            video = connection.offer.video if connection.offer else None
            mid = video.mid if video else "0"
            self._outbox.put_nowait(messages.Candidate(self._host, candidate, mid[:16]))

    def data_channel(self, connection: ReceivingConnection, channel: RTCDataChannel) -> None:
        if channel.label == "stats":
            channel.on("message", self._message)

    async def _hung_up(self, connection: ReceivingConnection) -> None:
        # The server may be about to say that the host has left.
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), HANG_UP_S)
        if connection is self.connection:
            self._broken.set()

    def _message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._on_message(message)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
