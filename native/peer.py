"""A peer of the hub: one path, one set of keys, one stream sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from native.address import Address
from native.binding import check, ffi, lib, utf8
from native.enums import Codec, Congestion, Controller, SrtpProfile
from native.errors import HandleClosed

if TYPE_CHECKING:
    from native.hub import Hub
    from native.stream import Stream


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """What was negotiated for the stream that a peer is sent. Extension ids: 0 = not negotiated."""

    codec: Codec
    payload_type: int
    ssrc: int
    rtx_payload_type: int = 0
    """0 = no retransmission."""
    rtx_ssrc: int = 0
    fec_payload_type: int = 0
    """FlexFEC-03; 0 = none."""
    fec_ssrc: int = 0
    mid: str = ""
    """Up to 16 bytes."""
    mid_id: int = 0
    abs_send_time_id: int = 0
    transport_cc_id: int = 0
    playout_delay_id: int = 0
    dependency_descriptor_id: int = 0
    playout_min_10ms: int = 0
    """In steps of 10 ms."""
    playout_max_10ms: int = 0
    """In steps of 10 ms."""
    cname: str = ""
    """Up to 63 bytes."""
    pacing_factor: float = 0.0
    """Of a fixed rate: how many times faster than the stream's bitrate a frame leaves; 0 = 4.0."""
    rtx_share: float = 0.0
    """Retransmissions' bound as a share of the bitrate; 0 = 0.25."""
    controller: Controller = Controller.TRAIN
    min_bitrate: int = 0
    """Bits a second that the controller does not go below; 0 = chosen."""
    start_bitrate: int = 0
    """Bits a second that the controller begins with; 0 = chosen."""
    player: bool = False
    """Plays: its link goes first where viewers share an encode."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """A peer since it was opened. Counters only grow."""

    packets: int
    """RTP sent, without retransmissions."""
    bytes: int
    """With headers and tags, without retransmissions."""
    rtx_packets: int
    rtx_bytes: int
    fec_packets: int
    fec_bytes: int
    padding_bytes: int
    """Sent to find out how much the path takes."""
    frames: int
    """Access units sent whole."""
    frames_dropped: int
    """Access units given up because the path was too slow."""
    nacks: int
    nacked_packets: int
    """Packets that NACKs asked for."""
    rtx_refused: int
    """Asked for, but over the budget or no longer kept."""
    plis: int
    firs: int
    rtcp_packets: int
    rtcp_malformed: int
    remb_bps: int
    """The last REMB; 0 = none."""
    feedback_packets: int
    """Transport-wide feedback."""
    rtt_ms: float | None
    """From the last receiver report; None = unknown."""
    loss: float
    """Fraction lost of the last report, 0..1."""
    jitter_ms: float
    reports: int
    """Receiver reports."""
    queued_frames: int
    """Access units waiting or partly sent, now."""
    congestion: Congestion
    target_bps: float
    """What the controller allows altogether; 0 = the rate is fixed."""
    pacing_bps: float
    """How fast a frame leaves."""
    media_bps: float
    """What of the target the encoder may produce."""
    queue_ms: float
    """Estimated queueing delay on the way there, now."""
    network_loss: float
    """0..1, of late, from transport-wide feedback."""
    rung: int
    """Which of the stream's encodes it gets; see `StreamStats.rungs`."""
    player: bool = False
    """It plays: its link goes first where viewers share an encode."""


