"""Our sender: the host's own hub, stream and connection, on the generated picture."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from bench.live.speech import LiveSettings, hear_sdp, say_result, say_sdp, stopped
from native import Controller, Source, Stream, StreamSettings
from peer.connection import Connection, ConnectionSettings
from peer.hub import HubSettings, MediaHub
from peer.sdp import VideoOffer

WATCH_S = 0.5
_CONTROLLERS = {"train": Controller.TRAIN, "gcc": Controller.GCC}


async def _run(settings: LiveSettings) -> None:
    hub = MediaHub(HubSettings(bind=(settings.address,), realtime=True))
    source = Source.pattern(settings.width, settings.height)
    stream = Stream(source, StreamSettings(fps=settings.fps, bitrate=settings.bitrate), hub.native)
    offer = VideoOffer(width=settings.width, height=settings.height, fps=settings.fps)
    connection = Connection(
        hub,
        None,
        ConnectionSettings(video=offer, controller=_CONTROLLERS[settings.controller], player=True),
    )
    connection.send_stream(stream)
    say_sdp("offer", await connection.create_offer())
    await connection.accept_answer(await hear_sdp())
    last: dict[str, Any] = {}

    async def watch() -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            media = connection.stats().media
            if media is not None:  # the receiver may say BYE before we are stopped
                last.update(asdict(media))

    watching = asyncio.create_task(watch())
    await stopped()
    watching.cancel()
    say_result({"media": last})
    await connection.close()
    stream.close()
    await hub.close()


if __name__ == "__main__":
    asyncio.run(_run(LiveSettings.from_arguments()))
