"""The receiving side of a connection: takes an offer, answers it, and has the picture.

::

    connection = ReceivingConnection(hub, events, settings)
    await signal(await connection.accept_offer(offer))    # SdpError: the offer cannot be used
    async for each further candidate: await connection.add_candidate(line)
    frame = await connection.track.recv()                 # an av.VideoFrame
    …
    await connection.close()

The offer may be a host's of ours, a browser's, or any other stack's: see :mod:`peer.sdp_answer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aiortc import RTCDataChannel

from native import PeerBye, ReceiveSettings, Reception, SrtpProfile
from peer.dtls import Certificate
from peer.hub import MediaHub, PeerEvent
from peer.peer_connection import ConnectionState, PeerConnection, TransportSettings
from peer.received_track import ReceivedTrack
from peer.sdp_answer import (
    ReceivedOffer,
    ReceivedVideo,
    Wanted,
    answering_setup,
    read_offer,
    write_answer,
)
from peer.sdp_lines import SdpError
from peer.sdp_parts import DtlsSetup, Transport

__all__ = ["ReceivingConnection", "ReceivingEvents", "ReceivingSettings"]


@dataclass(frozen=True, slots=True)
class ReceivingSettings(TransportSettings):
    """How to receive. `srtp_profiles` with counter mode beside AES-GCM makes us the DTLS server,
    so that AES-GCM is chosen where both sides have it."""

    wanted: Wanted = field(default_factory=Wanted)
    """What is taken of an offer."""
    jitter_target_ms: int = 0
    """A frame is given out not sooner than so after the quickest one's way; 0 = at once."""
    patience_ms: int = 0
    """A hole is waited for so long before an IDR is asked for; 0 = chosen."""
    decode: bool = True
    decode_threads: int = 0
    """Slices decoded at a time; 0 = chosen."""
    picture_depth: int = 0
    """Decoded pictures that wait for the reader; 0 = chosen. 1: always the newest."""
    keep_units: bool = False
    """Keep access units for `Reception.read_unit`: recording."""
    read_pattern: bool = False
    """Look for the test pattern's code in each picture."""


class ReceivingEvents:
    """What a receiving connection tells. Override what is wanted; nothing here may block."""

    def state_changed(self, connection: ReceivingConnection, state: ConnectionState) -> None:
        """The state is new."""

    def path_found(self, connection: ReceivingConnection) -> None:
        """ICE has its first path: the handshake begins."""

    def candidate(self, connection: ReceivingConnection, candidate: str) -> None:
        """Send this candidate to the offerer (the value of a=candidate; "" = that was the last)."""

    def data_channel(self, connection: ReceivingConnection, channel: RTCDataChannel) -> None:
        """The offerer opened a data channel."""

    def media_ended(self, connection: ReceivingConnection) -> None:
        """The offerer's RTCP said BYE."""


