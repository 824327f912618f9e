"""Taps: encoded access units for Python (a plain aiortc connection, recording)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, ClassVar

from native.binding import Handle, check, ffi, lib
from native.enums import Codec
from native.stream import Stream

_FIRST_CAPACITY = 256 * 1024
_LARGEST_CAPACITY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded frame: H.264 in Annex B, or a VP8 frame."""

    id: int
    """The frame's number, as in FrameTimes."""
    rtp_time: int
    """90 kHz from the stream's zero, modulo 2**32."""
    capture_ns: int
    """CLOCK_MONOTONIC."""
    idr: bool
    data: bytes


class Tap(Handle):
    """Receives a stream's access units of one codec, beginning with an IDR.

    At most `depth` wait; when the reader is slower, the waiting ones are dropped and the tap goes
    on at the next IDR. A tap may be closed before or after its stream.
    """

    _noun: ClassVar[str] = "tap"

    def __init__(self, stream: Stream, codec: Codec, depth: int = 4) -> None:
        out = ffi.new("struct pc_tap **")
        check(lib.pc_tap_open(stream._pointer, codec, depth, out))
        super().__init__(out[0])
        self._buffer = bytearray(_FIRST_CAPACITY)

    def fileno(self) -> int:
        """An eventfd that is readable when `read` has something to say. The tap owns it."""
        return int(lib.pc_tap_fd(self._pointer))

    def read(self) -> AccessUnit | None:
        """Take the oldest access unit; None when there is none (the eventfd is drained then).

        StreamEnded when the stream was closed and everything was read.
        """
        frame = ffi.new("struct pc_tap_frame *")
        while True:
            code = lib.pc_tap_read(
                self._pointer, frame, ffi.from_buffer("uint8_t[]", self._buffer), len(self._buffer)
            )
            if code != -errno.ENOSPC or len(self._buffer) >= _LARGEST_CAPACITY:
                break
            self._buffer = bytearray(2 * len(self._buffer))
        if check(code) == 0:
            return None
        data = bytes(memoryview(self._buffer)[: frame.size])
        return AccessUnit(frame.id, frame.rtp_time, frame.capture_ns, bool(frame.idr), data)

    def _release(self, pointer: Any) -> None:
        lib.pc_tap_close(pointer)
