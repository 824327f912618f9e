"""One viewer's connection: offer, answer, ICE, DTLS, media from the hub, data channels.

::

    connection = Connection(hub, events, settings, certificate)
    await signal(await connection.create_offer())
    connection.send_stream(stream)              # begins as soon as there are keys
    await connection.accept_answer(answer)      # SdpError: the answer cannot be used
    …
    await connection.close()

From offer to first frame nothing waits that need not: host candidates are in the offer, checks
of the viewer are answered before its answer arrives, DTLS begins with the first pair, and media
with the keys.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from enum import Enum

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities

from native import (
    Address,
    Controller,
    MediaSettings,
    Peer,
    PeerBye,
    PeerStats,
    SrtpProfile,
    Stream,
)
from peer.dtls import GCM_PROFILES, Certificate, DtlsTransport
from peer.hub import MediaHub, PeerEvent
from peer.ice import IceSettings, IceTransport
from peer.sdp import Answer, Offer, SdpError, VideoOffer, read_answer

__all__ = [
    "Connection",
    "ConnectionEvents",
    "ConnectionSettings",
    "ConnectionState",
    "ConnectionStats",
    "InvalidState",
]

logger = logging.getLogger(__name__)

MAX_REMOTE_CHANNELS = 16
"""Data channels that a viewer may open; more are closed at once."""


class ConnectionState(Enum):
    """Where a connection is in its life; `_NEXT` says what may follow."""

    NEW = "new"
    GATHERING = "gathering"
    OFFERED = "offered"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """The viewer stopped answering; it may come back."""
    FAILED = "failed"
    """Given up: `Connection.failure` says why. Only `close()` is left."""
    CLOSED = "closed"


_S = ConnectionState
_ENDS = {_S.FAILED, _S.CLOSED}
_NEXT: dict[ConnectionState, set[ConnectionState]] = {
    _S.NEW: {_S.GATHERING, *_ENDS},
    _S.GATHERING: {_S.OFFERED, *_ENDS},
    _S.OFFERED: {_S.CONNECTING, *_ENDS},
    _S.CONNECTING: {_S.CONNECTED, *_ENDS},
    _S.CONNECTED: {_S.DISCONNECTED, *_ENDS},
    _S.DISCONNECTED: {_S.CONNECTED, *_ENDS},
    _S.FAILED: {_S.CLOSED},
    _S.CLOSED: set(),
}


class InvalidState(RuntimeError):
    """A method was called in a state that it is not for. The text names both."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How a viewer is connected."""

    video: VideoOffer = field(default_factory=VideoOffer)
    """The video to offer. Each connection needs one of its own: SSRCs are in it."""
    data_channel: bool = True
    """Offer data channels."""
    ice: IceSettings = field(default_factory=IceSettings)
    """Servers, and paces."""
    srtp_profiles: tuple[SrtpProfile, ...] = GCM_PROFILES
    """SRTP protection profiles, in order of preference."""
    playout_delay_ms: tuple[int, int] = (0, 0)
    """Least and most delay that the viewer may add before it shows a frame, in steps of 10 ms;
    (0, 0) makes browsers show frames at once."""
    pacing_factor: float = 0.0
    """Sending rate over the stream's bitrate; 0 = the hub's default."""
    rtx_share: float = 0.0
    """Bound of retransmissions as a share of the bitrate; 0 = the hub's default."""
    controller: Controller = Controller.TRAIN
    """Who finds the rate that the viewer is sent at."""
    min_bitrate: int = 0
    """Bits a second that the controller does not go below; 0 = the hub's default."""
    start_bitrate: int = 0
    """Bits a second that the controller begins with; 0 = the hub's default."""
    player: bool = False
    """The viewer plays: its link goes first where viewers share an encode."""
    gather_wait: float = 0.0
    """Seconds that an offer waits for STUN and TURN servers; 0 = their candidates are trickled."""
    handshake_timeout: float = 15.0
    """Seconds that DTLS may take."""


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """A connection now."""

    state: ConnectionState
    path: Address | None
    """Where the hub sends to: the viewer, or its TURN server."""
    relayed: bool
    connect_ms: float | None
    """From the answer to the keys."""
    srtp_profile: SrtpProfile | None
    media: PeerStats | None
    """The hub's counters; None once the peer is gone."""


class ConnectionEvents:
    """What a connection tells its owner. Override what is wanted; nothing here may block."""

    def state_changed(self, connection: Connection, state: ConnectionState) -> None:
        """The state is new."""

    def candidate(self, connection: Connection, candidate: str) -> None:
        """Send this candidate to the viewer (the value of a=candidate; "" = that was the last)."""

    def data_channel(self, connection: Connection, channel: RTCDataChannel) -> None:
        """The viewer opened a data channel."""

    def media_arrived(self, connection: Connection) -> None:
        """The first receiver report is here."""

    def media_ended(self, connection: Connection) -> None:
        """The viewer's RTCP said BYE."""


