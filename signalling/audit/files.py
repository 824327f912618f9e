"""The files of an audit log: one that grows, those it was before, and its head.

``audit.jsonl`` grows. Once it is large it becomes ``audit.000000000001.jsonl``, by the number of
its first line, and another one begins. ``audit.jsonl.head`` has the number and the hash of the last
line, as of the last time that it was certain to be on the disk.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from .chain import MAX_LINE_BYTES, Head, LineError, head_of, read_line


def chain_files(path: Path) -> list[Path]:
    """All files of the log, the oldest first. Those that are not there are not among them."""
    pattern = re.compile(re.escape(path.stem) + r"\.(\d{12})" + re.escape(path.suffix))
    found = {}
    if path.parent.is_dir():
        for file in path.parent.iterdir():
            if match := pattern.fullmatch(file.name):
                found[int(match[1])] = file
    older = [found[number] for number in sorted(found)]
    return [*older, path] if path.exists() else older


def rotated_name(path: Path, first: int) -> Path:
    """What the file is called once it has grown enough."""
    return path.with_name(f"{path.stem}.{first:012}{path.suffix}")


def head_file(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def read_head(path: Path) -> Head | None:
    """The head that was kept. None: there is none, or it cannot be understood."""
    try:
        return Head.parse(head_file(path).read_text(encoding="ascii").strip())
    except (FileNotFoundError, ValueError):
        return None


def write_head(path: Path, head: Head) -> None:
    """Keep the head: the old one or the new one is there at any time."""
    target = head_file(path)
    beside = target.with_name(target.name + ".new")
    beside.write_text(f"{head}\n", encoding="ascii")
    beside.replace(target)


def last_head_of(file: Path) -> Head | None:
    """The head that the last line of an older file gives. None: it is not to be read."""
    with file.open("rb") as lines:
        lines.seek(max(0, file.stat().st_size - MAX_LINE_BYTES - 1))
        return _head_in(lines.read())


def _head_in(tail: bytes) -> Head | None:
    try:
        return head_of(read_line(tail.removesuffix(b"\n").rpartition(b"\n")[2]))
    except LineError:
        return None


class LogFile:
    """The file that grows, held by one process. Raises :class:`OSError` like the calls it makes."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`BlockingIOError` when another process has it."""
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = os.fstat(self._descriptor).st_size
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, lines: bytes) -> None:
        """All of it or, where that fails, nothing."""
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)

    def cut_torn_line(self) -> int:
        """Take off what a crash left of a last line. How many bytes that were."""
        tail = self._tail()
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            self.size -= torn
            os.ftruncate(self._descriptor, self.size)
        return torn

    def last_head(self) -> Head | None:
        """The head that the last line gives. None: it is not to be read."""
        return _head_in(self._tail())

    def first_number(self) -> int:
        """The number of the first line; 0: it is not to be read, or not there."""
        line = os.pread(self._descriptor, MAX_LINE_BYTES, 0).partition(b"\n")[0]
        try:
            return head_of(read_line(line)).seq
        except LineError:
            return 0

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _tail(self) -> bytes:
        start = max(0, self.size - MAX_LINE_BYTES - 1)
        return os.pread(self._descriptor, self.size - start, start)
