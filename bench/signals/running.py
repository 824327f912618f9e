"""The processes of a measurement: servers and loads, each on its core, ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from bench.common.machine import cores_apart

ROOT = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A program that speaks in lines of JSON."""

    def __init__(self, module: str, *arguments: str, cpu: int | None, nice: int = 0) -> None:
        self._name = " ".join((module, *arguments[:1])) if len(arguments) > 1 else module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: _settle(cpu, nice),  # there are no threads
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def rss_bytes(self) -> int:
        """Memory in use."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def read(self) -> dict[str, Any]:
        """The next line. Raises :class:`RuntimeError` when the program has ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def say(self, line: str) -> None:
        """A line for its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Close its standard input; it ends then."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Server(Process):
    """A signalling server on the first core."""

    def __init__(self, **options: Any) -> None:
        super().__init__("bench.signals.server", json.dumps(options), cpu=cores_apart()[0])
        self.info = self.read()


def load(name: str, *, nice: int = 0, **options: Any) -> Process:
    """A load on the second core; a ``nice`` one leaves that core to those that measure."""
    return Process(
        "bench.signals.loads", name, json.dumps(options), cpu=cores_apart()[1], nice=nice
    )


def _settle(cpu: int | None, nice: int) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    os.nice(nice)
