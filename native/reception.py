"""Receptions: what a peer sends us, as decoded pictures and as encoded access units.

    reception = Reception(peer, ReceiveSettings(Codec.H264, payload_type=96, rtx_payload_type=97))
    loop.add_reader(reception.fileno(), on_readable)

    def on_readable():
        while (picture := reception.read_picture()) is not None:
            show(picture.y, picture.u, picture.v)

Packets, repairs, feedback and decoding stay in the core. Python sees pictures when it reads them;
one that it does not read in time makes way for the newest.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from native.binding import Handle, check, ffi, lib, utf8
from native.enums import Codec
from native.pattern import PatternCode
from native.peer import Peer

if TYPE_CHECKING:  # numpy and av take longer to import than the rest of this package
    import av
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]

_FIRST_CAPACITY = 256 * 1024
_LARGEST_CAPACITY = 64 * 1024 * 1024
_COLOUR_BT709 = 1  # ITU-T H.273 MatrixCoefficients
_COLOUR_BT601 = (5, 6)


@dataclass(frozen=True, slots=True)
class ReceiveSettings:
    """What was negotiated for the stream that comes, and what to make of it.

    Extension ids: 0 = not negotiated.
    """

    codec: Codec
    payload_type: int
    rtx_payload_type: int = 0
    """0 = no retransmission."""
    fec_payload_type: int = 0
    """FlexFEC-03; 0 = none."""
    ssrc: int = 0
    """0 = the SSRC that brings the payload type; the same for `rtx_ssrc` and `fec_ssrc`."""
    rtx_ssrc: int = 0
    fec_ssrc: int = 0
    transport_cc_id: int = 0
    abs_send_time_id: int = 0
    dependency_descriptor_id: int = 0
    nack: bool = True
    """Ask for lost packets again."""
    transport_feedback: bool = True
    """Say when each packet arrived, where `transport_cc_id` was negotiated."""
    jitter_target_ms: int = 0
    """A frame is given out not sooner than so after the quickest one's way; at most 2000."""
    patience_ms: int = 0
    """A hole is waited for so long before an IDR is asked for; 0 = chosen."""
    decode: bool = True
    decode_threads: int = 0
    """Slices decoded at a time; 0 = chosen."""
    picture_depth: int = 0
    """Decoded pictures that wait for the reader, 1..16; 0 = 4. 1: always the newest."""
    keep_units: bool = False
    """Keep access units for `Reception.read_unit`."""
    read_pattern: bool = False
    """Look for the test pattern's code in each picture."""
    cname: str = ""
    """Up to 63 bytes."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """One access unit's way. Times are CLOCK_MONOTONIC nanoseconds, here."""

    id: int
    """Counts what the network side gave out, from 0."""
    rtp_time: int
    """90 kHz, modulo 2**32."""
    bytes: int
    """H.264 with start codes."""
    idr: bool
    recovered: bool
    """Retransmission or FEC brought a part of it."""
    first_packet_ns: int
    complete_ns: int
    decoded_ns: int
    """0 = no picture: it was dropped, did not decode, or `decode` is off."""
    pattern: PatternCode | None
    """The test pattern's code in the picture, with `read_pattern`."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture: I420 without padding, in memory of its own."""

    frame: ReceivedFrame
    width: int
    height: int
    matrix: int
    """MatrixCoefficients of ITU-T H.273: 1 = BT.709, 5 and 6 = BT.601, 2 = not said."""
    full_range: bool
    data: Plane
    """Y, then U, then V: width x height bytes, and twice half of that each way."""

    @cached_property
    def y(self) -> Plane:
        """Luma, height x width. A view."""
        return self.data[: self.width * self.height].reshape(self.height, self.width)

    @cached_property
    def u(self) -> Plane:
        """Cb, of half the size each way. A view."""
        return self._chroma(0)

    @cached_property
    def v(self) -> Plane:
        """Cr, of half the size each way. A view."""
        return self._chroma(1)

    def _chroma(self, index: int) -> Plane:
        width, height = (self.width + 1) // 2, (self.height + 1) // 2
        start = self.width * self.height + index * width * height
        return self.data[start : start + width * height].reshape(height, width)

    def to_av(self) -> av.VideoFrame:
        """The picture as PyAV's frame. A copy; `pts` is the RTP time."""
        import av
        import numpy as np
        from av.video.reformatter import ColorRange, Colorspace

        frame = av.VideoFrame(self.width, self.height, "yuv420p")
        for plane, pixels in zip(frame.planes, (self.y, self.u, self.v), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows[: pixels.shape[0], : pixels.shape[1]] = pixels
        frame.color_range = ColorRange.JPEG if self.full_range else ColorRange.MPEG
        if self.matrix == _COLOUR_BT709:
            frame.colorspace = Colorspace.ITU709
        elif self.matrix in _COLOUR_BT601:
            frame.colorspace = Colorspace.ITU601
        frame.pts = self.frame.rtp_time
        return frame

    def to_ndarray(self, format: str = "rgb24") -> Plane:
        """The picture in another of PyAV's 8-bit formats, such as "rgb24" and "bgr24"."""
        import numpy as np

        return self.to_av().to_ndarray(format=format).astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True)
