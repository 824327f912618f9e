"""Where a desktop program has its tokens from: a command, or a file that something else renews.

Both are a :data:`.signalling_settings.TokenSource`: asked before each hello, and when the server
says that the token ends soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from pathlib import Path

from peer.signalling_settings import TokenUnavailable

MAX_TOKEN = 8192  # characters; what the server reads
MAX_OUTPUT = 64 * 1024  # bytes

_WORD = re.compile(r"[\x21-\x7e]+")


class CommandTokens:
    """Runs a command for each token: the first line that it writes. No shell is involved."""

    def __init__(self, command: str, *, timeout_s: float = 10.0) -> None:
        """Raises :class:`ValueError` for what is no command line."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"cannot be read as a command line: {error}") from None
        if not self._words:
            raise ValueError("is empty")
        self._timeout_s = timeout_s

    async def __call__(self) -> str:
        """Raises :class:`.TokenUnavailable` in words."""
        name = self._words[0]
        starting = asyncio.ensure_future(self._start())
        try:
            process = await asyncio.shield(starting)
        except OSError as error:
            raise TokenUnavailable(f"{name} cannot be run: {error.strerror}") from error
        except asyncio.CancelledError:
            # asyncio itself would wait for ever for what a command half started has started.
            with contextlib.suppress(OSError):
                await _end(await starting)
            raise
        try:
            async with asyncio.timeout(self._timeout_s):
                written, complaint = await asyncio.gather(
                    _read(process.stdout), _read(process.stderr)
                )
                status = await process.wait()
        except BaseException as error:
            await _end(process)
            if isinstance(error, TimeoutError):
                text = f"{name} did not come to an end within {self._timeout_s:g} s"
                raise TokenUnavailable(text) from None
            raise
        if status != 0:
            reason = _last_line(complaint)
            raise TokenUnavailable(f"{name} failed with status {status}{reason and f': {reason}'}")
        return checked(written, f"what {name} wrote")

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            process_group=0,
        )


class FileTokens:
    """Reads a file for each token: it may be replaced at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self) -> str:
        """Raises :class:`.TokenUnavailable` in words."""
        try:
            content = await asyncio.to_thread(self._read)
        except OSError as error:
            raise TokenUnavailable(f"cannot read {self._path}: {error.strerror}") from error
        return checked(content, str(self._path))

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(MAX_OUTPUT)


def checked(content: bytes, where: str) -> str:
    """The token that is the first line of ``content``. Raises :class:`.TokenUnavailable`."""
    line = content.strip().partition(b"\n")[0].strip().decode("ascii", "replace")
    if not line:
        raise TokenUnavailable(f"there is no token in {where}")
    if len(line) > MAX_TOKEN or not _WORD.fullmatch(line):
        raise TokenUnavailable(f"{where} is no token: it is one word of up to {MAX_TOKEN} letters")
    return line


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """To its end; what is too much is read and forgotten."""
    assert stream is not None
    kept = b""
    while block := await stream.read(MAX_OUTPUT):
        kept += block[: MAX_OUTPUT - len(kept)]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it with all that it has started, which may hold on to its output still."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines() or [""]
    return "".join(letter for letter in lines[-1] if letter.isprintable())[:200]
