"""The real host, watched by GStreamer's webrtcbin: decoded by libav, in order, without a loss.

GStreamer 1.22 knows no AES-GCM in DTLS-SRTP, so the host has to offer SRTP_AES128_CM_SHA1_80
besides: this proves that profile against libsrtp, too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from native import read_pattern

from .host_process import HostProcess
from .room_guest import RoomGuest

pytestmark = pytest.mark.e2e

OPTIONS = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")
SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("gstreamer_receiver.py")
FRAMES = 90


class GStreamerReceiver:
    """The script's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def send_offer(self, sdp: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"offer": sdp}).encode() + b"\n")
        await self._process.stdin.drain()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield json.loads(line)
        raise AssertionError(f"the receiver ended by itself, with {await self._process.wait()}")


@contextlib.asynccontextmanager
async def gstreamer() -> AsyncIterator[GStreamerReceiver]:
    process = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON,
        "-I",
        SCRIPT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield GStreamerReceiver(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_every_frame_arrives_in_order_as_h264() -> None:
    size = (640, 360)
    numbers: list[int | None] = []
    states: list[str] = []
    async with (
        asyncio.timeout(60),
        HostProcess(*OPTIONS, "--srtp-cm80") as host,
        RoomGuest(host.link) as guest,
        gstreamer() as receiver,
    ):
        offer = await guest.offer()
        await receiver.send_offer(offer.sdp)
        async for message in receiver.messages():
            if "answer" in message:
                await guest.answer(offer, message["answer"])
            elif "candidate" in message:
                await guest.candidate(offer, message["candidate"].removeprefix("candidate:"))
            elif "error" in message:
                raise AssertionError(message["error"])
            elif "state" in message:
                states.append(message["state"])
            else:
                assert (message["width"], message["height"]) == size
                assert message["colorimetry"] == "bt709"
                rows = np.frombuffer(base64.b64decode(message["luma"]), np.uint8)
                code = read_pattern(rows.reshape(-1, size[0]))
                numbers.append(code and code.frame)
                if len(numbers) == FRAMES:
                    break
        report = await host.report(lambda r: r["viewers"] == 1 and r["fps"] > 0)
        (peer,) = report["peers"]
        assert (peer["state"], peer["codec"]) == ("connected", "H264")
        assert (peer["loss"], peer["resent_packets"], peer["frames_dropped"]) == (0, 0, 0)

    assert states[-1] == "connected"
    first = numbers[0]
    assert first is not None, "the first frame carries no number"
    assert numbers == list(range(first, first + FRAMES))


async def test_without_a_common_srtp_profile_both_sides_say_so() -> None:
    async with (
        asyncio.timeout(60),
        HostProcess(*OPTIONS, "--log-level", "info") as host,
        RoomGuest(host.link) as guest,
        gstreamer() as receiver,
    ):
        offer = await guest.offer()
        await receiver.send_offer(offer.sdp)
        async for message in receiver.messages():
            if "answer" in message:
                await guest.answer(offer, message["answer"])
            elif "candidate" in message:
                await guest.candidate(offer, message["candidate"].removeprefix("candidate:"))
            elif "error" in message:
                assert "No SRTP capabilities negotiated" in message["error"]
                break
        await host.words("no SRTP profile in common")
