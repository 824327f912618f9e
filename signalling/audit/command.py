"""``playcast audit``: whether a log is whole, and what is in it."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from .chain import FIELDS, Head, LineError, read_line, verify
from .files import chain_files, read_head

EXAMPLES = """\
examples:
  playcast audit verify audit.jsonl --key-file audit.key
      whether anything was changed, taken out or cut off, older files included
  playcast audit verify audit.jsonl --head 4711:9f86…
      … and whether the line is still there that was the last one then
  playcast audit export audit.jsonl --from 2026-11-01 --to 2026-12-01 --room den --format csv

Exit status: 0, 1 when the log is not whole, 2 for wrong options or files that are not there.
"""


def main(arguments: Sequence[str]) -> int:
    """The command. Returns the exit status."""
    options = _parser().parse_args(arguments)
    files = chain_files(options.file)
    if not files:
        print(f"playcast audit: {options.file} is not there", file=sys.stderr)
        return 2
    try:
        return int(options.run(options, files))
    except OSError as error:
        print(f"playcast audit: {error}", file=sys.stderr)
        return 2


def _verify(options: argparse.Namespace, files: list[Path]) -> int:
    key = options.key_file.read_bytes().strip() if options.key_file else b""
    head = options.head or read_head(options.file)
    report = verify(files, key, head=head)
    for finding in report.findings:
        print(finding)
    if report.findings and report.algorithm == "hmac-sha256" and not key:
        print("The log is keyed: give --key-file.")
    if report.first > 1:
        print(f"Older files are gone: the log begins with line {report.first}.")
    print(f"{report.lines} lines in {len(files)} files; head {report.head}")
    if report.findings:
        print("The log is NOT whole.")
        return 1
    if not key:
        print("The chain is whole. Without a key, someone who may write it can make it anew.")
    else:
        print("The chain is whole.")
    return 0


def _export(options: argparse.Namespace, files: list[Path]) -> int:
    unreadable = 0

    def not_readable(file: Path, line: int, error: LineError) -> None:
        nonlocal unreadable
        unreadable += 1
        print(f"{file}:{line}: {error}", file=sys.stderr)

    entries = (e for e in _entries(files, not_readable) if _is_wanted(e, options))
    write = {"jsonl": _write_jsonl, "csv": _write_csv}[options.format]
    write(entries, sys.stdout)
    return 1 if unreadable else 0


def _entries(
    files: list[Path], not_readable: Callable[[Path, int, LineError], None]
) -> Iterator[dict[str, Any]]:
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield read_line(line.removesuffix(b"\n"))
                except LineError as error:
                    not_readable(file, number, error)


def _is_wanted(entry: dict[str, Any], options: argparse.Namespace) -> bool:
    time = str(entry["time"])
    return (
        (not options.since or time >= options.since)
        and (not options.until or time < options.until)
        and (options.room is None or entry["room"] == options.room)
    )


def _write_jsonl(entries: Iterator[dict[str, Any]], out: TextIO) -> None:
    for entry in entries:
        out.write(json.dumps(entry, sort_keys=True, separators=(",", ":")) + "\n")


def _write_csv(entries: Iterator[dict[str, Any]], out: TextIO) -> None:
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*FIELDS, "hash"])
    for entry in entries:
        data = json.dumps(entry["data"], sort_keys=True, separators=(",", ":"))
        row = {**entry, "data": data}
        table.writerow([_cell(row[name]) for name in (*FIELDS, "hash")])


def _cell(value: object) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="playcast audit",
        description="Look at the audit log that playcast serve writes.",
        epilog=EXAMPLES,
        formatter_class=formatter,
    )
    commands = parser.add_subparsers(required=True, metavar="verify|export")
    check = commands.add_parser("verify", help="say whether the log is whole")
    check.set_defaults(run=_verify)
    check.add_argument(
        "--key-file", type=Path, metavar="FILE", help="the key that the server has for it"
    )
    check.add_argument(
        "--head",
        type=_head,
        metavar="SEQ:HASH",
        help="a line that must be there (the head beside the log)",
    )
    export = commands.add_parser("export", help="print what is in the log")
    export.set_defaults(run=_export)
    for name, dest, words in (("from", "since", "not before"), ("to", "until", "before")):
        export.add_argument(
            f"--{name}",
            dest=dest,
            type=_time,
            metavar="TIME",
            help=f"{words} this moment: 2026-11-23 or 2026-11-23T12:00:00+01:00 (UTC)",
        )
    export.add_argument("--room", help="this room alone")
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="(%(default)s)")
    for command in (check, export):
        command.add_argument("file", type=Path, metavar="FILE", help="the file that grows")
    return parser


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _time(text: str) -> str:
    """A moment as lines have it, so that text sorts by time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"takes 2026-11-23 or 2026-11-23T12:00:00, not {text!r}"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
