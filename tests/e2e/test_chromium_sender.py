"""A browser as the sender: what a canvas in Chromium shows arrives in a ReceivedTrack."""

from __future__ import annotations

import asyncio
import itertools
import json

import numpy as np
import pytest

from native import Codec
from peer.hub import HubSettings, MediaHub
from peer.receiving import ReceivingConnection, ReceivingSettings
from peer.sdp_answer import Wanted

from .chromium import Chromium

pytestmark = pytest.mark.e2e

WIDTH, HEIGHT = 640, 360

OFFER = """
(async () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [%d, %d];
  const context = canvas.getContext("2d");
  let frame = 0;
  const draw = () => {
    // Red above green, and a white bar that moves down.
    context.fillStyle = "rgb(200 0 0)";
    context.fillRect(0, 0, canvas.width, canvas.height / 2);
    context.fillStyle = "rgb(0 200 0)";
    context.fillRect(0, canvas.height / 2, canvas.width, canvas.height / 2);
    context.fillStyle = "white";
    context.fillRect(0, (4 * frame++) %% canvas.height, canvas.width, 8);
  };
  draw();
  setInterval(draw, 33);
  window.connection = new RTCPeerConnection();
  connection.addTransceiver("audio");
  const stream = canvas.captureStream(30);
  connection.addTrack(stream.getVideoTracks()[0], stream);
  connection.createDataChannel("stats");
  await connection.setLocalDescription();
  await new Promise((resolve) => {
    const check = () => connection.iceGatheringState === "complete" && resolve();
    connection.onicegatheringstatechange = check;
    check();
  });
  return connection.localDescription.sdp;
})()
"""


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_canvas_is_received(codec: Codec) -> None:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    viewer = ReceivingConnection(hub, None, ReceivingSettings(wanted=Wanted(codecs=(codec,))))
    async with Chromium() as browser:
        page = await browser.open("about:blank")
        answer = await viewer.accept_offer(await page.evaluate(OFFER % (WIDTH, HEIGHT)))
        description = json.dumps({"type": "answer", "sdp": answer})
        await page.evaluate(f"connection.setRemoteDescription({description})")
        assert viewer.track is not None
        bars: list[int] = []
        times: list[int] = []
        async with asyncio.timeout(30):
            while len(bars) < 30:
                frame = await viewer.track.recv()
                if frame.width != WIDTH:
                    continue  # it begins smaller while it does not know the link
                pixels = frame.to_ndarray(format="rgb24").astype(int)
                assert frame.pts is not None
                times.append(frame.pts)
                bars.append(int(np.argmax(pixels[:, :, 2].mean(axis=1))))
        await page.wait_for("connection.connectionState === 'connected'", 10)
        stats = viewer.reception.stats() if viewer.reception else None
    await viewer.close()
    await hub.close()

    far = [row for row in range(HEIGHT) if min(abs(row - bars[-1]), abs(row - HEIGHT / 2)) > 24]
    for row in far:
        red, green, _ = pixels[row].mean(axis=0)
        assert (red > green + 100) == (row < HEIGHT / 2), f"row {row} is {red:.0f}, {green:.0f}"
    moved = [(after - before) % HEIGHT for before, after in itertools.pairwise(bars)]
    assert all(0 <= rows < HEIGHT / 2 for rows in moved), f"the bar moved by {moved}"
    assert sum(moved) > 60
    assert all(after > before for before, after in itertools.pairwise(times))
    assert stats is not None
    assert (stats.decode_errors, stats.malformed) == (0, 0)
    assert stats.feedback_packets > 0