class ReceivingConnection(PeerConnection):
    """One sender. Not started before `accept_offer`, and of no use after `close`.

    The caller keeps the hub open for as long as the connection lives.
    """

    _other = "host"

    def __init__(
        self,
        hub: MediaHub,
        events: ReceivingEvents | None = None,
        settings: ReceivingSettings | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.settings = settings or ReceivingSettings()
        self.offer: ReceivedOffer | None = None
        """What was offered, and what we took of it."""
        self.track: ReceivedTrack | None = None
        """The video; None before `accept_offer`, and when the offer has none for us."""
        self._setup: DtlsSetup = "active"
        self._answers = 0
        self._events = events or ReceivingEvents()
        super().__init__(hub, self.settings, certificate, controlling=False)

    @property
    def reception(self) -> Reception | None:
        """What the track reads from: statistics, access units, the frames' times."""
        return self.track.reception if self.track is not None else None

    async def accept_offer(self, sdp: str) -> str:
        """Connect as the offer says, in the background. Returns the answer to send.

        Once connected, a further offer of the same session is an ICE restart (RFC 8445 section 9)
        when its ICE parameters are new. SdpError when an offer cannot be used; the connection then
        waits for a better one, or goes on as it was.
        """
        offer = read_offer(sdp, self.settings.wanted)
        if self.offer is not None:
            return self._accept_again(self.offer, offer)
        self._require("accept_offer", ConnectionState.NEW)
        transport = await self._gather()
        self._require("accept_offer", ConnectionState.GATHERING)
        self.offer = offer
        self._setup = answering_setup(offer.transport.setup, prefer=self._preferred_setup())
        if offer.video is not None:
            settings = self._receive_settings(offer.video)
            self.track = ReceivedTrack(Reception(self._peer, settings))
        if offer.transport.ice_lite:  # RFC 8445 section 6.1.1: who is not lite controls
            self._ice.agent.switch_role(ice_controlling=True)
        self._connect(offer.transport, server=self._setup == "passive", channels=offer.channels)
        return self._answer(offer, transport)

    def continues(self, sdp: str) -> bool:
        """Is this offer for this session, as after an ICE restart? Otherwise it begins another."""
        if self.offer is None or self.state not in (
            ConnectionState.CONNECTED,
            ConnectionState.DISCONNECTED,
        ):
            return False
        try:
            again = read_offer(sdp, self.settings.wanted)
        except SdpError:
            return False
        return _same_session(self.offer, again)

    def _accept_again(self, before: ReceivedOffer, offer: ReceivedOffer) -> str:
        if not _same_session(before, offer):
            raise SdpError("the offer is of another session than the one before")
        self.offer = offer = replace(offer, session_id=before.session_id)
        if (before.transport.ufrag, before.transport.password) == (
            offer.transport.ufrag,
            offer.transport.password,
        ):
            return self._answer(offer, self._ice.transport(self._certificate.fingerprints))
        transport = self._restart()
        self._reconnect(offer.transport)
        return self._answer(offer, transport)

    def _answer(self, offer: ReceivedOffer, transport: Transport) -> str:
        self._answers += 1
        return write_answer(offer, replace(transport, setup=self._setup), self._answers)

    def _preferred_setup(self) -> DtlsSetup:
        # The server of a handshake chooses the profile; see peer/dtls.py.
        profiles = set(self.settings.srtp_profiles)
        mixed = SrtpProfile.AES128_CM_SHA1_80 in profiles and len(profiles) > 1
        return "passive" if mixed else "active"

    def _receive_settings(self, video: ReceivedVideo) -> ReceiveSettings:
        settings = self.settings
        return ReceiveSettings(
            codec=video.codec,
            payload_type=video.payload_type,
            rtx_payload_type=video.rtx_payload_type,
            fec_payload_type=video.fec_payload_type,
            ssrc=video.ssrc,
            rtx_ssrc=video.rtx_ssrc,
            fec_ssrc=video.fec_ssrc,
            transport_cc_id=video.extensions.get("transport-cc", 0),
            abs_send_time_id=video.extensions.get("abs-send-time", 0),
            dependency_descriptor_id=video.extensions.get("dependency-descriptor", 0),
            nack="nack" in video.feedback,
            transport_feedback="transport-cc" in video.feedback,
            jitter_target_ms=settings.jitter_target_ms,
            patience_ms=settings.patience_ms,
            decode=settings.decode,
            decode_threads=settings.decode_threads,
            picture_depth=settings.picture_depth,
            keep_units=settings.keep_units,
            read_pattern=settings.read_pattern,
        )

    async def _close(self) -> None:
        if self.track is not None:
            self.track.stop()
        await super()._close()

    # What PeerConnection tells ------------------------------------------------------------------

    def _path_found(self) -> None:
        self._events.path_found(self)

    def _keys_arrived(self) -> None:
        pass  # the reception has waited for them

    def _peer_event(self, event: PeerEvent) -> None:
        if isinstance(event, PeerBye):
            self._events.media_ended(self)

    def _tell_state(self, state: ConnectionState) -> None:
        self._events.state_changed(self, state)

    def _tell_candidate(self, candidate: str) -> None:
        self._events.candidate(self, candidate)

    def _tell_channel(self, channel: RTCDataChannel) -> None:
        self._events.data_channel(self, channel)


def _same_session(one: ReceivedOffer, other: ReceivedOffer) -> bool:
    """The same DTLS association (RFC 8842 section 4), and the same video."""
    return one.transport.fingerprints == other.transport.fingerprints and one.video == other.video
