"""A coturn (Debian's) on loopback, for tests."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

EXECUTABLE = "/usr/bin/turnserver"
USER, PASSWORD = "tester", "secret"


class TurnServer:
    """Use as a context manager; `port` serves UDP and TCP, for STUN and TURN."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _free_port()
        self._process: asyncio.subprocess.Process | None = None

    def url(self, transport: str) -> str:
        """Its TURN URL over "udp" or "tcp"."""
        return f"turn:127.0.0.1:{self.port}?transport={transport}"

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            EXECUTABLE,
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            f"--listening-port={self.port}",
            "--allow-loopback-peers",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--lt-cred-mech",
            f"--user={USER}:{PASSWORD}",
            "--realm=test",
            f"--userdb={self._folder}/turndb",
            f"--pidfile={self._folder}/pid",
            "--log-file=stdout",
            "--simple-log",
            "--relay-threads=1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        await asyncio.wait_for(self._until_ready(), 10)
        self._drain = asyncio.create_task(self._read_on())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._drain

    async def kill(self) -> None:
        """Die without a word to anybody."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def _until_ready(self) -> None:
        """Until its last thread, the one that knows the users, says that it is there."""
        assert self._process is not None
        assert self._process.stdout is not None
        seen = b""
        while b"SQLite DB connection success" not in seen:
            more = await self._process.stdout.read(65536)
            assert more, f"coturn did not start: {seen.decode()}"
            seen += more

    async def _read_on(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while await self._process.stdout.read(65536):
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
