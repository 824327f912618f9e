"""Frames are lost for good on the way to Chromium: it goes on without an IDR, and how soon.

A relay drops every packet of some frames, their retransmissions too. Chromium has taken the
Dependency Descriptor from the offer, so the next frame that it can use is one that refers to what
it holds. Where it has not (the page takes the extension out of the offer), it takes an IDR.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from native import StreamSettings
from peer.connection import ConnectionSettings
from peer.host import Host, HostSettings
from peer.hub import HubSettings, MediaHub
from peer.signalling_client import SignallingClient, SignallingClientSettings
from peer.tracks import PatternTrack
from signalling.dev import DevIssuer
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings

from .chromium import Chromium, Page
from .frame_relay import LOOPBACK, FrameRelay, LostFrames
from .pattern_page import SCRIPT, PatternFrame, clock_of, frames_of, more_frames

pytestmark = pytest.mark.e2e

ROOM = "den"
FPS = 60
FRAME_MS = 1000 / FPS
BITRATE = 4_000_000
WAY_S = 0.02
ROUND_TRIP_MS = 2000 * WAY_S
LOSSES = (1, 2, 1, 3, 1, 2, 1)
"""Frames lost one after the other, each time."""
SLACK_MS = 25.0
"""Encoding, decoding, reading and a relay in Python, on a machine that does much else."""

ONE_WAY = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  set onicecandidate(_) {}
  get localDescription() {
    const { type, sdp } = super.localDescription;
    return { type, sdp: sdp.replace(/a=candidate:.*\\r\\n/g, "") };
  }
  setRemoteDescription({ type, sdp }) {
    return super.setRemoteDescription({ type, sdp: rewriteOffer(sdp) });
  }
};
"""
"""The host sees no candidate of the page's: nothing goes around the relay."""

AS_IT_IS = "window.rewriteOffer = (sdp) => sdp;"
WITHOUT_DESCRIPTOR = """
window.rewriteOffer = (sdp) => sdp.replace(/a=extmap:.*dependency-descriptor.*\\r\\n/g, "");
"""
WITHOUT_RTX = """
window.rewriteOffer = (sdp) => {
  const types = [...sdp.matchAll(/a=rtpmap:(\\d+) rtx/g)].map((match) => match[1]);
  const video = sdp.match(/m=video .*/)[0];
  return sdp
    .split("\\r\\n")
    .filter((line) => !types.some((type) => line.match(`^a=(rtpmap|fmtp|rtcp-fb):${type} `)))
    .filter((line) => !line.startsWith("a=ssrc-group:FID"))
    .join("\\r\\n")
    .replace(video, video.split(" ").filter((word) => !types.includes(word)).join(" "));
};
"""


@dataclass(frozen=True, slots=True)
class Outage:
    """What a loss did to the picture."""

    lost: LostFrames
    before: PatternFrame
    after: PatternFrame

    def first_due_ms(self) -> float:
        """When the first lost packet would have arrived."""
        return 1000 * (self.lost.first_sent[0] + WAY_S)

    def length_ms(self, offset_ms: float) -> float:
        """From when the last lost frame would have arrived to the next one decoded."""
        return self.after.arrived_ms + offset_ms - 1000 * (self.lost.first_sent[-1] + WAY_S)


@dataclass(frozen=True, slots=True)
class Seen:
    """A page that lost frames."""

    outages: list[Outage]
    lengths_ms: list[float]
    key_frames: int
    """Since the first loss."""
    plis: int


