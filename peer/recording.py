"""What is viewed, in files: a recording without encoding anew, and a snapshot.

::

    recorder = Recorder(Path("game.mkv"))
    recorder.attach(track, codec)   # its reception has to keep units
    …
    recorder.close()                # the file is whole
"""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
from av.container import OutputContainer
from av.stream import Stream

from native import Codec, Picture, ReceivedUnit, Reception, StreamEnded
from peer.received_track import ReceivedTrack

RTP_CLOCK = Fraction(1, 90_000)


class Recorder:
    """Access units as they come, in a Matroska file. Begins with the first IDR.

    Times are the sender's (RTP); a session that follows another goes on where it really began.
    """

    def __init__(
        self,
        path: Path,
        on_failure: Callable[[OSError], None] | None = None,
        *,
        codec: Codec = Codec.H264,
    ) -> None:
        """Makes the file. OSError when it is there already, or cannot be made; `on_failure` hears
        of later ones."""
        self.path = path
        self.frames = 0
        self.bytes = 0
        self._on_failure = on_failure or (lambda _: None)
        # A file that is not closed, as after a power cut, is whole but for its last second.
        options = {"cluster_time_limit": "1000"}
        self._file = path.open("xb")
        self._container: OutputContainer | None = av.open(
            self._file, "w", format="matroska", options=options
        )
        self._codec = codec
        self._stream: Stream | None = None
        self._reception: Reception | None = None
        self._began_ns = 0
        self._first: tuple[int, int] | None = None
        self._unwrapped = 0
        self._pts = -1
        self._failed = False

    @property
    def seconds(self) -> float:
        """The recording's length."""
        return max(0.0, float(self._pts * RTP_CLOCK))

    def attach(self, track: ReceivedTrack, codec: Codec) -> None:
        """Record this track from now on, instead of an earlier one."""
        self._detach()
        self.begin_session(codec)
        self._reception = track.reception
        asyncio.get_running_loop().add_reader(track.reception.unit_fileno(), self._drain)
        track.on("ended", partial(self._ended, track.reception))  # before it closes the reception

    def begin_session(self, codec: Codec) -> None:
        """What is written from now on has a clock of its own."""
        self._codec, self._first = codec, None

    def close(self) -> None:
        """Take what has come, and finish the file; without a frame it is removed.

        Closing twice is fine. OSError when the file cannot be finished.
        """
        self._drain()
        self._detach()
        container, self._container = self._container, None
        if container is None:
            return
        with self._file:
            try:
                container.close()
            except av.FFmpegError:
                if not self._failed:  # else it is told, and what was written by then stays
                    raise
        if not self.frames:
            self.path.unlink(missing_ok=True)

    def _ended(self, reception: Reception) -> None:
        if self._reception is reception:
            self._drain()
            self._detach()

    def _detach(self) -> None:
        if self._reception is not None:
            asyncio.get_running_loop().remove_reader(self._reception.unit_fileno())
            self._reception = None

    def _drain(self) -> None:
        try:
            while self._reception is not None and (unit := self._reception.read_unit()):
                self.write(unit)
        except StreamEnded:
            self._detach()
        except OSError as error:
            self._detach()
            self._on_failure(error)

    def write(self, unit: ReceivedUnit) -> None:
        """Add an access unit. OSError when the file cannot be written."""
        if self._container is None or (self._stream is None and not unit.frame.idr):
            return
        if self._stream is None:
            self._stream = self._add_stream(self._container, unit)
            self._began_ns = unit.frame.complete_ns
        packet = av.Packet(unit.data)
        packet.stream = self._stream
        packet.time_base = RTP_CLOCK
        packet.pts = packet.dts = self._pts_of(unit)
        packet.is_keyframe = unit.frame.idr
        try:
            self._container.mux(packet)
        except OSError:
            self._failed = True
            raise
        self.frames += 1
        self.bytes += len(unit.data)

    def _pts_of(self, unit: ReceivedUnit) -> int:
        rtp_time = unit.frame.rtp_time
        if self._first is None:
            since = (unit.frame.complete_ns - self._began_ns) * RTP_CLOCK.denominator // 10**9
            self._first, self._unwrapped = (since, rtp_time), 0
        since, first = self._first
        # The 32 bits of RTP time become a count that does not wrap.
        self._unwrapped += (rtp_time - first - self._unwrapped) & 0xFFFFFFFF
        self._pts = max(self._pts + 1, since + self._unwrapped)
        return self._pts

    def _add_stream(self, container: OutputContainer, unit: ReceivedUnit) -> Stream:
        """A stream as the first IDR has it. What reads files finds its parameters best."""
        if self._codec is Codec.VP8:
            source, format_ = _ivf_of(unit.data), "ivf"
        else:
            source, format_ = unit.data, "h264"
        with av.open(io.BytesIO(source), format=format_) as probe:
            stream = container.add_stream_from_template(probe.streams.video[0])
        stream.time_base = RTP_CLOCK
        return stream


def write_png(picture: Picture, path: Path) -> None:
    """Write a picture. OSError when the file cannot be written."""
    frame = picture.to_av().reformat(format="rgb24")
    encoder = av.VideoCodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
    encoder.time_base = Fraction(1, 1)
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))


def _ivf_of(frame: bytes) -> bytes:
    """A VP8 key frame as an IVF file: the simplest there is, with the size from its header."""
    width, height = struct.unpack_from("<HH", frame, 6)  # RFC 6386 section 9.1
    header = struct.pack(
        "<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", width & 0x3FFF, height & 0x3FFF, 90_000, 1, 1, 0
    )
    return header + struct.pack("<IQ", len(frame), 0) + frame
