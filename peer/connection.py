"""One viewer's connection: offer, answer, ICE, DTLS, media from the hub, data channels.

::

    connection = Connection(hub, events, settings, certificate)
    await signal(await connection.create_offer())
    connection.send_stream(stream)              # begins as soon as there are keys
    await connection.accept_answer(answer)      # SdpError: the answer cannot be used
    …
    await signal(await connection.restart_ice())   # the viewer has moved; its answer as above
    …
    await connection.close()

From offer to first frame nothing waits that need not: host candidates are in the offer, checks
of the viewer are answered before its answer arrives, DTLS begins with the first pair, and media
with the keys.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from aiortc import RTCDataChannel

from native import Controller, MediaSettings, PeerBye, Stream
from peer.dtls import Certificate
from peer.hub import MediaHub, PeerEvent
from peer.peer_connection import (
    MAX_REMOTE_CHANNELS,
    ConnectionState,
    ConnectionStats,
    InvalidState,
    PeerConnection,
    TransportSettings,
)
from peer.sdp import Answer, Offer, SdpError, VideoOffer, read_answer

__all__ = [
    "MAX_REMOTE_CHANNELS",
    "Connection",
    "ConnectionEvents",
    "ConnectionSettings",
    "ConnectionState",
    "ConnectionStats",
    "InvalidState",
]

WATCH_INTERVAL = 1.0
"""Seconds without any RTCP of a viewer that receives, until its path is checked."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings(TransportSettings):
    """How a viewer is connected."""

    video: VideoOffer = field(default_factory=VideoOffer)
    """The video to offer. Each connection needs one of its own: SSRCs are in it."""
    data_channel: bool = True
    """Offer data channels."""
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


class Connection(PeerConnection):
    """One viewer. Not started before `create_offer`, and of no use after `close`.

    The caller keeps the hub and streams open for as long as the connection lives.
    """

    _other = "viewer"

    def __init__(
        self,
        hub: MediaHub,
        events: ConnectionEvents | None = None,
        settings: ConnectionSettings | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.settings = settings or ConnectionSettings()
        self.answer: Answer | None = None
        """What the viewer answered."""
        self._events = events or ConnectionEvents()
        self._offer: Offer | None = None
        self._stream: Stream | None = None
        self._restarting = False
        self._watch_task: asyncio.Task[None] | None = None
        super().__init__(hub, self.settings, certificate, controlling=True)

    async def create_offer(self) -> str:
        """The session description to send to the viewer."""
        self._require("create_offer", ConnectionState.NEW)
        transport = await self._gather()
        self._require("create_offer", ConnectionState.GATHERING)
        self._offer = Offer(transport, self.settings.video, self.settings.data_channel)
        self._set_state(ConnectionState.OFFERED)
        return self._offer.to_sdp()

    def restart_ice(self) -> str:
        """Another offer of the running session, when the viewer is to be found anew.

        Its answer goes to `accept_answer`. Media goes on by the old path until there is a new one;
        DTLS, keys and SSRCs stay. A restart that was not answered yet is forgotten.
        """
        transport = self._restart()
        assert self._offer is not None
        self._offer = replace(self._offer, transport=transport, version=self._offer.version + 1)
        self._restarting = True
        return self._offer.to_sdp()

    async def accept_answer(self, sdp: str) -> None:
        """Connect as the viewer's answer says, in the background.

        SdpError when it cannot be used; the connection then waits for a better one.
        """
        if self._restarting:
            self._accept_restart(sdp)
            return
        self._require("accept_answer", ConnectionState.OFFERED)
        assert self._offer is not None
        answer = read_answer(sdp, self._offer)
        if answer.video is None and self._stream is not None:
            raise SdpError("the viewer takes no video, or none of the offered formats")
        self.answer = answer
        self._connect(
            answer.transport,
            server=answer.transport.setup == "active",
            channels=answer.channels,
        )

    def send_stream(self, stream: Stream) -> None:
        """Send this stream, from the connection's keys on. Replaces an earlier one."""
        self._require_open("send_stream")
        if self.answer is not None and self.answer.video is None:
            raise InvalidState("send_stream is not for a viewer that takes no video")
        self._stream = stream
        if self._keyed is not None:
            self._start_media()

    def set_player(self, player: bool) -> None:
        """The viewer plays from now on, or does no more; see :class:`ConnectionSettings`."""
        if player == self.settings.player or self.state is ConnectionState.CLOSED:
            return
        self.settings = replace(self.settings, player=player)
        if self._keyed is not None and self._stream is not None:
            self._peer.set_player(player)

    # What PeerConnection tells ------------------------------------------------------------------

    def _keys_arrived(self) -> None:
        if self._stream is not None:
            self._start_media()

    def _came_back(self) -> None:
        # What was sent meanwhile is lost: the viewer would ask for this one round trip later.
        if self._stream is not None:
            self._stream.request_idr()

    def _peer_event(self, event: PeerEvent) -> None:
        if isinstance(event, PeerBye):
            self._events.media_ended(self)
        else:
            self._events.media_arrived(self)

    def _tell_state(self, state: ConnectionState) -> None:
        self._events.state_changed(self, state)

    def _tell_candidate(self, candidate: str) -> None:
        self._events.candidate(self, candidate)

    def _tell_channel(self, channel: RTCDataChannel) -> None:
        self._events.data_channel(self, channel)

    # --------------------------------------------------------------------------------------------

    def _accept_restart(self, sdp: str) -> None:
        assert self._offer is not None
        assert self.answer is not None
        answer = read_answer(sdp, self._offer)
        if answer.video != self.answer.video:
            raise SdpError("the viewer wants another video: an ICE restart changes the path alone")
        if answer.transport.fingerprints != self.answer.transport.fingerprints:
            raise SdpError("the viewer shows another certificate: an ICE restart keeps the session")
        if answer.transport.ufrag == self.answer.transport.ufrag:
            raise SdpError("the viewer keeps its credentials: an ICE restart takes new ones")
        self._restarting = False
        self.answer = answer
        self._reconnect(answer.transport)

    async def _watch(self) -> None:
        """Notice silence sooner than the next consent check would."""
        before = 0
        while not self._peer.closed:
            heard = self._peer.stats().rtcp_packets
            if heard == before > 0:
                self.check_path()
            before = heard
            await asyncio.sleep(WATCH_INTERVAL)

    async def _close(self) -> None:
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.wait([self._watch_task])
        await super()._close()

    def _start_media(self) -> None:
        if self._watch_task is None:
            self._watch_task = asyncio.create_task(self._watch())
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
