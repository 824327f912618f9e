"""The benchmarks' own programs in C: built on demand with the flags of the core, run as processes.

Each ends on SIGTERM with one JSON object as its last line, and dies with us whatever happens.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from bench.common.machine import cores_apart

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "bench" / "tools"
LINK = ROOT / "bench" / "link"
BUILD = ROOT / "build" / "bench"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0

_LINK_CORE = tuple(LINK / name for name in ("link.c", "trace.c", "settings.c"))


@dataclass(frozen=True)
class _Program:
    sources: tuple[Path, ...]
    core: bool = True  # linked with the media core
    flags: tuple[str, ...] = ()


def _tool(name: str) -> _Program:
    return _Program((TOOLS / f"{name}.c", TOOLS / "content.c"))


PROGRAMS = {
    "drain": _tool("drain"),
    "encoder_alone": _tool("encoder_alone"),
    "kernels": _tool("kernels"),
    "painter": _tool("painter"),
    "receiver": _tool("receiver"),
    "relay": _Program((LINK / "relay.c", LINK / "front.c", *_LINK_CORE), core=False),
    "tun": _Program((LINK / "tun.c", LINK / "front.c", *_LINK_CORE), core=False),
    "session": _Program(
        (*sorted((ROOT / "bench" / "session").glob("*.c")), *_LINK_CORE),
        flags=("-Wl,--wrap=pc_loss_control_repairs,--wrap=pc_loss_control_resend",),
    ),
}


class ToolError(Exception):
    """A program did not build, did not start, or failed. Says what it said."""


def build_tool(name: str) -> Path:
    """The program ``name`` of :data:`PROGRAMS`, compiled unless it is up to date."""
    if name not in PROGRAMS:
        raise ValueError(f"name takes one of {', '.join(PROGRAMS)}, not {name!r}")
    (BUILD / "core").mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(name)


def _build(name: str) -> Path:
    program, target = PROGRAMS[name], BUILD / name
    folders = [TOOLS, LINK, ROOT / "bench" / "session", ROOT / "native" / "src"]
    cflags = ["-O3", *_flags("cflags"), *(f"-I{folder}" for folder in folders)]
    objects = _build_core(cflags) if program.core else []
    headers = [header for folder in folders[:3] for header in folder.glob("*.h")]
    if _older(target, [*program.sources, *headers, *objects]):
        _compile(
            [
                *cflags,
                *map(str, [*program.sources, *objects]),
                *(_flags("libs") if program.core else ["-lm"]),
                *program.flags,
            ],
            target,
        )
    return target


def _build_core(cflags: Sequence[str]) -> list[Path]:
    headers = [*ROOT.glob("native/src/*.h"), ROOT / "native/core.cdef.h", ROOT / "native/build.py"]
    sources = sorted(ROOT.glob("native/src/*.c"))
    objects = [BUILD / "core" / f"{source.stem}.o" for source in sources]
    stale = [
        (source, built)
        for source, built in zip(sources, objects, strict=True)
        if _older(built, [source, *headers])
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: _compile([*cflags, "-c", str(pair[0])], pair[1]), stale))
    return objects


def _older(target: Path, sources: Sequence[Path]) -> bool:
    if not target.exists():
        return True
    built = target.stat().st_mtime_ns
    return any(source.stat().st_mtime_ns > built for source in sources)


def _compile(arguments: Sequence[str], target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    _run([*shlex.split(os.environ.get("CC", "cc")), *arguments, "-o", str(partial)])
    partial.replace(target)


def _flags(kind: str) -> list[str]:
    return shlex.split(_run([sys.executable, str(ROOT / "native/build.py"), kind]))


def _run(command: Sequence[str]) -> str:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToolError(f"{shlex.join(command[:3])} …: {result.stderr.strip()[-2000:]}")
    return result.stdout


class Process:
    """A child that prints lines, the last one JSON. Use as a context manager."""

    def __init__(
        self, *command: str | Path, environment: dict[str, str] | None = None, stdin: bool = False
    ) -> None:
        self.command = [str(part) for part in command]
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._seen: list[str] = []
        self._child = subprocess.Popen(
            self.command,
            cwd=ROOT,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
        )
        assert self._child.stdout is not None
        threading.Thread(target=self._read, args=(self._child.stdout,), daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def expect(self, word: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Wait for a line that begins with ``word``; returns the rest of it."""
        while True:
            line: str = self._next(timeout_s, word)
            if line.startswith(word):
                return line.removeprefix(word).strip()

    def say(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def stop(self) -> dict[str, Any]:
        """End it; returns its result."""
        self._child.send_signal(signal.SIGTERM)
        return self.result(STOP_TIMEOUT_S)

    def result(self, timeout_s: float) -> dict[str, Any]:
        """Wait for its end; returns its result. Raises :class:`ToolError` when it failed."""
        last = ""
        while (line := self._next(timeout_s, "its end", may_end=True)) is not None:
            last = line
        status = self._child.wait(STOP_TIMEOUT_S)
        if status != 0 or not last.startswith("{"):
            raise ToolError(f"{self._name()} ended with status {status}: {last[-500:]}")
        found: dict[str, Any] = json.loads(last)
        return found

    def close(self) -> None:
        """End it, whatever it does."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._child.poll() is not None:
                break
            self._child.send_signal(number)
            try:
                self._child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, pipe: IO[str]) -> None:
        try:
            for line in pipe:
                self._lines.put(line.rstrip("\n"))
        except ValueError:
            pass  # closed while it was read
        self._lines.put(None)

    def _next(self, timeout_s: float, what: str, *, may_end: bool = False) -> Any:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise ToolError(f"{self._name()}: no sign of {what!r} in {timeout_s:.0f} s") from None
        if line is None and not may_end:
            raise ToolError(f"{self._name()} ended before {what!r}")
        return line

    def _name(self) -> str:
        return shlex.join(self.command[:4])


def start_tool(name: str, **options: object) -> Process:
    """Start ``bench/tools/NAME.c`` with ``--option value`` for each that is not None."""
    arguments: list[str] = []
    for key, value in options.items():
        if value is not None:
            arguments += [f"--{key.replace('_', '-')}", str(value)]
    return Process(build_tool(name), *arguments)


def start_drain() -> tuple[Process, int]:
    """A drain on the measuring side's core, and its port."""
    drain = start_tool("drain", cpu=cores_apart()[1])
    return drain, int(drain.expect("port"))
