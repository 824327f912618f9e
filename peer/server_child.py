"""A signalling server of our own, as a child process: ``python -m signalling serve --dev``.

A process of its own, because its work (tokens, files, WebSockets) is then never in the way of the
host's, and because nothing in ``peer`` needs to know how it works.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from peer.child import Child, ChildError, read_line

START_TIMEOUT = 15.0
"""Seconds until it must listen; making its key for the first time may take one or two."""

COMMAND = (sys.executable, "-P", "-m", "signalling")
"""Runs the server's command line, whatever the working directory is."""


class ServerError(ChildError):
    """The signalling server does not run."""


@dataclass(frozen=True)
class ServerAddress:
    """Where the server is, and the tokens it gave."""

    url: str
    websocket_url: str
    tokens: Mapping[str, str]

    def link(self, room: str) -> str:
        """What a viewer opens."""
        return self.url + "#" + urlencode({"room": room, "token": self.tokens["viewer"]})


class ServerChild:
    """A dev server for this machine alone. An asynchronous context manager."""

    def __init__(
        self,
        *,
        room: str,
        port: int | None = None,
        ice: Sequence[str] = (),
    ) -> None:
        """``port`` ``None`` is the usual one, or any free one when that is taken.

        ``ice``: the server's own options ``--stun`` and ``--turn``, with their values.
        """
        where = ("--or-any-port",) if port is None else ("--port", str(port))
        self._options = ("--room", room, "--log-level", "error", *where, *ice)
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> ServerAddress:
        """Start it. Returns when it listens; raises :class:`ServerError` when it does not."""
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb", 0) as ready:
            command = (*COMMAND, "serve", "--dev", "--ready-fd", str(write_end), *self._options)
            try:
                self._child = await Child.start(
                    "the signalling server",
                    command,
                    environment=environment(),
                    pass_fds=(write_end,),
                )
            finally:
                os.close(write_end)
            try:
                line = await read_line(ready, START_TIMEOUT)
            except TimeoutError:
                text = f"the signalling server did not start within {START_TIMEOUT:.0f} s"
                raise ServerError(text) from None
        if not line:
            await self._child.wait()  # it closed the pipe because it ends
            said = self._child.last_words().removeprefix("playcast serve: ")
            raise ServerError(said or self._child.obituary())
        found = json.loads(line)
        return ServerAddress(found["url"], found["websocket_url"], found["tokens"])

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return None if self._child is None else self._child.pid

    async def wait(self) -> str:
        """Wait until it ends by itself. Returns a sentence that says so."""
        assert self._child is not None
        await self._child.wait()
        return self._child.obituary()

    async def stop(self) -> None:
        """End it. May be called again."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop()


def environment() -> dict[str, str]:
    """Ours, with our own packages found first: a checkout need not be installed."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + path if path else "")}
