"""``playcast host`` as a person runs it, watched for what it leaves behind.

::

    async with PlaycastProcess("--source", "pattern") as playcast:
        page = await browser.open(playcast.link)

On top of :class:`.HostProcess` (which presses Ctrl-C at the end and wants exit status 0), leaving
the context asserts that nothing of the run is left: no process that it started, no file in
/dev/shm that it had mapped or open, no SysV shared memory that it made.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from .host_process import HostError, HostProcess

_SHARED_FILE = re.compile(r"/dev/shm/\S+")


@dataclass(frozen=True)
class ProcessId:
    """A process, told from a later one of the same number by its start time (clock ticks)."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Does it run? A zombie, which only waits for its parent to read its status, does not."""
        stat = _stat(self.pid)
        return stat is not None and stat.id == self and stat.state not in "ZX"


class PlaycastProcess(HostProcess):
    """One run of ``playcast host``; see :class:`.HostProcess`."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self._family: set[ProcessId] = set()
        self._shared_files: set[str] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._look()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._look()
        await super().__aexit__(kind, error, trace)
        if kind is None:
            self._assert_nothing_left()

    @property
    def pid(self) -> int:
        """The process id of the command."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The port of the web viewer."""
        port = urlsplit(self.link).port
        assert port is not None
        return port

    def _look(self) -> None:
        """Remember the processes of the run, and the shared files that they use."""
        self._family |= family(self.pid)
        for process in self._family:
            self._shared_files |= _shared_files(process.pid)

    def _assert_nothing_left(self) -> None:
        alive = [process.pid for process in self._family if process.alive]
        if alive:
            raise HostError(f"processes are left: {alive}{self._tail()}")
        files = [name for name in self._shared_files if Path(name).exists()]
        if files:
            raise HostError(f"files are left: {files}")
        segments = _segments_of({process.pid for process in self._family})
        if segments:
            raise HostError(f"SysV shared memory is left: segments {segments}")


def family(pid: int) -> set[ProcessId]:
    """The process, its children, their children, and so on."""
    stats = {stat.id.pid: stat for stat in map(_stat, _all_pids()) if stat is not None}
    found: set[ProcessId] = set()
    new = {pid} & stats.keys()
    while new:
        found |= {stats[one].id for one in new}
        new = {one for one, stat in stats.items() if stat.parent in new}
    return found


def children_named(pid: int, name: str) -> list[int]:
    """The process ids of the children of ``pid`` that run a program of that name."""
    stats = [stat for stat in map(_stat, _all_pids()) if stat is not None]
    return [s.id.pid for s in stats if s.parent == pid and s.name == name[:15]]


@dataclass(frozen=True)
class _Stat:
    id: ProcessId
    name: str
    state: str
    parent: int


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> _Stat | None:
    """What /proc/PID/stat says (proc(5)), or None when there is no such process."""
    try:
        text = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in brackets and may hold any character, brackets too.
    name, rest = text.split("(", 1)[1].rsplit(")", 1)
    fields = rest.split()
    return _Stat(ProcessId(pid, int(fields[19])), name, fields[0], int(fields[1]))


def _shared_files(pid: int) -> set[str]:
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found |= set(_SHARED_FILE.findall(Path(f"/proc/{pid}/maps").read_text()))
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found |= set(_SHARED_FILE.findall(str(entry.readlink())))
    return found


def _segments_of(pids: set[int]) -> list[int]:
    """The SysV segments made by these processes: shmid and cpid of /proc/sysvipc/shm."""
    rows = [row.split() for row in Path("/proc/sysvipc/shm").read_text().splitlines()]
    shmid, cpid = rows[0].index("shmid"), rows[0].index("cpid")
    return [int(row[shmid]) for row in rows[1:] if int(row[cpid]) in pids]