class Connection:
    """One viewer. Not started before `create_offer`, and of no use after `close`.

    The caller keeps the hub and streams open for as long as the connection lives.
    """

    def __init__(
        self,
        hub: MediaHub,
        events: ConnectionEvents | None = None,
        settings: ConnectionSettings | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.settings = settings or ConnectionSettings()
        self.failure = ""
        """Why the state is `FAILED`, in words."""
        self.answer: Answer | None = None
        """What the viewer answered."""
        self._hub = hub
        self._events = events or ConnectionEvents()
        self._state = ConnectionState.NEW
        self._offer: Offer | None = None
        self._stream: Stream | None = None
        self._path: tuple[Address, int] | None = None
        self._keyed: SrtpProfile | None = None
        self._answered_at = 0.0
        self._connect_ms: float | None = None
        self._remote_channels = 0
        self._run_task: asyncio.Task[None] | None = None
        self._close_task: asyncio.Task[None] | None = None
        self._certificate = certificate or Certificate()
        self._ice = IceTransport(hub, self.settings.ice, self)
        self._dtls = DtlsTransport(
            self._ice.agent,
            self._certificate,
            profiles=self.settings.srtp_profiles,
            on_closed=self._closed_by_viewer,
        )
        self._sctp = RTCSctpTransport(self._dtls.session)
        self._sctp.on("datachannel", self._channel_opened)
        self._peer: Peer = hub.open_peer(self._peer_event)

    @property
    def state(self) -> ConnectionState:
        """Where it is in its life."""
        return self._state

    async def create_offer(self) -> str:
        """The session description to send to the viewer."""
        self._require("create_offer", ConnectionState.NEW)
        self._set_state(ConnectionState.GATHERING)
        self._ice.gather()
        if self.settings.gather_wait > 0:
            try:
                await asyncio.wait_for(self._ice.wait_gathered(), self.settings.gather_wait)
            except TimeoutError:
                logger.info("some candidates are not gathered yet: they will be trickled")
        self._require("create_offer", ConnectionState.GATHERING)
        self._offer = Offer(
            self._ice.transport(self._certificate.fingerprints),
            self.settings.video,
            self.settings.data_channel,
        )
        self._set_state(ConnectionState.OFFERED)
        return self._offer.to_sdp()

    async def accept_answer(self, sdp: str) -> None:
        """Connect as the viewer's answer says, in the background.

        SdpError when it cannot be used; the connection then waits for a better one.
        """
        self._require("accept_answer", ConnectionState.OFFERED)
        assert self._offer is not None
        answer = read_answer(sdp, self._offer)
        if answer.video is None and self._stream is not None:
            raise SdpError("the viewer takes no video, or none of the offered formats")
        self.answer = answer
        self._answered_at = time.monotonic()
        self._set_state(ConnectionState.CONNECTING)
        self._run_task = asyncio.create_task(self._run(answer))

    async def add_candidate(self, line: str) -> None:
        """A candidate of the viewer, at any time (the value of a=candidate; "" = the last).

        SdpError when it is malformed.
        """
        if self._state not in _ENDS:
            await self._ice.add_candidate(line)

    def send_stream(self, stream: Stream) -> None:
        """Send this stream, from the connection's keys on. Replaces an earlier one."""
        if self._state in _ENDS:
            raise InvalidState(f"send_stream is not for a connection that is {self._state.value}")
        if self.answer is not None and self.answer.video is None:
            raise InvalidState("send_stream is not for a viewer that takes no video")
        self._stream = stream
        if self._keyed is not None:
            self._start_media()

    def create_data_channel(
        self,
        label: str,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        protocol: str = "",
    ) -> RTCDataChannel:
        """A data channel to the viewer; it opens once the connection is there.

        ValueError: `label` and `protocol` take ASCII.
        """
        if self._state in _ENDS:
            raise InvalidState(
                f"create_data_channel is not for a connection that is {self._state.value}"
            )
        for name, text in (("label", label), ("protocol", protocol)):
            if not text.isascii():  # aiortc counts characters where RFC 8832 wants bytes
                raise ValueError(f"{name} takes ASCII, not {text!r}")
        return RTCDataChannel(
            self._sctp,
            RTCDataChannelParameters(
                label=label, ordered=ordered, maxRetransmits=max_retransmits, protocol=protocol
            ),
        )

    def stats(self) -> ConnectionStats:
        """The connection now."""
        return ConnectionStats(
            state=self._state,
            path=self._path[0] if self._path else None,
            relayed=self._ice.relayed,
            connect_ms=self._connect_ms,
            srtp_profile=self._keyed,
            media=None if self._peer.closed else self._peer.stats(),
        )

    async def close(self) -> None:
        """Say BYE and close_notify, end every task, forget the peer. Closing twice is fine."""
        if self._close_task is None:
            self._close_task = asyncio.create_task(self._close())
        await asyncio.shield(self._close_task)

    # What ICE says ----------------------------------------------------------------------------

    def on_path(self, socket: int, to: Address, channel: int) -> None:
        if not self._peer.closed:
            self._path = (to, channel)
            self._peer.set_path(socket, to, channel)

    def on_candidate(self, candidate: str) -> None:
        # Before the offer is made they go into it.
        if self._offer is not None and self._state not in _ENDS:
            self._events.candidate(self, candidate)

    def on_consent(self, fresh: bool) -> None:
        if fresh and self._state is ConnectionState.DISCONNECTED:
            self._set_state(ConnectionState.CONNECTED)
        elif not fresh and self._state is ConnectionState.CONNECTED:
            self._set_state(ConnectionState.DISCONNECTED)

    def on_expired(self) -> None:
        self._fail("the viewer stopped answering")

    # ------------------------------------------------------------------------------------------

    async def _run(self, answer: Answer) -> None:
        try:
            await self._ice.connect(answer.transport)
            keys = await self._dtls.start(
                answer.transport.fingerprints,
                server=answer.transport.setup == "active",
                timeout=self.settings.handshake_timeout,
            )
            self._peer.set_keys(keys.profile, keys.send, keys.receive)
            self._keyed = keys.profile
            self._connect_ms = (time.monotonic() - self._answered_at) * 1000
            if self._stream is not None:
                self._start_media()
            self._set_state(ConnectionState.CONNECTED)
            if answer.data_channel:
                await self._sctp.start(
                    RTCSctpCapabilities(maxMessageSize=answer.max_message_size), answer.sctp_port
                )
        except ConnectionError as error:
            self._fail(str(error))

    def _start_media(self) -> None:
        assert self._stream is not None
        assert self.answer is not None
        assert self.answer.video is not None
        offer, video = self.settings.video, self.answer.video
        least, most = self.settings.playout_delay_ms
        self._peer.send(
            self._stream,
            MediaSettings(
                codec=video.codec,
                payload_type=video.payload_type,
                ssrc=offer.ssrc,
                rtx_payload_type=video.rtx_payload_type,
                rtx_ssrc=offer.rtx_ssrc if video.rtx_payload_type else 0,
                fec_payload_type=video.fec_payload_type,
                fec_ssrc=offer.fec_ssrc if video.fec_payload_type else 0,
                mid=video.mid,
                mid_id=video.extensions.get("mid", 0),
                abs_send_time_id=video.extensions.get("abs-send-time", 0),
                transport_cc_id=video.extensions.get("transport-cc", 0),
                playout_delay_id=video.extensions.get("playout-delay", 0),
                dependency_descriptor_id=video.extensions.get("dependency-descriptor", 0),
                playout_min_10ms=least // 10,
                playout_max_10ms=most // 10,
                cname=offer.cname,
                pacing_factor=self.settings.pacing_factor,
                rtx_share=self.settings.rtx_share,
                controller=self.settings.controller,
                min_bitrate=self.settings.min_bitrate,
                start_bitrate=self.settings.start_bitrate,
                player=self.settings.player,
            ),
        )

    def _fail(self, reason: str) -> None:
        if self._state in _ENDS:
            return
        self.failure = reason
        # Nothing may be sent without consent (RFC 7675 section 5.1).
        self._hub.close_peer(self._peer)
        self._set_state(ConnectionState.FAILED)

    def _closed_by_viewer(self) -> None:
        if self._close_task is None:
            self._close_task = asyncio.create_task(self._close())

    async def _close(self) -> None:
        if self._run_task is not None:
            self._run_task.cancel()
            await asyncio.wait([self._run_task])
        self._hub.close_peer(self._peer)
        await self._sctp.stop()
        await self._dtls.stop()
        await self._ice.close()
        self._set_state(ConnectionState.CLOSED)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._remote_channels += 1
        if self._remote_channels > MAX_REMOTE_CHANNELS:
            channel.close()
        else:
            self._events.data_channel(self, channel)

    def _peer_event(self, event: PeerEvent) -> None:
        if isinstance(event, PeerBye):
            self._events.media_ended(self)
        else:
            self._events.media_arrived(self)

    def _require(self, method: str, state: ConnectionState) -> None:
        if self._state is not state:
            raise InvalidState(f"{method} is not for a connection that is {self._state.value}")

    def _set_state(self, state: ConnectionState) -> None:
        assert state in _NEXT[self._state], f"{self._state} -> {state}"
        logger.debug("connection %s: %s -> %s", self._peer.id, self._state.value, state.value)
        self._state = state
        self._events.state_changed(self, state)
