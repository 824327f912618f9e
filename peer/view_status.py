"""What a viewer's status says: see :mod:`peer.status_faces` for how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from peer.room_view import RoomReport
from peer.room_words import room_key
from peer.status_faces import bar, figures, headline, indented, trouble_line
from peer.view_report import Spread, ViewReport
from peer.view_words import standing_words

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


@dataclass(frozen=True, slots=True)
class Viewed:
    """All that is shown of a viewer."""

    report: ViewReport
    recording: RecordingReport | None = None
    room: RoomReport | None = None
    """None before we are in it."""


class ViewScript:
    """The words and figures of ``playcast view``."""

    def __init__(self, page: str, room: str) -> None:
        self._page, self._room = page, room

    def opening(self) -> list[str]:
        return [f"Viewing room {self._room} of {self._page}"]

    def banner(self) -> Iterable[Text]:
        yield Text("  Ctrl-C ends viewing", style="dim")

    def to_json(self, viewed: Viewed) -> dict[str, Any]:
        recording = viewed.recording
        return {
            **viewed.report.to_json(),
            "recording": recording
            and {
                "file": recording.path,
                "frames": recording.frames,
                "bytes": recording.bytes,
                "seconds": round(recording.seconds, 3),
            },
            "page": self._page,
            "room": self._room,
            "room_state": viewed.room and viewed.room.to_json(),
        }

    def key(self, viewed: Viewed) -> tuple[object, ...]:
        report = viewed.report
        return (
            *(report.state, report.trouble, report.width, report.freezes),
            *room_key(viewed.room),
        )

    def line(self, viewed: Viewed) -> str:
        return " ".join(_plain(viewed))

    def panel(self, viewed: Viewed, seconds: int) -> RenderableType:
        return view_panel(f"{self._page} · room {self._room}", viewed, seconds)


def view_panel(title: str, viewed: Viewed, seconds: int) -> RenderableType:
    """The picture on a terminal."""
    report = viewed.report
    parts: list[RenderableType] = [_headline(title, report, seconds)]
    if report.frames:
        parts += [Text(), _figures(report), Text(), _delays(report), Text(), _counts(report)]
    if viewed.recording is not None:
        parts += [Text(), Text(f"    recording {_recording_words(viewed.recording)}")]
    if viewed.room is not None:
        parts += [Text(), Text(f"    {standing_words(viewed.room)}")]
    if report.trouble:
        parts += [Text(), trouble_line(report.trouble)]
    return Group(*parts)


def _headline(title: str, report: ViewReport, seconds: int) -> Text:
    live = report.state == "connected" and report.fps > 0
    lamp = ("●", "green") if live else ("○", "yellow")
    words = [title] + ([f"{report.width}×{report.height}"] if report.width else [])
    return headline(lamp, "live" if live else report.state, words, seconds)


def _figures(report: ViewReport) -> RenderableType:
    shown = (
        ("fps", f"{report.fps:.1f}"),
        ("bitrate", f"{report.bitrate_bps / 1e6:.2f} Mbit/s"),
        ("repairs", f"{report.repair_bps / 1e6:.2f} Mbit/s"),
        ("codec", report.codec),
        ("rtt", "" if report.rtt_ms is None else f"{report.rtt_ms:.1f} ms"),
        ("path", report.path),
    )
    return figures(shown)


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
    shown = [
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
        shown.append(("pattern", "whole" if not missing else f"{missing} missing"))
    return figures(shown)


def _recording_words(recording: RecordingReport) -> str:
    seconds = int(recording.seconds)
    clock = f"{seconds // 60}:{seconds % 60:02}"
    return f"{recording.path}: {clock}, {recording.bytes / 1e6:.1f} MB, {recording.frames} frames"


def _plain(viewed: Viewed) -> list[str]:
    report, recording = viewed.report, viewed.recording
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
    if viewed.room is not None:
        words.append(f"role={viewed.room.role}")
        words += [f"{s.control}=you" for s in viewed.room.controls if s.holder == viewed.room.peer]
    if report.trouble:
        words.append(f"trouble: {report.trouble}")
    return words
