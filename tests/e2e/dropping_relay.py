"""A UDP path in the middle of a WebRTC connection that loses exactly what a test wants.

::

    viewer ⇄ relay.viewer_port │ relay.host_port ⇄ host

Both ends are told the relay's ports in place of each other's (the test rewrites the candidates).
SRTP leaves the RTP header in the clear (RFC 3711 3.1), so that the relay sees which packets are the
media's, and which of them are of one frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self, cast

_Address = tuple[str, int]


class DroppingRelay:
    """The path, on loopback. Use as an asynchronous context manager."""

    def __init__(self) -> None:
        self.lost = 0
        """Packets that were dropped."""
        self._drops: Callable[[bytes], bool] = lambda _: False
        self._viewer = _End(self._from_viewer)
        self._host = _End(self._from_host)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for end in (self._viewer, self._host):
            await loop.create_datagram_endpoint(partial(_same, end), local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._viewer.close()
        self._host.close()

    @property
    def viewer_port(self) -> int:
        """Where the viewer is to send to."""
        return self._viewer.port

    @property
    def host_port(self) -> int:
        """Where the host is to send to."""
        return self._host.port

    def drop_of_frames(self, ssrc: int, every: int) -> None:
        """From now on lose every so-manieth of the host's RTP packets of this SSRC.

        No frame loses two, and what carries padding is left alone: it may be nothing else.
        """
        hit = b""

        def drops(data: bytes) -> bool:
            nonlocal hit
            timestamp = data[4:8]
            wanted = (
                len(data) >= 12
                and data[0] & 0xE0 == 0x80
                and not 192 <= data[1] <= 223
                and int.from_bytes(data[8:12]) == ssrc
                and int.from_bytes(data[2:4]) % every == 0
                and timestamp != hit
            )
            if wanted:
                hit = timestamp
            return wanted

        self._drops = drops

    def _from_viewer(self, data: bytes) -> None:
        self._host.send(data)

    def _from_host(self, data: bytes) -> None:
        if self._drops(data):
            self.lost += 1
        else:
            self._viewer.send(data)


def _same(end: _End) -> _End:
    return end


class _End(asyncio.DatagramProtocol):
    """One socket; what it sends goes to whoever sent to it last."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self._peer: _Address | None = None
        self._transport: asyncio.DatagramTransport

    @property
    def port(self) -> int:
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: _Address) -> None:
        self._peer = address
        self._received(data)

    def send(self, data: bytes) -> None:
        if self._peer is not None:
            self._transport.sendto(data, self._peer)

    def close(self) -> None:
        self._transport.close()
