"""A viewer that is not ours: a plain aiortc.RTCPeerConnection on loopback."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame


def use_loopback(monkeypatch: pytest.MonkeyPatch, address: str = "127.0.0.1") -> None:
    """Let plain aioice gather loopback, and nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [address])


class Viewer:
    """Answers one offer, decodes what comes, counts it."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames: list[VideoFrame] = []
        self.channels: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._more = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.pc.on("track", self._start)
        self.pc.on("datachannel", self.channels.put_nowait)
        self.pc.on("connectionstatechange", self._changed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def answer(self, offer: str) -> str:
        """The answer to an offer, with every candidate."""
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return str(self.pc.localDescription.sdp)

    async def until_frames(self, count: int, timeout: float = 20.0) -> None:
        """Until so many frames were decoded."""
        async with asyncio.timeout(timeout), self._more:
            await self._more.wait_for(lambda: len(self.frames) >= count)

    def _changed(self) -> None:
        if self.pc.connectionState == "closed":
            self.closed.set()

    def _start(self, track: Any) -> None:
        task = asyncio.ensure_future(self._decode(track))
        self._tasks.add(task)

    async def _decode(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            async with self._more:
                self.frames.append(frame)
                self._more.notify_all()
