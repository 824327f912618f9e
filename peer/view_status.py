"""The live status of a viewer: a calm panel on a terminal, plain lines elsewhere, or JSON lines.

Each is a :class:`ViewStatus`: it is told what is viewed once, then gets a report a second.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from peer.status import PLAIN_INTERVAL_S, bar, indented
from peer.view_report import Spread, ViewReport

DELAYS = ("delay", "network", "assembly", "decode")
_NAMES = {
    "delay": "capture → picture",
    "network": "network, over the quickest",
    "assembly": "first packet → last",
    "decode": "decode",
}


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """A recording so far."""

    path: str
    frames: int
    bytes: int
    seconds: float


class ViewStatus(Protocol):
    """Shows how a viewer is doing. A context manager: the terminal is given back at its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def started(self, page: str, room: str) -> None:
        """What is viewed. Called once, before any report."""

    def show(self, report: ViewReport, recording: RecordingReport | None) -> None:
        """The newest report."""

    def say(self, words: str) -> None:
        """Something happened that a person may want to know."""


def view_status_for(out: TextIO, *, as_json: bool) -> ViewStatus:
    """The status that suits ``out``."""
    if as_json:
        return JsonStatus(out)
    if out.isatty():
        return LiveStatus(Console(file=out, highlight=False))
    return PlainStatus(out)


class JsonStatus:
    """One JSON object a report."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._fixed: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def started(self, page: str, room: str) -> None:
        self._fixed = {"page": page, "room": room}
        self.say(f"Viewing room {room} of {page}")

    def show(self, report: ViewReport, recording: RecordingReport | None) -> None:
        recorded = None
        if recording is not None:
            recorded = {
                "file": recording.path,
                "frames": recording.frames,
                "bytes": recording.bytes,
                "seconds": round(recording.seconds, 3),
            }
        row = {**report.to_json(), "recording": recorded, **self._fixed}
        self._out.write(json.dumps(row) + "\n")
        self._out.flush()

    def say(self, words: str) -> None:
        print(words, file=sys.stderr, flush=True)


class PlainStatus:
    """A line now and then, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last: tuple[object, ...] = ()
        self._printed_at = 0.0
        self._unsaid = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._unsaid:
            self.say(self._unsaid)

    def started(self, page: str, room: str) -> None:
        self.say(f"Viewing room {room} of {page}")

    def show(self, report: ViewReport, recording: RecordingReport | None) -> None:
        now = time.monotonic()
        key = (report.state, report.trouble, report.width, report.freezes)
        self._unsaid = " ".join(_plain(report, recording))
        if key == self._last and now - self._printed_at < PLAIN_INTERVAL_S:
            return
        self._last, self._printed_at = key, now
        self.say(self._unsaid)
        self._unsaid = ""

    def say(self, words: str) -> None:
        self._out.write(words + "\n")
        self._out.flush()