@contextlib.asynccontextmanager
async def relayed_host(relay: FrameRelay) -> AsyncIterator[str]:
    """A host of the pattern, at one rate, that is reached through the relay; a viewer's link."""
    issuer = DevIssuer.generate()
    stream = StreamSettings(fps=FPS, bitrate=BITRATE, rungs=1)
    connection = ConnectionSettings(min_bitrate=BITRATE, start_bitrate=BITRATE)
    addresses = HubSettings(
        bind=(LOOPBACK,), announced=(f"{LOOPBACK}:{relay.port}",), announce_bound=False
    )
    async with contextlib.AsyncExitStack() as stack:
        hub = MediaHub(addresses)
        stack.push_async_callback(hub.close)
        relay.host_port = hub.port
        server = await stack.enter_async_context(
            SignallingServer(SignallingSettings(verifier=issuer.verifier(), port=0))
        )
        client = SignallingClientSettings(
            url=server.websocket_url, token=issuer.mint("host", ROOM, "host"), room=ROOM
        )
        running = Host(
            PatternTrack(640, 360, settings=stream),
            hub,
            SignallingClient(client),
            HostSettings(connection=connection),
        )
        task = asyncio.create_task(running.run())
        stack.push_async_callback(asyncio.wait, [task])
        stack.push_async_callback(running.close)
        yield f"{server.url}#room={ROOM}&token={issuer.mint('guest', ROOM, 'viewer')}"
    await task


async def lose_frames(page: Page, relay: FrameRelay, count: int) -> Outage:
    """Lose so many frames, and wait until the picture has gone on for a while."""
    start = await page.evaluate("pattern.frames.length") - 1
    lost = await relay.lose(count)
    await page.wait_for(
        f"pattern.frames.slice({start}).some(([n], i, all) => i && n > all[i - 1][0] + 1)", 20
    )
    await more_frames(page, FPS // 2)
    frames = await frames_of(page, start)
    holes = [(a, b) for a, b in itertools.pairwise(frames) if b.number != a.number + 1]
    return Outage(lost, *holes[0])


async def key_frames(page: Page) -> int:
    """How many key frames the page has decoded, by statistics that are taken from now on."""
    await page.evaluate("window.oldStats = playcast.stats")
    await page.wait_for("playcast.stats !== oldStats")
    count: int = await page.evaluate("playcast.stats.keyFrames")
    return count


async def lose_and_look(script: str) -> Seen:
    """A page whose offer passes through ``script`` loses frames time and again."""
    async with (
        Chromium() as browser,
        FrameRelay(WAY_S) as relay,
        relayed_host(relay) as link,
    ):
        page = await browser.open(link, init=[script, ONE_WAY, SCRIPT])
        await page.wait_for(f"pattern.frames.length > {2 * FPS}", 30)
        before = await key_frames(page)
        outages = [await lose_frames(page, relay, count) for count in LOSSES]
        found = await key_frames(page) - before
        plis = await page.evaluate("playcast.stats.plis")
        offset_ms = (await clock_of(page)).offset_ms
    return Seen(outages, [o.length_ms(offset_ms) for o in outages], found, plis)


def say(capsys: pytest.CaptureFixture[str], name: str, seen: Seen) -> None:
    """What was measured."""
    missed = [o.after.number - o.before.number - 1 for o in seen.outages]
    with capsys.disabled():
        print(
            f"\n{name}, round trip {ROUND_TRIP_MS:.0f} ms, {FPS} fps, {LOSSES} frames lost: "
            f"decoded again {statistics.median(seen.lengths_ms):.0f} ms later "
            f"({', '.join(f'{ms:.0f}' for ms in seen.lengths_ms)}), frames not shown {missed}, "
            f"{seen.key_frames} IDRs"
        )


@pytest.mark.parametrize(("name", "script"), [("with RTX", AS_IT_IS), ("without RTX", WITHOUT_RTX)])
async def test_goes_on_without_an_idr(
    name: str, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round trip and two frames after the loss, and every picture's code can be read."""
    seen = await lose_and_look(script)
    say(capsys, name, seen)
    assert (seen.key_frames, seen.plis) == (0, 0)
    assert statistics.median(seen.lengths_ms) < ROUND_TRIP_MS + 2 * FRAME_MS + SLACK_MS


async def test_takes_an_idr_without_the_descriptor(capsys: pytest.CaptureFixture[str]) -> None:
    """The same without the extension: there is an IDR for each loss, before the page asks."""
    seen = await lose_and_look(WITHOUT_DESCRIPTOR)
    say(capsys, "without the descriptor", seen)
    assert seen.key_frames >= len(LOSSES) // 2
    assert max(seen.lengths_ms) < 2500
