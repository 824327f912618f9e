"""Chromium repairs losses with FlexFEC: its decoder (libwebrtc's) against this project's encoder.

Retransmission is taken out of the offer, and a relay between the two loses one media packet in
ten, never two of a frame, and no repair packet. Whatever Chromium shows then without a fault it has
repaired.
"""

from __future__ import annotations

import pytest

from .chromium import Chromium, Page
from .dropping_relay import DroppingRelay
from .host_process import HostProcess
from .pattern_page import SCRIPT, count_of, faults_in, frames_of, more_frames

pytestmark = pytest.mark.e2e

FRAMES = 600
SETTLE_FRAMES = 120

REWRITE = """
{
  const redirect = (text, port) =>
    text.replace(/(candidate:\\S+ 1 udp \\d+ )\\S+ \\d+ typ/gi, `$1127.0.0.1 ${port} typ`);

  /** The offer without RTX (RFC 4588). */
  const withoutRtx = (sdp) => {
    const types = [...sdp.matchAll(/a=rtpmap:(\\d+) rtx\\/90000/g)].map((match) => match[1]);
    const groups = [...sdp.matchAll(/a=ssrc-group:FID \\d+ (\\d+)/g)].map((match) => match[1]);
    return sdp
      .split("\\r\\n")
      .filter((line) => !types.some((type) => new RegExp(`^a=\\\\w+:${type} `).test(line)))
      .filter((line) => !groups.some((ssrc) => line.startsWith(`a=ssrc:${ssrc} `)))
      .filter((line) => !line.startsWith("a=ssrc-group:FID"))
      .map((line) =>
        line.startsWith("m=video")
          ? line.split(" ").filter((word, i) => i < 3 || !types.includes(word)).join(" ")
          : line,
      )
      .join("\\r\\n");
  };

  const { setRemoteDescription, addIceCandidate } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    window.connection = this;
    window.offer = withoutRtx(redirect(description.sdp, VIEWER_PORT));
    return setRemoteDescription.call(this, { type: description.type, sdp: window.offer });
  };
  RTCPeerConnection.prototype.addIceCandidate = function (init) {
    const candidate = redirect(init?.candidate ?? "", VIEWER_PORT);
    return addIceCandidate.call(this, { ...init, candidate });
  };
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    return send.call(this, typeof data === "string" ? redirect(data, HOST_PORT) : data);
  };
}
"""

STATS = """
(async () => {
  const found = [...(await connection.getStats()).values()];
  return found.find((s) => s.type === "inbound-rtp" && s.kind === "video");
})()
"""


async def _stats(page: Page) -> dict[str, int]:
    stats: dict[str, int] = await page.evaluate(STATS)
    return stats


async def test_what_is_lost_is_repaired(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--source", "pattern", "--size", "640x360", "--fps", "60", "--bitrate", "4M")
    async with (
        DroppingRelay() as relay,
        Chromium() as browser,
        HostProcess(*options) as host,
    ):
        rewrite = REWRITE.replace("VIEWER_PORT", str(relay.viewer_port))
        rewrite = rewrite.replace("HOST_PORT", str(relay.host_port))
        page = await browser.open(host.link, init=[SCRIPT, rewrite])
        await page.wait_for("pattern.frames.length > 30", 20)
        offer = await page.evaluate("offer")
        assert "flexfec-03" in offer
        assert "rtx" not in offer
        relay.drop_of_frames((await _stats(page))["ssrc"], every=10)
        await page.wait_for(f"{STATS}.then(s => s.fecPacketsReceived > 0)", 20)
        await more_frames(page, SETTLE_FRAMES)  # FEC follows the loss

        given_up = await host.given_up()
        lost, before, first = relay.lost, await _stats(page), await count_of(page)
        await more_frames(page, FRAMES, 60)
        frames = await frames_of(page, first)
        after = await _stats(page)
        lost = relay.lost - lost
        given_up = await host.given_up() - given_up

    gained = {
        name: after[name] - before[name]
        for name in ("fecPacketsReceived", "framesDecoded", "keyFramesDecoded", "freezeCount")
    }
    faults = faults_in(frames, given_up)
    with capsys.disabled():
        print(f"\nlost {lost}, of {len(frames)} frames {len(faults)} faults; {gained}")
    assert lost > FRAMES / 10
    assert faults == []
    assert gained["fecPacketsReceived"] > 0
    assert gained["keyFramesDecoded"] == 0
    assert gained["freezeCount"] == 0
