"""aiortc doing the same work: an aiortc sender and an aiortc receiver, each a process of its own.

The sender is handed the display's pictures as soon as they change: it looks for a new number in
the pixels every millisecond and grabs the display through our own snapshot, so that what is
measured is aiortc and not somebody's way of capturing. Bitrate and frame rate limits are lifted.
Candidates are 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from bench.common.decoded import Decoded, DecodedFrames
from bench.common.display import Scene
from bench.common.machine import tree_cpu_seconds
from bench.common.tools import Process

POLL_S = 0.001
CONNECT_TIMEOUT_S = 30.0
SETTLE_S = 3.0
TIME_BASE = Fraction(1, 90000)


def run_aiortc_pair(scene: Scene, display: str, seconds: float) -> tuple[Decoded, float]:
    """Stream a painted display; returns what was decoded, and the sender's CPU s/s."""
    settings = json.dumps({**asdict(scene), "display": display})
    command = (sys.executable, "-m", "bench.common.aiortc_pair")
    with (
        Process(*command, "receive", settings, stdin=True) as receiver,
        Process(*command, "send", settings, stdin=True) as sender,
    ):
        receiver.say(sender.expect("sdp"))
        sender.say(receiver.expect("sdp"))
        receiver.expect("first", CONNECT_TIMEOUT_S)
        time.sleep(SETTLE_S)
        start_ns, cpu = time.monotonic_ns(), tree_cpu_seconds(sender.pid)
        time.sleep(seconds)
        cpu = tree_cpu_seconds(sender.pid) - cpu
        elapsed = (time.monotonic_ns() - start_ns) / 1e9
        rows = receiver.stop()["frames"]
    return DecodedFrames.of(map(tuple, rows)).window(start_ns, elapsed), cpu / elapsed


# In the processes themselves --------------------------------------------------------------------


def _prepare(scene: Scene) -> Any:
    """Loopback alone, and the encoder at the scene's rates. Returns the aiortc module."""
    import aioice.ice
    import aiortc
    from aiortc.codecs import h264

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    h264.DEFAULT_BITRATE = h264.MIN_BITRATE = h264.MAX_BITRATE = scene.bitrate
    h264.MAX_FRAME_RATE = scene.fps
    return aiortc


def _connection(aiortc: Any) -> Any:
    return aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))


async def read_sdp(aiortc: Any) -> Any:
    """The other side's description."""
    line = await asyncio.to_thread(sys.stdin.readline)
    return aiortc.RTCSessionDescription(**json.loads(line))


def print_sdp(connection: Any) -> None:
    """Our description, for the other side."""
    local = connection.localDescription
    print("sdp", json.dumps({"type": local.type, "sdp": local.sdp}), flush=True)


async def stopped() -> None:
    """Until the parent has seen enough."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


async def _receive(scene: Scene) -> None:
    aiortc = _prepare(scene)
    await receive_frames(aiortc, _connection(aiortc))


async def _send(scene: Scene, display: str) -> None:
    aiortc = _prepare(scene)
    connection = _connection(aiortc)
    transceiver = connection.addTransceiver(_grabbing_track(scene, display), direction="sendonly")
    codecs = aiortc.RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.name == "H264"])
    await connection.setLocalDescription(await connection.createOffer())
    print_sdp(connection)
    await connection.setRemoteDescription(await read_sdp(aiortc))
    await stopped()
    print("{}", flush=True)
    os._exit(0)  # a grab may be waiting for a picture that nobody paints any more


def _grabbing_track(scene: Scene, display: str) -> Any:
    import aiortc
    import av

    from native import Source, read_pattern

    edge = scene.width // 40 & ~1
    screen = Source.x11(display, cursor=False)
    # Two rows of pixels from the eight blocks that hold the number's lowest bits.
    bits = Source.x11(display, region=(0, edge + edge // 2, 8 * edge, 2), cursor=False)

    class GrabbingTrack(aiortc.VideoStreamTrack):
        """Each new picture of the display, as soon as it is there."""

        _last = b""

        async def recv(self) -> av.VideoFrame:
            return await asyncio.to_thread(self._grab)

        def _grab(self) -> av.VideoFrame:
            while True:
                seen = bits.snapshot().tobytes()
                if seen != self._last:
                    pixels = screen.snapshot()
                    found = read_pattern(pixels[:, :, 1])
                    if found is not None:
                        break
                time.sleep(POLL_S)
            self._last = seen
            frame = av.VideoFrame.from_ndarray(pixels, format="bgra").reformat(format="yuv420p")
            frame.pts, frame.time_base = found.time_us * 9 // 100, TIME_BASE
            return frame

    return GrabbingTrack()


async def receive_frames(aiortc: Any, connection: Any) -> None:
    """Answer the sender and read its pictures until stopped; then print them. Ends the process."""
    rows: list[tuple[int, int, int]] = []
    readers: list[asyncio.Task[None]] = []

    def on_track(track: Any) -> None:
        readers.append(asyncio.create_task(_read_frames(track, rows)))

    connection.on("track", on_track)
    await connection.setRemoteDescription(await read_sdp(aiortc))
    await connection.setLocalDescription(await connection.createAnswer())
    print_sdp(connection)
    await stopped()
    print(json.dumps({"frames": rows}), flush=True)
    os._exit(0)  # closing aiortc's connections takes seconds


async def _read_frames(track: Any, rows: list[tuple[int, int, int]]) -> None:
    """Every picture of a track that has a valid code: its number, when drawn and when decoded."""
    import numpy as np

    from native import read_pattern

    while True:
        frame = await track.recv()
        now_ns = time.monotonic_ns()
        plane = frame.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        found = read_pattern(luma[: frame.height, : frame.width])
        if found is None:
            continue
        if not rows:
            print("first", flush=True)
        rows.append((found.frame, found.time_us, now_ns))


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    where = given.pop("display")
    asyncio.run(_send(Scene(**given), where) if sys.argv[1] == "send" else _receive(Scene(**given)))
