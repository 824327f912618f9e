"""The machine that figures come from, and who else is using it."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def describe_machine() -> dict[str, Any]:
    """What a reader needs to know to compare figures."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": _libraries(),
    }


def commit(root: Path) -> str:
    """The checkout's commit, marked when files were changed since; "unknown" outside of git."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cores_apart() -> tuple[int | None, int | None]:
    """A core for the measured and one for the measuring side; no pinning where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


class ForeignCpu:
    """What the machine did since this was made that neither we nor our children did."""

    def __init__(self) -> None:
        self._start = (time.monotonic(), _machine_seconds(), tree_cpu_seconds(os.getpid()))

    def share(self) -> float:
        """Foreign CPU time over the machine's capacity, 0..1."""
        at, machine, own = self._start
        elapsed = (time.monotonic() - at) * (os.cpu_count() or 1)
        foreign = _machine_seconds() - machine - (tree_cpu_seconds(os.getpid()) - own)
        return min(1.0, max(0.0, foreign / elapsed)) if elapsed > 0 else 0.0


def tree_cpu_seconds(root: int) -> float:
    """CPU seconds of a process and its descendants so far, those that have ended included."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = _stat_fields(entry / "stat")
        except OSError:
            continue  # ended meanwhile
        parents[int(entry.name)] = int(fields[1])
        spent[int(entry.name)] = sum(map(int, fields[11:15])) / _TICKS
    return sum(spent[pid] for pid in spent if _descends(pid, root, parents))


def thread_cpu_seconds(pid: int) -> dict[str, float]:
    """CPU seconds of each kind of thread in a process, summed by name."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            found[name] = found.get(name, 0.0) + _task_seconds(task)
        except OSError:
            continue  # ended meanwhile
    return found


def _task_seconds(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return sum(map(int, _stat_fields(task / "stat")[11:13])) / _TICKS


def _stat_fields(path: Path) -> list[str]:
    """The fields of a stat file behind the name, which may hold anything: state is number 0."""
    return path.read_text().rpartition(")")[2].split()


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == root:
            return True
        pid = parents[pid]
    return False


def _machine_seconds() -> float:
    """Busy and stolen time of all cores: everything but idle and waiting for I/O."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def _cpu_model() -> str:
    return _first_value(Path("/proc/cpuinfo").read_text().splitlines(), "model name")


def _first_value(lines: Iterable[str], key: str) -> str:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return platform.machine()


def _libraries() -> str:
    from native import library_versions

    return library_versions()
