"""Lines of the audit log, and how each holds the one before it in place.

A line is one JSON object in canonical form: keys sorted, no white space, ASCII. Its ``hash`` is the
SHA-256 of the canonical form of all its other members, or their HMAC-SHA256 where there is a key;
``prev`` is the hash of the line before. So nothing can be changed, put in, taken out or moved
without all later hashes being made anew, which with a key only its owner can. What was cut off at
the end shows beside the *head*: the last line's number and hash, kept in a file of its own and,
better, somewhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
"""The ``prev`` of the first line."""

OPENED = "audit.opened"
"""The type of every file's first line, and of the first after each start."""

DROPPED = "audit.dropped"
"""The type of a line that says how many records are missing before it."""

MAX_LINE_BYTES = 64 * 1024

FIELDS = ("seq", "time", "server", "type", "room", "actor", "subject", "peer", "data")
"""What a line says, besides ``prev`` and ``hash``."""


class LineError(ValueError):
    """Not a line of an audit log. Says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """A place in a chain: the last line's number and hash."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read ``SEQ:HASH``. Raises :class:`ValueError`."""
        seq, colon, digest = text.partition(":")
        if not (colon and seq.isascii() and seq.isdecimal() and _is_hash(digest)):
            raise ValueError("takes SEQ:HASH, as playcast audit verify prints it")
        return cls(int(seq), digest)


def make_line(head: Head, key: bytes, at: float, said: Mapping[str, Any]) -> tuple[bytes, Head]:
    """The line that follows ``head``, with its line feed, and the head after it.

    ``said`` has :data:`FIELDS` but for ``seq`` and ``time``; ``at`` is Unix time in seconds.
    """
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    entry = {
        **said,
        "seq": head.seq + 1,
        "time": moment.replace("+00:00", "Z"),
        "prev": head.hash,
    }
    if len(_canonical(entry)) > MAX_LINE_BYTES - 100:
        entry["data"] = {"omitted": "too long"}
    after = Head(head.seq + 1, digest_of(entry, key))
    return _canonical({**entry, "hash": after.hash}) + b"\n", after


def read_line(line: bytes) -> dict[str, Any]:
    """The members of a line without its line feed. Raises :class:`LineError`."""
    try:
        entry = json.loads(line, object_pairs_hook=_no_doubles, parse_constant=_no_constant)
        canonical = _canonical(entry)
    except (ValueError, RecursionError) as error:
        raise LineError(f"is not JSON: {error}") from None
    if not isinstance(entry, dict) or entry.keys() != {*FIELDS, "prev", "hash"}:
        raise LineError("does not have the members of a line")
    if type(entry["seq"]) is not int or not (_is_hash(entry["prev"]) and _is_hash(entry["hash"])):
        raise LineError("has no number or no hash")
    if canonical != line:
        raise LineError("is not in canonical form")
    return entry


def head_of(entry: Mapping[str, Any]) -> Head:
    """The head after a line that was read."""
    return Head(entry["seq"], entry["hash"])


def digest_of(entry: Mapping[str, Any], key: bytes) -> str:
    """The hash that a line should have."""
    body = _canonical({name: value for name, value in entry.items() if name != "hash"})
    if key:
        return hmac.new(key, body, hashlib.sha256).hexdigest()
    return hashlib.sha256(body).hexdigest()


# Verifying --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a chain."""

    file: Path
    line: int
    """Counted from 1; 0: the file as a whole."""

    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


@dataclass(slots=True)
class Report:
    """What is to be said about a chain."""

    lines: int = 0
    first: int = 0
    """The number of its first line; more than 1 where older files are gone."""

    head: Head = field(default_factory=Head)
    findings: list[Finding] = field(default_factory=list)
    algorithm: str = ""
    """What the chain says of itself: ``sha256`` or ``hmac-sha256``."""


def verify(
    files: Iterable[Path], key: bytes = b"", *, head: Head | None = None, most_findings: int = 100
) -> Report:
    """Read a chain, the oldest file first, and say all that is wrong with it.

    ``head`` is one that is known from elsewhere: it must be in the chain. Raises :class:`OSError`.
    """
    report = Report()
    seen_head = head is None or head.seq == 0
    last: Path | None = None
    for file in files:
        last = file
        for number, entry in _checked(file, key, report):
            if not report.first:
                report.first = entry["seq"]
            elif entry["seq"] != report.head.seq + 1:
                text = f"line {entry['seq']} follows line {report.head.seq}"
                report.findings.append(Finding(file, number, text))
            elif entry["prev"] != report.head.hash:
                text = "does not follow from the line before: that one was changed or replaced"
                report.findings.append(Finding(file, number, text))
            report.head = head_of(entry)
            report.lines += 1
            if head is not None and entry["seq"] == head.seq:
                seen_head = True
                if entry["hash"] != head.hash:
                    text = f"line {head.seq} is not the one that the given head is of"
                    report.findings.append(Finding(file, number, text))
            if len(report.findings) >= most_findings:
                return report
    if not seen_head and head is not None and last is not None and head.seq >= report.first:
        text = f"ends with line {report.head.seq}; there were {head.seq}: the end was cut off"
        report.findings.append(Finding(last, 0, text))
    return report


def _checked(file: Path, key: bytes, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines that can be read, each with its number; what is wrong with others is noted."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
                text = "is cut off" if not line.endswith(b"\n") else "is too long"
                report.findings.append(Finding(file, number, text))
                continue
            try:
                entry = read_line(line[:-1])
            except LineError as error:
                report.findings.append(Finding(file, number, str(error)))
                continue
            if not hmac.compare_digest(digest_of(entry, key), entry["hash"]):
                text = "was changed: its hash is another one"
                report.findings.append(Finding(file, number, text))
            if entry["type"] == OPENED and isinstance(entry["data"], dict):
                report.algorithm = str(entry["data"].get("algorithm", ""))
                if lost := entry["data"].get("lost"):
                    text = f"when the log was opened, lines were gone: {lost}"
                    report.findings.append(Finding(file, number, text))
            yield number, entry


def _canonical(value: object) -> bytes:
    words = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)
    return words.encode("ascii")


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
