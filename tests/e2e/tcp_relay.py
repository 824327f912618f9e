"""A TCP path on loopback that a test can cut and mend: between a page and its server.

::

    async with TcpRelay(server.port) as relay:
        page = await browser.open(f"http://127.0.0.1:{relay.port}/")
        relay.cut()      # every connection breaks without a goodbye, and new ones do too
        relay.mend()
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"


class TcpRelay:
    """Passes connections to port ``target`` on. Use as an asynchronous context manager."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections are passed on to."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self._whole = True
        self.refused = 0
        """Connections that came while the path was cut."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Break every connection."""
        self._whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, there[1])
        self._writers.update(ends)
        try:
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
