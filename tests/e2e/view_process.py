"""The ``playcast view`` command in a process of its own, as a person runs it.

::

    async with ViewProcess(host.link, "--record", "game.mkv") as view:
        report = await view.report(lambda r: r["frames"] > 60)
        assert await view.interrupt() == 0
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from .host_process import ROOT, STOP_TIMEOUT


class ViewError(Exception):
    """The command did not do what was waited for. The text has what it said."""


class ViewProcess:
    """One run of ``playcast view LINK --json`` with these options. Leaving the context kills it,
    if it still runs."""

    def __init__(
        self, link: str, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._words = ("view", link, "--json", *options)
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {})
        self._changed = asyncio.Condition()
        self._process: asyncio.subprocess.Process
        self._tasks: list[asyncio.Task[None]] = []
        self.reports: list[dict[str, Any]] = []
        """Its reports, one a second, oldest first."""
        self.said: list[str] = []
        """The lines on standard error."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "peer", *self._words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            env=self._environment,
        )
        self._tasks = [asyncio.create_task(self._read_reports())]
        self._tasks.append(asyncio.create_task(self._read_words()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(*self._tasks)

    async def report(
        self, wanted: Callable[[dict[str, Any]], bool], timeout: float = 30.0
    ) -> dict[str, Any]:
        """The first report, of those so far or to come, that is as ``wanted``."""

        def found() -> dict[str, Any] | None:
            return next((r for r in self.reports if wanted(r)), None)

        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(
                    lambda: found() or self._process.returncode is not None
                )
        except TimeoutError:
            raise ViewError(f"no such report{self._tail()}") from None
        report = found()
        if report is None:
            raise ViewError(f"ended with {self._process.returncode}{self._tail()}")
        return report

    async def interrupt(self) -> int:
        """Press Ctrl-C, wait for the end. Returns the exit status."""
        self._process.send_signal(signal.SIGINT)
        return await self.end(STOP_TIMEOUT)

    async def end(self, timeout: float = 30.0) -> int:
        """Wait until it ends by itself. Returns the exit status."""
        try:
            async with asyncio.timeout(timeout):
                status = await self._process.wait()
                await asyncio.gather(*self._tasks)
        except TimeoutError:
            raise ViewError(f"did not end{self._tail()}") from None
        return status

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.reports.append(json.loads(line))
                self._changed.notify_all()
        await self._process.wait()
        async with self._changed:
            self._changed.notify_all()

    async def _read_words(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.said.append(line.decode(errors="replace").rstrip())

    def _tail(self) -> str:
        last = [json.dumps(report) for report in self.reports[-1:]]
        return "".join(f"\n  {line}" for line in [*last, *self.said[-10:]])
