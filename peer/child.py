"""Child processes that end with us, whatever ends us.

A child is started through util-linux' ``setpriv``, which asks the kernel to send it SIGTERM when
the thread that started it ends (``PR_SET_PDEATHSIG``, prctl(2)): nothing is left behind even after
a SIGKILL. It has a process group of its own, so that Ctrl-C reaches only us and the order of the
end is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

STOP_TIMEOUT = 3.0
"""Seconds between SIGTERM and SIGKILL."""


class ChildError(Exception):
    """A process that is needed cannot run. The text says what to do about it."""


def find_program(name: str, package: str) -> str:
    """The path of a program, which Debian may have put into /usr/games, outside of $PATH.

    Raises :class:`ChildError` that names the Debian package when there is none.
    """
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/games"])
    path = shutil.which(name, path=search)
    if path is None:
        raise ChildError(f"{name} is not installed: apt-get install {package}")
    return path


class Child:
    """A running process, and what it wrote."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, output: IO[bytes]) -> None:
        self.name = name
        self._process = process
        self._output = output

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start ``command``; its output is kept for :meth:`obituary`.

        Call it on the main thread: the child ends with the thread that started it. Raises
        :class:`ChildError`.
        """
        setpriv = find_program("setpriv", "util-linux")
        output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        try:
            process = await asyncio.create_subprocess_exec(
                *(setpriv, "--pdeathsig", "TERM", *command),
                cwd=directory,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                process_group=0,
            )
        except BaseException:
            output.close()
            raise
        await _until_replaced(process.pid, setpriv)
        log.debug("started %s, pid %d", name, process.pid)
        return cls(name, process, output)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; ``None`` while it runs."""
        return self._process.returncode

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._process.wait()

    def last_words(self) -> str:
        """The last line that the process wrote; empty when it wrote nothing."""
        self._output.seek(0)
        said = self._output.read().decode("utf-8", "replace").strip().splitlines()
        return said[-1].strip() if said else ""

    def obituary(self) -> str:
        """What became of the process, with the last thing it said."""
        said = self.last_words()
        return f"{self.name} ended (status {self.returncode})" + (f": {said}" if said else "")

    async def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL. Returns when it is gone. May be called again."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                log.warning("%s does not end on SIGTERM; killing it", self.name)
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        self._output.close()


async def read_line(pipe: IO[bytes], timeout_s: float) -> bytes:
    """One line from the reading end of a pipe, without blocking; empty at its end. Closes ``pipe``.

    Raises :class:`TimeoutError`.
    """
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return await asyncio.wait_for(reader.readline(), timeout_s)
    finally:
        transport.close()


async def _until_replaced(pid: int, program: str) -> None:
    """Wait until ``program`` has become the command that it was given, or has ended."""
    while _runs(pid, program):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.001)


def _runs(pid: int, program: str) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink() == Path(program).resolve()
    except OSError:  # it has ended
        return False