class ReceivedUnit:
    """One encoded frame as it came: H.264 in Annex B, or a VP8 frame."""

    frame: ReceivedFrame
    """Without what comes later: `decoded_ns` and `pattern` are not set."""
    data: bytes


@dataclass(frozen=True, slots=True)
class ReceptionStats:
    """A reception since it was opened. Counters only grow."""

    packets: int
    """Media packets as first received; no retransmissions, no FEC."""
    bytes: int
    rtx_packets: int
    fec_packets: int
    padding_packets: int
    lost: int
    """Sequence numbers that never came by themselves …"""
    recovered_rtx: int
    """… and were repaired by retransmission …"""
    recovered_fec: int
    """… or by FEC."""
    duplicates: int
    malformed: int
    unknown: int
    """Of a payload type or SSRC that is none of ours."""
    units: int
    """Access units given out."""
    idrs: int
    units_dropped: int
    """Access units that stayed incomplete, or were of no use."""
    nacks: int
    nacked_packets: int
    plis: int
    feedback_packets: int
    reports: int
    rtt_ms: float | None
    """None = unknown."""
    jitter_ms: float
    """RFC 3550 section 6.4.1."""
    pictures: int
    """Decoded."""
    pictures_passed_over: int
    """Decoded, but nobody read them before newer ones came."""
    pictures_refused: int
    """Not 4:2:0 of 8 bits, or wider or higher than 8192 pixels."""
    decode_errors: int
    """Access units that the decoder could not use."""
    units_late: int
    """Access units dropped because the decoder was behind."""
    units_useless: int
    """Access units passed over until an IDR came."""
    units_not_kept: int
    """Access units that `read_unit` did not take in time."""
    pattern_unread: int
    """Pictures without a valid code, with `read_pattern`."""
    width: int
    """Of the last picture; 0 = none yet."""
    height: int