class LiveStatus:
    """A panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._title = ""
        self._started_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, page: str, room: str) -> None:
        self._title = f"{page} · room {room}"
        self._started_at = time.monotonic()
        self._console.print(Text("\n  Ctrl-C ends viewing\n", style="dim"))
        self._live.start()

    def show(self, report: ViewReport, recording: RecordingReport | None) -> None:
        seconds = int(time.monotonic() - self._started_at)
        self._live.update(view_panel(self._title, report, recording, seconds), refresh=True)

    def say(self, words: str) -> None:
        self._console.print(Text(f"  {words}"))


def view_panel(
    title: str, report: ViewReport, recording: RecordingReport | None, seconds: int
) -> RenderableType:
    """The picture that :class:`LiveStatus` draws."""
    parts: list[RenderableType] = [_headline(title, report, seconds)]
    if report.frames:
        parts += [Text(), _figures(report), Text(), _delays(report), Text(), _counts(report)]
    if recording is not None:
        parts += [Text(), Text(f"    recording {_recording_words(recording)}")]
    if report.trouble:
        parts += [Text(), Text(f"  {report.trouble}", style="yellow")]
    return Group(*parts)


def _headline(title: str, report: ViewReport, seconds: int) -> Text:
    live = report.state == "connected" and report.fps > 0
    lamp = ("●", "green") if live else ("○", "yellow")
    words = [title] + ([f"{report.width}×{report.height}"] if report.width else [])
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    state = "live" if live else report.state
    return Text.assemble(
        "  ", lamp, f" {state}", ("  " + " · ".join([*words, clock]), "dim"), overflow="ellipsis"
    )


def _figures(report: ViewReport) -> RenderableType:
    figures = (
        ("fps", f"{report.fps:.1f}"),
        ("bitrate", f"{report.bitrate_bps / 1e6:.2f} Mbit/s"),
        ("repairs", f"{report.repair_bps / 1e6:.2f} Mbit/s"),
        ("codec", report.codec),
        ("rtt", "" if report.rtt_ms is None else f"{report.rtt_ms:.1f} ms"),
        ("path", report.path),
    )
    return indented(_grid(figures))


def _delays(report: ViewReport) -> RenderableType:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column()
    for _ in range(3):
        grid.add_column(justify="right", min_width=6)
    grid.add_column()
    grid.add_row(*(Text(word, style="dim") for word in ("ms", "p50", "p95", "p99", "")))
    spreads = [(name, getattr(report, name)) for name in DELAYS]
    known: list[tuple[str, Spread]] = [(n, s) for n, s in spreads if s is not None]
    longest = max((spread.p99_ms for _, spread in known), default=0.0) or 1.0
    for name, spread in known:
        words = _NAMES[name]
        if name == "delay":
            words += " (measured)" if report.measured else " (estimated)"
        values = (f"{v:.1f}" for v in (spread.p50_ms, spread.p95_ms, spread.p99_ms))
        grid.add_row(words, *values, bar(spread.p50_ms / longest, spread.p99_ms / longest))
    return indented(grid)


def _counts(report: ViewReport) -> RenderableType:
    figures = [
        ("loss", f"{100 * report.loss:.1f} %"),
        ("lost", str(report.lost)),
        ("by RTX", str(report.recovered_rtx)),
        ("by FEC", str(report.recovered_fec)),
        ("dropped", str(report.frames_dropped)),
        ("freezes", f"{report.freezes} ({report.frozen_ms / 1000:.1f} s)"),
        ("IDRs", f"{report.idrs} ({report.idr_requests} asked)"),
    ]
    if report.pattern is not None:
        missing = report.pattern.missing
        figures.append(("pattern", "whole" if not missing else f"{missing} missing"))
    return indented(_grid(figures))


def _grid(figures: Any) -> Table:
    grid = Table.grid(padding=(0, 4, 0, 0))
    grid.add_row(*(Text(name, style="dim") for name, _ in figures))
    grid.add_row(*(Text(value, style="bold") for _, value in figures))
    return grid


def _recording_words(recording: RecordingReport) -> str:
    seconds = int(recording.seconds)
    clock = f"{seconds // 60}:{seconds % 60:02}"
    return f"{recording.path}: {clock}, {recording.bytes / 1e6:.1f} MB, {recording.frames} frames"


def _plain(report: ViewReport, recording: RecordingReport | None) -> list[str]:
    words = [f"state={report.state.replace(' ', '-')}"]
    if report.frames:
        words += [
            f"fps={report.fps:.1f}",
            f"bitrate={report.bitrate_bps / 1e6:.2f}Mbit/s",
            f"size={report.width}x{report.height}",
            f"codec={report.codec}",
        ]
        for name in DELAYS:
            spread: Spread | None = getattr(report, name)
            if spread is not None:
                words.append(f"{name}={spread.p50_ms:.1f}/{spread.p99_ms:.1f}ms")
        if report.rtt_ms is not None:
            words.append(f"rtt={report.rtt_ms:.1f}ms")
        words += [
            f"lost={report.lost}",
            f"rtx={report.recovered_rtx}",
            f"fec={report.recovered_fec}",
            f"dropped={report.frames_dropped}",
            f"freezes={report.freezes}",
        ]
    if recording is not None:
        words.append(f"recorded={recording.bytes / 1e6:.1f}MB")
    if report.trouble:
        words.append(f"trouble: {report.trouble}")
    return words
