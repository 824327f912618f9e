"""A received stream as an aiortc :class:`~aiortc.MediaStreamTrack`.

::

    track = ReceivedTrack(Reception(peer, settings))
    frame = await track.recv()              # an av.VideoFrame, as of any aiortc track
    picture = await track.recv_picture()    # … or numpy arrays: picture.y, picture.u, picture.v

Both take the oldest picture that waits; how many wait is ``ReceiveSettings.picture_depth``, and a
slow reader misses the ones that newer ones took the place of.
"""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import TYPE_CHECKING

import aiortc
from aiortc.mediastreams import MediaStreamError

from native import HandleClosed, Picture, Reception, StreamEnded

if TYPE_CHECKING:
    import av

RTP_CLOCK = Fraction(1, 90_000)


class ReceivedTrack(aiortc.MediaStreamTrack):
    """Decoded pictures of a reception, which the track owns: :meth:`stop` closes it."""

    kind = "video"

    def __init__(self, reception: Reception) -> None:
        super().__init__()
        self.reception = reception
        self._readable = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first = 0  # RTP time
        self._pts: int | None = None

    async def recv(self) -> av.VideoFrame:
        """The next picture, its pts on the 90 kHz clock from the first one on.

        Raises :class:`aiortc.mediastreams.MediaStreamError` when the track has ended.
        """
        picture = await self.recv_picture()
        if self._pts is None:
            self._first, self._pts = picture.frame.rtp_time, 0
        # The 32 bits of RTP time become a count that does not wrap.
        self._pts += (picture.frame.rtp_time - self._first - self._pts) & 0xFFFFFFFF
        frame = picture.to_av()
        frame.pts = self._pts
        frame.time_base = RTP_CLOCK
        return frame

    async def recv_picture(self) -> Picture:
        """The next picture as numpy arrays, with the times of its way.

        Raises :class:`aiortc.mediastreams.MediaStreamError` when the track has ended.
        """
        while self.readyState == "live":
            try:
                picture = self.reception.read_picture()
            except (StreamEnded, HandleClosed):
                self.stop()
                break
            if picture is not None:
                return picture
            self._watch()
            self._readable.clear()
            await self._readable.wait()
        raise MediaStreamError

    def request_keyframe(self) -> None:
        """Ask the sender for an IDR; how often is bounded."""
        if not self.reception.closed:
            self.reception.request_idr()

    def stop(self) -> None:
        """End the track and close the reception. May be called again."""
        super().stop()
        if self._loop is not None and not self._loop.is_closed() and not self.reception.closed:
            self._loop.remove_reader(self.reception.fileno())
        self._loop = None
        self.reception.close()
        self._readable.set()

    def _watch(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self.reception.fileno(), self._readable.set)
