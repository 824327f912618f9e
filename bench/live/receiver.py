"""The measuring side of a live run: our native receiver, for our senders and for Chromium's.

Frames are timed in the core. Every so often a picture's luma is kept, to be compared with what was
sent once the run is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from bench.live.picture import KEEP_EVERY, Kept, mean_psnr_db
from bench.live.speech import LiveSettings, hear_sdp, say_result, say_sdp, stopped
from native import ReceivedFrame, SrtpProfile
from peer.dtls import GCM_PROFILES
from peer.hub import HubSettings, MediaHub
from peer.receiving import ReceivingConnection, ReceivingSettings

POLL_S = 1.0


async def _run(settings: LiveSettings) -> None:
    hub = MediaHub(HubSettings(bind=(settings.address,), realtime=True))
    profiles = (*GCM_PROFILES, SrtpProfile.AES128_CM_SHA1_80)
    connection = ReceivingConnection(
        hub, None, ReceivingSettings(read_pattern=True, srtp_profiles=profiles)
    )
    answer = await connection.accept_offer(await hear_sdp())
    say_sdp("answer", answer)
    assert connection.track is not None, "the offer has no video for us"
    track, reception = connection.track, connection.track.reception
    frames: list[ReceivedFrame] = []
    kept: dict[int, Kept] = {}

    async def look() -> None:
        said = False
        while True:
            picture = await track.recv_picture()
            if not said:
                print("first", flush=True)
                said = True
            code = picture.frame.pattern
            if code is not None and code.frame % KEEP_EVERY == 0:
                kept[code.frame] = Kept.of(picture)

    async def collect() -> None:
        while True:
            await asyncio.sleep(POLL_S)
            frames.extend(reception.frames(frames[-1].id + 1 if frames else 0))

    tasks = [asyncio.create_task(look()), asyncio.create_task(collect())]
    await stopped()
    for task in tasks:
        task.cancel()
    frames.extend(reception.frames(frames[-1].id + 1 if frames else 0))
    stats = asdict(reception.stats())
    rows = [
        (f.pattern.frame, f.pattern.time_us, f.decoded_ns, f.bytes)
        for f in frames
        if f.pattern is not None and f.decoded_ns
    ]
    say_result(
        {
            "frames": rows,
            "psnr_db": mean_psnr_db(kept, settings.width, settings.height, clip=settings.clip),
            "stats": stats,
        }
    )
    await connection.close()
    await hub.close()


if __name__ == "__main__":
    asyncio.run(_run(LiveSettings.from_arguments()))
