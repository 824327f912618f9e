"""The real host, watched by a plain aiortc.RTCPeerConnection: decoded, in order, without a loss."""

from __future__ import annotations

import numpy as np
import pytest
from av import VideoFrame

from native import read_pattern

from ..peer.viewer import Viewer, use_loopback
from .host_process import HostProcess
from .room_guest import RoomGuest

pytestmark = pytest.mark.e2e

FRAMES = 90


def frame_number(frame: VideoFrame) -> int | None:
    """The number in the pixels of a decoded frame of the pattern."""
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    code = read_pattern(luma[:, : plane.width])
    return None if code is None else code.frame


async def test_every_frame_arrives_in_order_as_h264(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loopback(monkeypatch)
    options = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")
    async with HostProcess(*options) as host, RoomGuest(host.link) as guest, Viewer() as viewer:
        offer = await guest.offer()
        await guest.answer(offer, await viewer.answer(offer.sdp))
        await viewer.until_frames(FRAMES)
        report = await host.report(lambda r: r["viewers"] == 1 and r["fps"] > 0)

        assert (report["width"], report["height"], report["codec"]) == (640, 360, "H264")
        (peer,) = report["peers"]
        assert (peer["state"], peer["codec"]) == ("connected", "H264")
        assert (peer["loss"], peer["resent_packets"], peer["frames_dropped"]) == (0, 0, 0)

    numbers = [frame_number(frame) for frame in viewer.frames[:FRAMES]]
    first = numbers[0]
    assert first is not None, "the first frame carries no number"
    assert numbers == list(range(first, first + FRAMES))
    assert {(frame.width, frame.height) for frame in viewer.frames} == {(640, 360)}
