"""The ``playcast host`` command in a process of its own, as a person runs it.

::

    async with HostProcess("--source", "pattern") as host:
        page = await browser.open(host.link)
        report = await host.report(lambda r: r["viewers"] == 1)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0

_LINK = re.compile(r"http://\S+")


class HostError(Exception):
    """The command did not start, or ended by itself. The text has what it said."""


class HostProcess:
    """One run of ``playcast host --json`` with these options, on free ports.

    With ``--signalling`` among them it makes no server of its own, and there is no link. ``prefix``
    comes before the command. Leaving the context ends it as Ctrl-C does, and asserts that this is
    a clean end.
    """

    def __init__(self, *options: str, prefix: Sequence[str] = ()) -> None:
        self._alone = "--signalling" not in options
        self._options = ("--port", "0", *options) if self._alone else options
        self._prefix = prefix
        self._tasks: list[asyncio.Task[None]] = []
        self._said: deque[str] = deque(maxlen=50)
        self._link: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Condition()
        self._process: asyncio.subprocess.Process
        self.link = ""
        """What a viewer opens."""
        self.reports: list[dict[str, Any]] = []
        """Its reports, one a second, oldest first."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            *(sys.executable, "-P", "-m", "peer"),
            *("host", "--json", *self._options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self._tasks = [asyncio.create_task(self._read_reports())]
        self._tasks.append(asyncio.create_task(self._read_words()))
        try:
            if self._alone:
                async with asyncio.timeout(START_TIMEOUT):
                    self.link = await self._link
            else:
                await self.report(lambda report: report["signalling"] == "joined", START_TIMEOUT)
        except BaseException:
            await self._end(signal.SIGKILL)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._end(signal.SIGINT)
        except TimeoutError:
            await self._end(signal.SIGKILL)
            raise HostError(f"did not end after SIGINT{self._tail()}") from None
        if kind is None and self._process.returncode != 0:
            raise HostError(f"ended with {self._process.returncode}{self._tail()}")

    async def report(
        self, wanted: Callable[[dict[str, Any]], bool], timeout: float = 15.0
    ) -> dict[str, Any]:
        """The next report, from now on, that is as ``wanted``."""
        start = len(self.reports)

        def found() -> dict[str, Any] | None:
            return next((r for r in self.reports[start:] if wanted(r)), None)

        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: found() is not None)
        except TimeoutError:
            last = json.dumps(self.reports[-1]) if self.reports else "no report"
            raise HostError(f"no such report; the last: {last}{self._tail()}") from None
        report = found()
        assert report is not None
        return report

    async def given_up(self) -> int:
        """Frames that it did not send to those who watch now: it got no processor for too long."""
        report = await self.report(lambda _: True)
        watching = [peer for peer in report["peers"] if peer["state"] == "connected"]
        return sum(peer["frames_dropped"] for peer in watching)

    async def words(self, part: str, timeout: float = 15.0) -> str:
        """The first line on standard error, of those so far or to come, that has this part."""

        def found() -> str | None:
            return next((line for line in self._said if part in line), None)

        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise HostError(f"no word of {part!r}{self._tail()}") from None
        line = found()
        assert line is not None
        return line

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.reports.append(json.loads(line))
                self._changed.notify_all()

    async def _read_words(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            async with self._changed:
                self._said.append(text)
                self._changed.notify_all()
            if (link := _LINK.search(text)) and not self._link.done():
                self._link.set_result(link[0])
        if self._alone and not self._link.done():
            self._link.set_exception(HostError(f"ended while starting{self._tail()}"))

    async def _end(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)
        await self._process.wait()
        await asyncio.gather(*self._tasks)

    def _tail(self) -> str:
        return "".join(f"\n  {line}" for line in list(self._said)[-10:])
