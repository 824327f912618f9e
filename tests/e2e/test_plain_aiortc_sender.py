"""PatternTrack on a plain aiortc.RTCPeerConnection, watched by Chromium.

An existing aiortc application gets native capture and encoding by changing one line; what a
browser makes of that is tested here, and aiortc on both sides in ``tests/peer/test_tracks.py``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from native import Codec, StreamSettings
from peer.tracks import PatternTrack, add_track

from ..peer.viewer import use_loopback
from .chromium import Chromium, Page
from .pattern_page import SCRIPT, faults_in, frames_of, more_frames

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

FRAMES = 60
SETTINGS = StreamSettings(fps=30, bitrate=2_000_000)

ANSWER = """
(async (sdp) => {
  window.connection = new RTCPeerConnection();
  connection.ontrack = ({ track }) => {
    window.video = Object.assign(document.createElement("video"), { muted: true, autoplay: true });
    video.srcObject = new MediaStream([track]);
    document.body.append(video);
  };
  const gathered = new Promise((resolve) => {
    connection.onicegatheringstatechange = () =>
      connection.iceGatheringState === "complete" && resolve();
  });
  await connection.setRemoteDescription({ type: "offer", sdp });
  await connection.setLocalDescription();
  await gathered;
  return connection.localDescription.sdp;
})(%s)
"""

INBOUND = """
(async () => {
  const report = [...(await connection.getStats()).values()];
  const inbound = report.find((entry) => entry.type === "inbound-rtp");
  return { ...inbound, codec: report.find((entry) => entry.id === inbound.codecId).mimeType };
})()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Chromium) -> AsyncIterator[Page]:
    page = await browser.open(init=[SCRIPT])
    await page.goto("data:text/html,<title>viewer</title>")
    yield page
    await page.close()
    assert page.exceptions == []


@pytest_asyncio.fixture(loop_scope="module")
async def sending(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RTCPeerConnection]:
    use_loopback(monkeypatch)
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield connection
    await connection.close()


async def connect(sending: RTCPeerConnection, page: Page) -> None:
    await sending.setLocalDescription(await sending.createOffer())
    answer = await page.evaluate(ANSWER % json.dumps(sending.localDescription.sdp))
    await sending.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await page.wait_for("pattern.frames.length > 0", 20)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
async def test_chromium_decodes_every_frame(
    sending: RTCPeerConnection, page: Page, codec: Codec
) -> None:
    add_track(sending, PatternTrack(640, 360, settings=SETTINGS, codec=codec))
    await connect(sending, page)
    await more_frames(page, FRAMES)
    stats = await page.evaluate(INBOUND)

    assert stats["codec"] == f"video/{codec.name}"
    assert (stats["frameWidth"], stats["frameHeight"]) == (640, 360)
    assert (stats["packetsLost"], stats["framesDropped"]) == (0, 0)
    # A busy machine may keep aiortc from taking a frame in time; what it sent was all decoded.
    assert all(last < number for last, number in faults_in(await frames_of(page)))


async def test_chromium_gets_an_idr_for_its_pli(sending: RTCPeerConnection, page: Page) -> None:
    """One frame never arrives, however often it is sent: only an IDR gets the picture going."""
    track = PatternTrack(640, 360, settings=SETTINGS)
    sender = add_track(sending, track)
    await connect(sending, page)
    await more_frames(page, 10)
    idrs = track.open().stats().codecs[Codec.H264].idrs
    before = await page.evaluate(INBOUND)

    lost: set[int] = set()
    send = sender.transport._send_rtp

    async def lose_one_frame(data: bytes) -> None:
        (timestamp,) = struct.unpack_from("!L", data, 4)  # retransmissions have it, too
        is_media = data[1] < 200 or data[1] > 207  # RFC 5761: the others are RTCP
        if is_media and (not lost or timestamp in lost):
            lost.add(timestamp)
        else:
            await send(data)

    sender.transport._send_rtp = lose_one_frame
    await more_frames(page, FRAMES)
    after = await page.evaluate(INBOUND)

    assert lost
    assert after["pliCount"] > before["pliCount"]
    assert after["keyFramesDecoded"] > before["keyFramesDecoded"]
    assert track.open().stats().codecs[Codec.H264].idrs > idrs
    faults = faults_in(await frames_of(page))
    assert faults, "no frame was lost"
    assert all(last < number for last, number in faults)