class Reception(Handle):
    """What one peer sends us. A peer has one at a time.

    The peer needs neither path nor keys yet: what comes before is dropped. A reception may be
    closed before or after its peer and hub; when those are closed first, StreamEnded is raised once
    everything was read.

    Pictures are for one thread to read, and access units for one; the rest may be called from any.

    NativeError with EBUSY: the peer has a reception. InvalidArgument: settings out of range.
    """

    _noun: ClassVar[str] = "reception"

    def __init__(self, peer: Peer, settings: ReceiveSettings) -> None:
        native = ffi.new("struct pc_receive_settings *")
        native.codec = settings.codec
        native.payload_type = settings.payload_type
        native.rtx_payload_type = settings.rtx_payload_type
        native.fec_payload_type = settings.fec_payload_type
        native.ssrc = settings.ssrc
        native.rtx_ssrc = settings.rtx_ssrc
        native.fec_ssrc = settings.fec_ssrc
        native.transport_cc_id = settings.transport_cc_id
        native.abs_send_time_id = settings.abs_send_time_id
        native.dependency_descriptor_id = settings.dependency_descriptor_id
        native.nack = settings.nack
        native.transport_feedback = settings.transport_feedback
        native.jitter_target_ms = settings.jitter_target_ms
        native.patience_ms = settings.patience_ms
        native.decode = settings.decode
        native.decode_threads = settings.decode_threads
        native.picture_depth = settings.picture_depth
        native.keep_units = settings.keep_units
        native.read_pattern = settings.read_pattern
        native.cname = utf8("cname", settings.cname, 64)
        out = ffi.new("struct pc_reception **")
        check(lib.pc_peer_receive(peer._hub_pointer, peer.id, native, out))
        super().__init__(out[0])
        self._picture = ffi.new("struct pc_received_picture *")
        self._size = 0
        self._buffer = bytearray(_FIRST_CAPACITY if settings.keep_units else 0)

    def fileno(self) -> int:
        """An eventfd that is readable when `read_picture` has something to say."""
        return int(lib.pc_reception_fd(self._pointer))

    def unit_fileno(self) -> int:
        """An eventfd that is readable when `read_unit` has something to say."""
        return int(lib.pc_reception_unit_fd(self._pointer))

    def read_picture(self) -> Picture | None:
        """Take the oldest picture; None when there is none (the eventfd is drained then).

        StreamEnded when the peer is gone and everything was read.
        """
        import numpy as np

        while True:
            data: Plane = np.empty(self._size, np.uint8)
            code = lib.pc_reception_read_picture(
                self._pointer, self._picture, ffi.from_buffer("uint8_t[]", data), data.size
            )
            if code == -errno.ENOSPC:
                self._size = self._picture.bytes
                continue
            if check(code) == 0:
                return None
            p = self._picture
            frame = _frame_from_native(p.frame)
            return Picture(frame, p.width, p.height, p.matrix, bool(p.full_range), data[: p.bytes])

    def read_unit(self) -> ReceivedUnit | None:
        """Take the oldest access unit; None when there is none (its eventfd is drained then).

        A reader that is more than some seconds behind goes on at an IDR. StreamEnded when the peer
        is gone and everything was read. InvalidArgument without `keep_units`.
        """
        frame = ffi.new("struct pc_received_frame *")
        while True:
            code = lib.pc_reception_read_unit(
                self._pointer, frame, ffi.from_buffer("uint8_t[]", self._buffer), len(self._buffer)
            )
            if code != -errno.ENOSPC or len(self._buffer) >= _LARGEST_CAPACITY:
                break
            self._buffer = bytearray(2 * len(self._buffer))
        if check(code) == 0:
            return None
        data = bytes(memoryview(self._buffer)[: frame.bytes])
        return ReceivedUnit(_frame_from_native(frame), data)

    def frames(self, since: int = 0, limit: int = 4096) -> list[ReceivedFrame]:
        """The frames from that id on that are done with, oldest first; the last 4096 are kept."""
        out = ffi.new("struct pc_received_frame[]", limit)
        count = check(lib.pc_reception_frames(self._pointer, since, out, limit))
        return [_frame_from_native(out[i]) for i in range(count)]

    def stats(self) -> ReceptionStats:
        """Counters since the reception was opened."""
        s = ffi.new("struct pc_reception_stats *")
        check(lib.pc_reception_get_stats(self._pointer, s))
        r = s.receiver
        return ReceptionStats(
            packets=r.packets,
            bytes=r.bytes,
            rtx_packets=r.rtx_packets,
            fec_packets=r.fec_packets,
            padding_packets=r.padding_packets,
            lost=r.lost,
            recovered_rtx=r.recovered_rtx,
            recovered_fec=r.recovered_fec,
            duplicates=r.duplicates,
            malformed=r.malformed,
            unknown=r.unknown,
            units=r.units,
            idrs=r.idrs,
            units_dropped=r.units_dropped,
            nacks=r.nacks,
            nacked_packets=r.nacked_packets,
            plis=r.plis,
            feedback_packets=r.feedback_packets,
            reports=r.reports,
            rtt_ms=None if r.rtt_ms < 0 else r.rtt_ms,
            jitter_ms=r.jitter_ms,
            pictures=s.pictures,
            pictures_passed_over=s.pictures_passed_over,
            pictures_refused=s.pictures_refused,
            decode_errors=s.decode_errors,
            units_late=s.units_late,
            units_useless=s.units_useless,
            units_not_kept=s.units_not_kept,
            pattern_unread=s.pattern_unread,
            width=s.width,
            height=s.height,
        )

    def request_idr(self) -> None:
        """Ask the sender for an IDR; how often is bounded."""
        lib.pc_reception_request_idr(self._pointer)

    def set_jitter_target(self, milliseconds: int) -> None:
        """Change `jitter_target_ms`. InvalidArgument: out of range."""
        check(lib.pc_reception_set_jitter_target(self._pointer, milliseconds))

    def _release(self, pointer: Any) -> None:
        lib.pc_reception_close(pointer)


def _frame_from_native(f: Any) -> ReceivedFrame:
    return ReceivedFrame(
        id=f.id,
        rtp_time=f.rtp_time,
        bytes=f.bytes,
        idr=bool(f.idr),
        recovered=bool(f.recovered),
        first_packet_ns=f.first_packet_ns,
        complete_ns=f.complete_ns,
        decoded_ns=f.decoded_ns,
        pattern=PatternCode(f.pattern_frame, f.pattern_us) if f.has_pattern else None,
    )
