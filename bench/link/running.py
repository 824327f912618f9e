"""The emulated link in real time, as a child process: changed while it runs, logged, ended."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.common.tools import Process, ToolError, build_tool
from bench.link.presets import LinkSettings


@dataclass(frozen=True)
class Interval:
    """A line of the log: one direction, one interval of 100 ms."""

    t: float
    """Its end, in seconds from the log's zero."""
    rate_bps: float
    """The link's; 0 = unlimited."""
    offered_bps: float
    udp_bps: float
    tcp_bps: float
    queue_ms: float
    """How long a packet would wait that came at the interval's end."""
    dropped: int
    """The queue was full."""
    lost: int
    waits_ms: Sequence[float]
    """How long each UDP packet that came out had waited."""


@dataclass(frozen=True)
class LinkLog:
    """What was logged, from the last zero on."""

    zero_ns: int
    forward: list[Interval]
    back: list[Interval]


def read_log(path: Path) -> LinkLog:
    """A log as far as it is written."""
    zero_ns = 0
    ways: dict[str, list[Interval]] = {"forward": [], "back": []}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "zero_ns" in entry:
            zero_ns = entry["zero_ns"]
            for intervals in ways.values():
                intervals.clear()
            continue
        ways[entry["way"]].append(
            Interval(
                t=entry["t"],
                rate_bps=entry["rate_bps"],
                offered_bps=entry["offered_bps"],
                udp_bps=entry["udp_bps"],
                tcp_bps=entry.get("tcp_bps", 0.0),
                queue_ms=entry["queue_ms"],
                dropped=entry["dropped"],
                lost=entry["lost"],
                waits_ms=[wait / 1e3 for wait in entry["waits_us"]],
            )
        )
    return LinkLog(zero_ns, ways["forward"], ways["back"])


def front_options(
    settings: LinkSettings, *, schedule: Path | None, log: Path | None, seed: int
) -> list[str]:
    """The command line that both front ends take."""
    options = ["--forward", settings.forward, "--back", settings.back, "--seed", str(seed)]
    if schedule is not None:
        options += ["--schedule", str(schedule)]
    if log is not None:
        options += ["--log", str(log)]
    return options


class RunningLink:
    """A front end's process. Use as a context manager: leaving it ends the process."""

    program: str

    def __init__(
        self,
        settings: LinkSettings,
        *,
        schedule: Sequence[str] = (),
        logged: bool = False,
        seed: int = 1,
    ) -> None:
        """``schedule``: lines of ``SECONDS forward|back|both SETTINGS``, from :meth:`zero` on."""
        self._settings = settings
        self._schedule = schedule
        self._logged = logged
        self._seed = seed
        self._folder: Path | None = None
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="playcast-link-"))
        try:
            schedule = None
            if self._schedule:
                schedule = self._folder / "schedule"
                schedule.write_text("\n".join(self._schedule) + "\n")
            options = front_options(
                self._settings,
                schedule=schedule,
                log=self._folder / "log" if self._logged else None,
                seed=self._seed,
            )
            self._process = Process(
                build_tool(self.program), *self._arguments(), *options, stdin=True
            )
            self._started(self._process)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def change(self, line: str) -> None:
        """``forward|back|both SETTINGS``, at once. Raises :class:`ValueError` with the reason."""
        process = self._running()
        process.say(line)
        answer = process.expect("", 10.0)
        if answer != "ok":
            raise ValueError(answer.removeprefix("error "))

    def zero(self) -> None:
        """The schedule begins now, and so does the log."""
        self.change("zero")

    def log(self) -> LinkLog:
        """What was logged so far."""
        if self._folder is None or not self._logged:
            raise ToolError("the link keeps no log")
        return read_log(self._folder / "log")

    def stop(self) -> dict[str, Any]:
        """End it; returns what each direction did. The log can still be read."""
        return self._running().stop()

    def close(self) -> None:
        """End it, whatever it does, and remove its files."""
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _running(self) -> Process:
        if self._process is None:
            raise ToolError("the link is not running")
        return self._process

    def _arguments(self) -> Sequence[str]:
        raise NotImplementedError

    def _started(self, process: Process) -> None:
        raise NotImplementedError


class Relay(RunningLink):
    """A UDP relay on loopback: what comes to :attr:`port` goes on to ``to``, and back."""

    program = "relay"

    def __init__(
        self,
        settings: LinkSettings,
        to: str,
        *,
        schedule: Sequence[str] = (),
        logged: bool = False,
        seed: int = 1,
    ) -> None:
        """``to``: ADDRESS:PORT."""
        super().__init__(settings, schedule=schedule, logged=logged, seed=seed)
        self._to = to
        self.port = 0

    def _arguments(self) -> Sequence[str]:
        return ("--listen", "0", "--to", self._to)

    def _started(self, process: Process) -> None:
        self.port = int(process.expect("port"))
