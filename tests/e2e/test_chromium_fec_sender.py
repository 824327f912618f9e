"""Chromium as a sender of FlexFEC: its encoder (libwebrtc's) against this project's decoder.

It sends FlexFEC only when it is told to by a field trial. There is neither retransmission nor NACK,
and a relay between the two loses one media packet in ten, never two of a frame.
"""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from native import Codec, ReceptionStats
from peer.hub import HubSettings, MediaHub
from peer.receiving import ReceivingConnection, ReceivingSettings
from peer.sdp_answer import Wanted

from .chromium import Chromium
from .dropping_relay import DroppingRelay
from .test_chromium_sender import OFFER

pytestmark = pytest.mark.e2e

TRIALS = ("--force-fieldtrials=WebRTC-FlexFEC-03-Advertised/Enabled/WebRTC-FlexFEC-03/Enabled/",)
RECOVERED = 40


def _redirect(sdp: str, port: int) -> str:
    pattern = r"(candidate:\S+ 1 udp \d+ )\S+ \d+ typ"
    return re.sub(pattern, rf"\g<1>127.0.0.1 {port} typ", sdp, flags=re.IGNORECASE)


async def test_what_chromium_protects_is_recovered(capsys: pytest.CaptureFixture[str]) -> None:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    wanted = Wanted(codecs=(Codec.H264,), rtx=False)
    viewer = ReceivingConnection(hub, None, ReceivingSettings(wanted=wanted))
    async with DroppingRelay() as relay, Chromium(*TRIALS) as browser:
        page = await browser.open("about:blank")
        offer = await page.evaluate(OFFER % (1280, 720))
        group = re.search(r"a=ssrc-group:FEC-FR (\d+) \d+", offer)
        assert group is not None
        answer = await viewer.accept_offer(_redirect(offer, relay.viewer_port))
        # Where a round trip is so short, Chromium protects nothing that it can send again.
        answer = re.sub(r"a=rtcp-fb:\d+ nack\r\n", "", _redirect(answer, relay.host_port))
        description = json.dumps({"type": "answer", "sdp": answer})
        await page.evaluate(f"connection.setRemoteDescription({description})")
        assert viewer.track is not None

        def stats() -> ReceptionStats:
            assert viewer.reception is not None
            return viewer.reception.stats()

        async with asyncio.timeout(60):
            await viewer.track.recv()
            relay.drop_of_frames(int(group[1]), every=10)
            while stats().fec_packets < 60:  # it begins with the losses that are reported
                await viewer.track.recv()
            before, lost = stats(), relay.lost
            while stats().recovered_fec - before.recovered_fec < RECOVERED:
                await viewer.track.recv()
            after, lost = stats(), relay.lost - lost
    await viewer.close()
    await hub.close()

    recovered = after.recovered_fec - before.recovered_fec
    with capsys.disabled():
        print(f"\n{recovered} of {lost} lost packets recovered by {after.fec_packets} repairs")
    assert recovered >= 0.9 * lost
    assert (after.malformed, after.decode_errors) == (0, 0)
