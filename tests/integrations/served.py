"""``playcast serve`` as a process, for tests."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def serving(
    directory: Path, *words: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The server, and the address it says it has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLAYCAST")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peer.cli", "serve", *words),
        cwd=ROOT,
        env={**kept, "XDG_RUNTIME_DIR": str(directory), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield process, line.decode().rpartition(" ")[2].strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    pem, key = directory / "cert.pem", directory / "key.pem"
    make = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", str(key)),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(pem)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await make.wait() == 0
    return pem, key