class Peer:
    """Made by `Hub.open_peer`. It is gone when closed, and when its hub is."""

    def __init__(self, hub: Hub, peer_id: int) -> None:
        self._hub = hub
        self._id = peer_id
        self._closed = False

    @property
    def id(self) -> int:
        """What events call this peer; greater than 0."""
        return self._id

    @property
    def closed(self) -> bool:
        """True once closed, or once its hub is."""
        return self._closed or self._hub.closed

    @property
    def _hub_pointer(self) -> Any:
        if self._closed:
            raise HandleClosed("this peer is closed")
        return self._hub._pointer

    def set_path(self, socket: int, to: Address, channel: int = 0) -> None:
        """Send from the hub's socket of that index to `to`; media from there is this peer's.

        With a `channel`: through the TURN server at `to`, in ChannelData of that number. May be
        called again. InvalidArgument: no such socket.
        """
        hub = self._hub_pointer
        check(lib.pc_peer_set_path(hub, self._id, socket, to.to_native(), channel))

    def set_keys(self, profile: SrtpProfile, send_key: bytes, receive_key: bytes) -> None:
        """Set both directions' master keys, each followed by its master salt, as DTLS exports them.

        InvalidArgument: lengths that are not the profile's.
        """
        if len(send_key) != len(receive_key):
            raise ValueError("send_key and receive_key take the same length")
        hub = self._hub_pointer
        check(lib.pc_peer_set_keys(hub, self._id, profile, send_key, receive_key, len(send_key)))

    def send(self, stream: Stream, settings: MediaSettings) -> None:
        """Start sending the stream, beginning with an IDR.

        InvalidArgument without a path or keys, or with settings out of range.
        """
        native = ffi.new("struct pc_media_settings *")
        native.codec = settings.codec
        native.payload_type = settings.payload_type
        native.rtx_payload_type = settings.rtx_payload_type
        native.ssrc = settings.ssrc
        native.rtx_ssrc = settings.rtx_ssrc
        native.fec_payload_type = settings.fec_payload_type
        native.fec_ssrc = settings.fec_ssrc
        native.mid_id = settings.mid_id
        native.abs_send_time_id = settings.abs_send_time_id
        native.transport_cc_id = settings.transport_cc_id
        native.playout_delay_id = settings.playout_delay_id
        native.dependency_descriptor_id = settings.dependency_descriptor_id
        native.mid = utf8("mid", settings.mid, 17)
        native.playout_min_10ms = settings.playout_min_10ms
        native.playout_max_10ms = settings.playout_max_10ms
        native.cname = utf8("cname", settings.cname, 64)
        native.pacing_factor = settings.pacing_factor
        native.rtx_share = settings.rtx_share
        native.controller = settings.controller
        native.min_bitrate = settings.min_bitrate
        native.start_bitrate = settings.start_bitrate
        native.player = settings.player
        check(lib.pc_peer_send(self._hub_pointer, self._id, stream._pointer, native))

    def set_player(self, player: bool) -> None:
        """It plays from now on, or does no more. `send` says it anew."""
        check(lib.pc_peer_set_player(self._hub_pointer, self._id, player))

    def stats(self) -> PeerStats:
        """Counters since the peer was opened, and the path's last figures."""
        s = ffi.new("struct pc_peer_stats *")
        check(lib.pc_peer_get_stats(self._hub_pointer, self._id, s))
        return PeerStats(
            packets=s.packets,
            bytes=s.bytes,
            rtx_packets=s.rtx_packets,
            rtx_bytes=s.rtx_bytes,
            fec_packets=s.fec_packets,
            fec_bytes=s.fec_bytes,
            padding_bytes=s.padding_bytes,
            frames=s.frames,
            frames_dropped=s.frames_dropped,
            nacks=s.nacks,
            nacked_packets=s.nacked_packets,
            rtx_refused=s.rtx_refused,
            plis=s.plis,
            firs=s.firs,
            rtcp_packets=s.rtcp_packets,
            rtcp_malformed=s.rtcp_malformed,
            remb_bps=s.remb_bps,
            feedback_packets=s.feedback_packets,
            rtt_ms=None if s.rtt_ms < 0 else s.rtt_ms,
            loss=s.loss,
            jitter_ms=s.jitter_ms,
            reports=s.reports,
            queued_frames=s.queued_frames,
            congestion=Congestion(s.congestion),
            target_bps=s.target_bps,
            pacing_bps=s.pacing_bps,
            media_bps=s.media_bps,
            queue_ms=s.queue_ms,
            network_loss=s.network_loss,
            rung=s.rung,
            player=s.player,
        )

    def close(self) -> None:
        """Say BYE where media ran, and forget the peer. Closing twice is fine."""
        if self.closed:
            self._closed = True
            return
        check(lib.pc_peer_close(self._hub._pointer, self._id))
        self._closed = True
