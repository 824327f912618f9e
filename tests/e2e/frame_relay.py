"""A UDP relay on loopback between a viewer and a host, which loses whole frames for good.

RTP headers stay readable under SRTP, and retransmissions and FEC packets have their frame's
timestamp: the relay knows which frame a packet is for, and drops every packet for the frames that
it was told to lose.

::

    async with FrameRelay(way_s=0.015) as relay:
        relay.host_port = hub.port          # the viewer talks to 127.0.0.1:relay.port
        lost = await relay.lose(3)          # the next three frames; returns when they were sent
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
BUFFER_BYTES = 4 << 20


@dataclass(slots=True)
class LostFrames:
    """Frames that were lost, and when their packets came by (time.monotonic())."""

    timestamps: set[int]
    """RTP timestamps."""
    first_sent: list[float] = field(default_factory=list)
    repairs: list[float] = field(default_factory=list)
    """Retransmissions and FEC."""


class _End(asyncio.DatagramProtocol):
    """One socket of the relay."""

    def __init__(self, relay: FrameRelay, towards_viewer: bool) -> None:
        self._relay = relay
        self._towards_viewer = towards_viewer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._relay.pass_on(data, addr, self._towards_viewer)


class FrameRelay:
    """Between one viewer and the host at ``host_port``; each way takes ``way_s`` seconds."""

    def __init__(self, way_s: float) -> None:
        self.host_port = 0
        self.port = 0
        self._viewer: tuple[str, int] | None = None
        self._way_s = way_s
        self._front: asyncio.DatagramTransport
        self._back: asyncio.DatagramTransport
        self._media_ssrc: bytes | None = None
        self._newest: int | None = None
        self._wanted = 0
        self._lost = LostFrames(set())
        self._next_came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._front = await self._open(towards_viewer=False)
        self._back = await self._open(towards_viewer=True)
        self.port = self._front.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._front.close()
        self._back.close()

    async def lose(self, count: int) -> LostFrames:
        """Lose the next ``count`` frames. Returns when the one after them has come."""
        self._lost = lost = LostFrames(set())
        self._wanted = count
        self._next_came.clear()
        await self._next_came.wait()
        return lost

    def pass_on(self, data: bytes, sender: tuple[str, int], towards_viewer: bool) -> None:
        """A datagram came in."""
        if not towards_viewer:
            self._viewer = sender
            transport, target = self._back, (LOOPBACK, self.host_port)
        elif self._viewer is None or self._loses(data):
            return
        else:
            transport, target = self._front, self._viewer
        asyncio.get_running_loop().call_later(self._way_s, _send, transport, data, target)

    def _loses(self, data: bytes) -> bool:
        # RTP, and no RTCP (RFC 7983, RFC 5761 section 4).
        if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
            return False
        timestamp, ssrc, lost = int.from_bytes(data[4:8]), data[8:12], self._lost
        if self._media_ssrc is None:
            self._media_ssrc = ssrc  # nothing else comes first
        if ssrc != self._media_ssrc:
            if timestamp not in lost.timestamps:
                return False
            lost.repairs.append(time.monotonic())
            return True
        if timestamp != self._newest:
            self._newest = timestamp
            if len(lost.timestamps) < self._wanted:
                lost.timestamps.add(timestamp)
            else:
                self._next_came.set()
        if timestamp not in lost.timestamps:
            return False
        lost.first_sent.append(time.monotonic())
        return True

    async def _open(self, *, towards_viewer: bool) -> asyncio.DatagramTransport:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _End(self, towards_viewer), local_addr=(LOOPBACK, 0)
        )
        inside: socket.socket = transport.get_extra_info("socket")
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        return transport


def _send(transport: asyncio.DatagramTransport, data: bytes, target: tuple[str, int]) -> None:
    if not transport.is_closing():
        transport.sendto(data, target)
