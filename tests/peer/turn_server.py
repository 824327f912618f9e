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
    """Use as a context manager; `port` serves UDP and TCP, for STUN and TURN.

    With `secret` it takes the credentials that are made with it, and not those of a user; with
    `tls` it serves TLS on `tls_port`, with a certificate of its own that `certificate` has.
    """

    def __init__(self, folder: Path, *, secret: str = "", tls: bool = False) -> None:
        self._folder = folder
        self._secret = secret
        self._tls = tls
        self.port = _free_port()
        self.tls_port = _free_port()
        self.certificate = folder / "turn.pem"
        self._process: asyncio.subprocess.Process | None = None

    def url(self, transport: str) -> str:
        """Its TURN URL over "udp", "tcp" or "tls"."""
        if transport == "tls":
            return f"turns:127.0.0.1:{self.tls_port}?transport=tcp"
        return f"turn:127.0.0.1:{self.port}?transport={transport}"

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            EXECUTABLE,
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            f"--listening-port={self.port}",
            "--allow-loopback-peers",
            "--no-dtls",
            "--no-cli",
            *await self._security(),
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

    async def _security(self) -> list[str]:
        options = [f"--user={USER}:{PASSWORD}", "--lt-cred-mech"]
        if self._secret:
            options = ["--use-auth-secret", f"--static-auth-secret={self._secret}"]
        if not self._tls:
            return [*options, "--no-tls"]
        key = self._folder / "turn.key"
        await _make_certificate(self.certificate, key)
        files = (f"--cert={self.certificate}", f"--pkey={key}")
        return [*options, f"--tls-listening-port={self.tls_port}", *files]

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


async def _make_certificate(certificate: Path, key: Path) -> None:
    """One that vouches for itself, for 127.0.0.1."""
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", *name, "-out", str(certificate), "-keyout", str(key)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
