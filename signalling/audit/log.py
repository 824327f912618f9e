"""The sink of records that writes the audit log, on a thread of its own.

::

    put ─▶ queue (bounded) ─▶ writer: chain ─▶ append ─▶ fdatasync ─▶ head
     └ full: counted, and said in the log itself once there is room

Where the disk takes nothing, what waits is tried again every second; the server goes on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ..records import Record, RecordType
from .chain import DROPPED, OPENED, Head, make_line
from .files import (
    LogFile,
    chain_files,
    last_head_of,
    read_head,
    rotated_name,
    write_head,
)

log = logging.getLogger(__name__)

MIN_KEY_BYTES = 32
_TOGETHER = 1024
_RETRY_S = 1.0
_SYNC_S = 1.0

AUDITED: Mapping[RecordType, bool] = {
    "server.started": True,
    "server.draining": True,
    "auth.failed": True,
    "room.opened": True,
    "room.closed": True,
    "room.configured": True,
    "stream.started": True,
    "stream.ended": True,
    "viewer.joined": True,
    "viewer.away": False,  # its network's doing, and undone by viewer.returned
    "viewer.returned": False,
    "viewer.left": True,
    "viewer.waiting": True,
    "viewer.admitted": True,
    "viewer.promoted": True,
    "viewer.refused": True,
    "viewer.kicked": True,
    "viewer.banned": True,
    "viewer.unbanned": True,
    "control.requested": False,  # a wish: what came of it is there
    "control.granted": True,
    "control.denied": True,
    "control.released": True,
    "permission.granted": True,
    "permission.revoked": True,
    "invite.made": True,
    "chat.message": False,  # everybody's right, and nobody's business
    "quality.degraded": False,  # the network's doing
    "quality.recovered": False,
}
"""What is written, of all that there is."""


class AuditError(Exception):
    """The audit log cannot be opened. Says why."""


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """Raises :class:`ValueError` naming the wrong field."""

    path: Path
    """The file that grows; others of the log stand beside it. Its folder must be there."""

    server: str = ""
    """Which server this is, for where several logs are brought together."""

    key: bytes = field(default=b"", repr=False)
    """Of the HMAC, at least :data:`MIN_KEY_BYTES`; empty: plain SHA-256, which proves nothing
    against someone who may write the file."""

    sync: Literal["always", "second", "never"] = "always"
    """When lines are brought to the disk: before more are written, every second, or whenever the
    system likes."""

    rotate_bytes: int = 64 * 1024 * 1024
    """How large a file may grow, in bytes."""

    keep_files: int = 0
    """How many old files are kept; 0: all of them."""

    capacity: int = 100_000
    """How many records wait for the disk; more are dropped, and counted."""

    def __post_init__(self) -> None:
        if 0 < len(self.key) < MIN_KEY_BYTES:
            raise ValueError(f"key: takes {MIN_KEY_BYTES} bytes or more")
        if self.sync not in ("always", "second", "never"):
            raise ValueError("sync: takes always, second or never")
        for name in ("rotate_bytes", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: takes 1 or more")
        if self.keep_files < 0:
            raise ValueError("keep_files: must not be negative")


class AuditLog:
    """A :class:`..records.RecordSink`. :meth:`open` it, and close it after the server."""

    def __init__(self, settings: AuditSettings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.written = 0
        """Records that are in the file."""

        self.dropped = 0
        """Records that are not, and will not be."""

        self.errors = 0
        """Attempts to write that failed."""

        self.trouble = ""
        """Why nothing can be written now; empty when it can."""

        self._clock = clock
        self._queue: deque[Record] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._dropped_untold = 0
        """Dropped records that the log does not speak of yet."""

        self._chained: list[bytes] = []
        """Lines that follow :attr:`_head` and are not in the file yet."""

        self._records_chained = 0
        self._head = Head()
        """After all lines that were made."""

        self._head_in_file = Head()
        self._synced = Head()
        self._sync_at = 0.0
        self._file: LogFile | None = None
        self._first = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def head(self) -> Head:
        """The last line that is certain to be in the file: to be kept somewhere else, too."""
        return self._synced

    def open(self) -> Self:
        """Go on with the log that is there. Raises :class:`AuditError`."""
        try:
            self._open()
        except BlockingIOError:
            raise AuditError(f"{self.settings.path}: another process writes it") from None
        except OSError as error:
            raise AuditError(f"{self.settings.path}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()
        return self

    def put(self, record: Record) -> None:
        if not AUDITED.get(record.type, True):
            return
        with self._wake:
            if self._stopping or len(self._queue) >= self.settings.capacity:
                if not self.dropped:
                    log.error("Records are missing in the audit log: %s", self._why_full())
                self.dropped += 1
                self._dropped_untold += 1
                return
            self._queue.append(record)
            self._wake.notify()

    def close(self, patience_s: float = 10.0) -> None:
        """Write what waits, for so many seconds at most. Blocks; may be called again."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(patience_s)
            lost = len(self._queue) + self._records_chained
            if self._thread.is_alive() or lost:
                self.dropped += lost
                log.error("%d records are not in the audit log: %s", lost, self.trouble)
            log.info("The audit log ends with %s", self._synced)

    def _why_full(self) -> str:
        return self.trouble or f"more than {self.settings.capacity} wait for the disk"

    # Before there is a thread, then on it alone ---------------------------------------------------

    def _open(self) -> None:
        path = self.settings.path
        self._file = file = LogFile(path)
        told: dict[str, str | int] = {}
        if torn := file.cut_torn_line():
            told["torn_bytes"] = torn
        older = chain_files(path)[:-1]
        found = file.last_head() if file.size else last_head_of(older[-1]) if older else Head()
        kept = read_head(path)
        if lost := _what_is_lost(found, kept, anything=bool(file.size or older)):
            log.error("%s: %s", path, lost)
            told["lost"] = lost
        heads = [head for head in (found, kept) if head is not None]
        self._head = max(heads, key=lambda head: head.seq, default=Head())
        self._head_in_file = self._synced = self._head
        self._first = file.first_number() or self._head.seq + 1
        self._say_opened(told)

    def _say_opened(self, told: Mapping[str, str | int]) -> None:
        algorithm = "hmac-sha256" if self.settings.key else "sha256"
        self._add(OPENED, self._clock(), data={"algorithm": algorithm, "version": 1, **told})

    def _run(self) -> None:
        try:
            while self._step():
                pass
        finally:
            if self._file is not None:
                self._file.close()

    def _step(self) -> bool:
        """Write once. False when it is time to end."""
        stopping = self._wait()
        try:
            if self._file is None:
                self._file = LogFile(self.settings.path)
                self._say_opened({})
            if not self._chained:
                self._chain(self._take())
            self._write(stopping)
        except OSError as error:
            self._in_trouble(error)
            with self._wake:
                self._wake.wait_for(lambda: self._stopping, 0 if stopping else _RETRY_S)
            return not stopping
        self._out_of_trouble()
        return not stopping or bool(self._queue)

    def _wait(self) -> bool:
        """Until there is something to do. Whether it is time to end."""
        unsynced = self._synced != self._head
        with self._wake:
            if not self._chained and not self._dropped_untold:
                timeout = max(0.0, self._sync_at - time.monotonic()) if unsynced else None
                self._wake.wait_for(lambda: bool(self._queue) or self._stopping, timeout)
            return self._stopping

    def _take(self) -> list[Record]:
        with self._wake:
            return [self._queue.popleft() for _ in range(min(_TOGETHER, len(self._queue)))]

    def _chain(self, batch: list[Record]) -> None:
        with self._wake:
            untold, self._dropped_untold = self._dropped_untold, 0
        if untold:
            self._add(DROPPED, self._clock(), data={"records": untold})
        for record in batch:
            self._add(
                record.type,
                record.at,
                room=record.room,
                actor=record.actor,
                subject=record.subject,
                peer=record.peer,
                data={name: _plain(value) for name, value in record.data.items()},
            )
        self._records_chained += len(batch)

    def _add(self, type: str, at: float, **said: Any) -> None:
        words = {"server": self.settings.server, "room": "", "actor": "", "subject": "", "peer": ""}
        line, self._head = make_line(
            self._head, self.settings.key, at, {**words, "type": type, **said}
        )
        self._chained.append(line)

    def _write(self, stopping: bool) -> None:
        assert self._file is not None
        if self._chained:
            if self._synced == self._head_in_file:
                self._sync_at = time.monotonic() + _SYNC_S
            self._file.append(b"".join(self._chained))
            self._chained.clear()
            self._head_in_file = self._head
            self.written += self._records_chained
            self._records_chained = 0
        full = self._file.size >= self.settings.rotate_bytes
        late = self.settings.sync != "second" or time.monotonic() >= self._sync_at
        if self._synced != self._head and (late or full or stopping):
            if self.settings.sync != "never":
                self._file.sync()
            write_head(self.settings.path, self._head)
            self._synced = self._head
        if full:
            self._rotate()

    def _rotate(self) -> None:
        assert self._file is not None
        path = self.settings.path
        path.rename(rotated_name(path, self._first))
        self._file.close()
        self._file = None
        self._first = self._head.seq + 1
        log.info("The audit log goes on in another file, after %s", self._head)
        if self.settings.keep_files:
            for old in chain_files(path)[: -self.settings.keep_files]:
                old.unlink(missing_ok=True)

    def _in_trouble(self, error: OSError) -> None:
        words = error.strerror or str(error)
        if words != self.trouble:
            log.error("The audit log %s takes nothing: %s", self.settings.path, words)
        self.trouble = words
        self.errors += 1

    def _out_of_trouble(self) -> None:
        if self.trouble:
            log.info("The audit log %s is written again", self.settings.path)
        self.trouble = ""


def _what_is_lost(found: Head | None, kept: Head | None, *, anything: bool) -> str:
    """What the head that was kept says about the lines that are there."""
    if found is None:
        return "the last line cannot be read"
    if kept is None:
        return "there are lines, and no head" if anything else ""
    if kept.seq > found.seq:
        return f"{found.seq + 1} to {kept.seq}"
    if kept.seq == found.seq and kept.hash != found.hash:
        return f"{kept.seq} is another one"
    return ""


def _plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
