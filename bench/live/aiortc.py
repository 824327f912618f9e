"""aiortc at both ends, so that its own estimate of the bandwidth (REMB) is at work.

Its limits are lifted as far as its settings go: 4 Mbit/s to begin with, and the scene's bitrate at
most.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from fractions import Fraction
from typing import Any

import aioice.ice
import aiortc
import av
import numpy as np
from aiortc.codecs import h264

from bench.common.aiortc_pair import print_sdp, read_sdp, receive_frames, stopped
from bench.live.speech import LiveSettings
from native import Source, read_pattern

START_BITRATE = 4_000_000
MIN_BITRATE = 300_000
TIME_BASE = Fraction(1, 90_000)


class PatternTrack(aiortc.VideoStreamTrack):
    """The generated picture at a steady rate."""

    def __init__(self, settings: LiveSettings) -> None:
        super().__init__()
        self._source = Source.pattern(settings.width, settings.height)
        self._interval_s = 1 / settings.fps
        self._next_s = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        """The next one, when it is due."""
        await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = max(self._next_s + self._interval_s, time.monotonic() - self._interval_s)
        return await asyncio.to_thread(self._draw)

    def _draw(self) -> av.VideoFrame:
        pixels = self._source.snapshot()
        found = read_pattern(pixels[:, :, 1])
        assert found is not None
        bgra = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgra")
        frame = bgra.reformat(format="yuv420p")
        frame.pts, frame.time_base = found.time_us * 9 // 100, TIME_BASE
        return frame


def _connection(settings: LiveSettings) -> Any:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [settings.address]
    h264.DEFAULT_BITRATE, h264.MIN_BITRATE = START_BITRATE, MIN_BITRATE
    h264.MAX_BITRATE, h264.MAX_FRAME_RATE = settings.bitrate, settings.fps
    return aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))


async def _send(settings: LiveSettings) -> None:
    connection = _connection(settings)
    transceiver = connection.addTransceiver(PatternTrack(settings), direction="sendonly")
    codecs = aiortc.RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.name == "H264"])
    await connection.setLocalDescription(await connection.createOffer())
    print_sdp(connection)
    await connection.setRemoteDescription(await read_sdp(aiortc))
    await stopped()
    print("{}", flush=True)
    os._exit(0)  # closing aiortc's connections takes seconds


async def _receive(settings: LiveSettings) -> None:
    await receive_frames(aiortc, _connection(settings))


if __name__ == "__main__":
    given = LiveSettings.from_arguments()
    asyncio.run(_send(given) if sys.argv[1] == "send" else _receive(given))
