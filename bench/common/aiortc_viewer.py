"""A viewer for `playcast host` that is no browser: plain aiortc, which decodes and drops."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

import aioice.ice
import aiortc

from tests.e2e.room_guest import RoomGuest

FIRST_FRAME_TIMEOUT_S = 20.0


class AiortcViewer:
    """Joins the room of a link when the context is entered; leaving it says bye."""

    def __init__(self, link: str) -> None:
        self._guest = RoomGuest(link)
        self._connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self._first = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []
        self.frames = 0
        """Decoded so far."""

    async def __aenter__(self) -> Self:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
        self._connection.on("track", self._on_track)
        await self._guest.__aenter__()
        offer = await self._guest.offer()
        remote = aiortc.RTCSessionDescription(offer.sdp, "offer")
        await self._connection.setRemoteDescription(remote)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        await self._guest.answer(offer, self._connection.localDescription.sdp)
        async with asyncio.timeout(FIRST_FRAME_TIMEOUT_S):
            await self._first.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._guest.__aexit__(kind, error, trace)
        await self._connection.close()

    def _on_track(self, track: Any) -> None:
        self._readers.append(asyncio.create_task(self._read(track)))

    async def _read(self, track: Any) -> None:
        with contextlib.suppress(aiortc.mediastreams.MediaStreamError):
            while True:
                await track.recv()
                self.frames += 1
                self._first.set()
