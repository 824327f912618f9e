"""The live status of a host: a calm panel on a terminal, plain lines elsewhere, or JSON lines.

Each is a :class:`Status`: it is shown the link once, then a report a second.
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
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from peer.report import STAGES, HostReport, ViewerReport

PLAIN_INTERVAL_S = 10.0
"""Plain lines come this often, and whenever the number of viewers or the link changes."""

_MAX_VIEWERS_SHOWN = 8


@dataclass(frozen=True)
class Streaming:
    """What is streamed, and where to watch it."""

    source: str
    """In words, such as "display :0"."""
    room: str
    link: str
    """What a viewer opens; empty when the server is somebody else's."""
    notes: tuple[str, ...] = ()
    """Sentences to print below the link."""


class Status(Protocol):
    """Shows how a host is doing. A context manager: the terminal is given back at its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def started(self, streaming: Streaming) -> None:
        """The stream is up. Called once, before any report."""

    def show(self, report: HostReport) -> None:
        """The newest report."""


def status_for(out: TextIO, *, as_json: bool) -> Status:
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

    def started(self, streaming: Streaming) -> None:
        self._fixed = {
            "source": streaming.source,
            "room": streaming.room,
            "link": streaming.link,
        }
        _print_words(streaming, sys.stderr)

    def show(self, report: HostReport) -> None:
        self._out.write(json.dumps({**report.to_json(), **self._fixed}) + "\n")
        self._out.flush()


class PlainStatus:
    """A line now and then, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last: tuple[object, ...] = ()
        self._printed_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def started(self, streaming: Streaming) -> None:
        _print_words(streaming, self._out)

    def show(self, report: HostReport) -> None:
        now = time.monotonic()
        key = (report.connected, report.waiting, report.trouble)
        if key == self._last and now - self._printed_at < PLAIN_INTERVAL_S:
            return
        self._last, self._printed_at = key, now
        self._out.write(" ".join(_plain(report)) + "\n")
        self._out.flush()


class LiveStatus:
    """A panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._streaming: Streaming | None = None
        self._started_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, streaming: Streaming) -> None:
        self._streaming = streaming
        self._started_at = time.monotonic()
        out = self._console
        out.print()
        if streaming.link:
            out.print("  [bold]Open this in a browser[/]  [dim](Ctrl-C ends the stream)[/]\n")
            # In one piece: the terminal wraps it, so that it can be copied and clicked.
            link = Text(streaming.link, style=f"bold cyan link {streaming.link}")
            out.print(link, soft_wrap=True)
        for note in streaming.notes:
            out.print(Text(f"  {note}", style="dim"))
        out.print()
        self._live.start()

    def show(self, report: HostReport) -> None:
        assert self._streaming is not None
        seconds = int(time.monotonic() - self._started_at)
        self._live.update(panel(self._streaming, report, seconds), refresh=True)


def panel(streaming: Streaming, report: HostReport, seconds: int) -> RenderableType:
    """The picture that :class:`LiveStatus` draws."""
    parts: list[RenderableType] = [_headline(streaming, report, seconds), Text(), _figures(report)]
    if report.stages:
        parts += [Text(), _stages(report)]
    if report.viewers:
        parts += [Text(), _viewers(report)]
    if report.trouble:
        parts += [Text(), Text(f"  {report.trouble}", style="yellow")]
    return Group(*parts)


def _headline(streaming: Streaming, report: HostReport, seconds: int) -> Text:
    lamp = ("○", "yellow") if report.trouble else ("●", "green" if report.connected else "dim")
    words = [streaming.source, f"{report.width}×{report.height}", f"room {streaming.room}"]
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    state = "live" if report.connected else "waiting for viewers"
    return Text.assemble(
        "  ", lamp, f" {state}", ("  " + " · ".join([*words, clock]), "dim"), overflow="ellipsis"
    )


def _figures(report: HostReport) -> RenderableType:
    grid = Table.grid(padding=(0, 4, 0, 0))
    figures = (
        ("viewers", f"{report.connected}" + (f" (+{report.waiting})" if report.waiting else "")),
        ("fps", f"{report.fps:.1f}"),
        ("bitrate", f"{report.bitrate_bps / 1e6:.2f} Mbit/s"),
        ("codec", _codec_words(report)),
        ("drops", f"{report.skipped} skipped, {report.late} late"),
    )
    grid.add_row(*(Text(name, style="dim") for name, _ in figures))
    grid.add_row(*(Text(value, style="bold") for _, value in figures))
    return indented(grid)


def _stages(report: HostReport) -> RenderableType:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column()
    for _ in range(2):
        grid.add_column(justify="right", min_width=6)
    grid.add_column()
    grid.add_row(*(Text(word, style="dim") for word in ("latency, ms", "p50", "p99", "")))
    longest = max(stage.p99_ms for stage in report.stages.values()) or 1.0
    for name in STAGES:
        stage = report.stages.get(name)
        if stage is not None:
            words = name.replace("_", " ") + (" sent" if name.endswith("packet") else "")
            shares = bar(stage.p50_ms / longest, stage.p99_ms / longest)
            grid.add_row(words, f"{stage.p50_ms:.2f}", f"{stage.p99_ms:.2f}", shares)
    return indented(grid)


def bar(half: float, most: float, width: int = 28) -> Text:
    """Two shares of a whole, 0..1, one within the other."""
    solid = round(half * width)
    return Text.assemble(
        ("━" * solid, "cyan"), ("━" * (round(most * width) - solid), "bright_black")
    )


_NETWORK_STYLES = {"steady": "green", "draining": "yellow", "competing": "yellow", "silent": "red"}


def _viewers(report: HostReport) -> RenderableType:
    grid = Table.grid(padding=(0, 3, 0, 0))
    for justify in ("left", "left", "left", *("right",) * 6, "left"):
        grid.add_column(justify=justify)
    head = ("viewer", "state", "codec", "rtt", "loss", "queue", "rate", "repair", "sent", "network")
    grid.add_row(*(Text(word, style="dim") for word in head))
    for viewer in report.viewers[:_MAX_VIEWERS_SHOWN]:
        grid.add_row(*_viewer_cells(viewer))
    hidden = len(report.viewers) - _MAX_VIEWERS_SHOWN
    if hidden > 0:
        grid.add_row(Text(f"and {hidden} more", style="dim"))
    return indented(grid)


def _viewer_cells(viewer: ViewerReport) -> tuple[str | Text, ...]:
    style = {"connected": "green", "connecting": "dim"}.get(viewer.state, "yellow")
    network = viewer.network
    return (
        viewer.peer,
        Text(viewer.state, style=style),
        viewer.codec,
        "" if viewer.rtt_ms is None else f"{viewer.rtt_ms:.1f} ms",
        f"{100 * (network.loss if network else viewer.loss):.1f} %" if viewer.codec else "",
        f"{network.queue_ms:.0f} ms" if network else "",
        f"{network.target_bps / 1e6:.1f} Mbit/s" if network else "",
        f"{100 * network.repair:.1f} %" if network else "",
        f"{viewer.sent_bytes / 1e6:.1f} MB" if viewer.codec else "",
        Text(network.state, style=_NETWORK_STYLES.get(network.state, "")) if network else "",
    )


def _codec_words(report: HostReport) -> str:
    names = " + ".join(codec.name for codec in report.codecs)
    return f"{names} {report.encoder}".strip() if names else "idle"


def indented(table: Table) -> Padding:
    """A part of a panel, below its headline."""
    return Padding(table, (0, 0, 0, 4))


def _print_words(streaming: Streaming, out: TextIO) -> None:
    out.write(f"Streaming {streaming.source} in room {streaming.room}\n")
    if streaming.link:
        out.write(f"Open this in a browser: {streaming.link}\n")
    for note in streaming.notes:
        out.write(note + "\n")
    out.flush()


def _plain(report: HostReport) -> list[str]:
    words = [
        f"viewers={report.connected}",
        f"fps={report.fps:.1f}",
        f"bitrate={report.bitrate_bps / 1e6:.2f}Mbit/s",
        f"size={report.width}x{report.height}",
        f"skipped={report.skipped}",
        f"late={report.late}",
    ]
    if report.waiting:
        words.append(f"waiting={report.waiting}")
    words += [f"{n}={s.p50_ms:.2f}/{s.p99_ms:.2f}ms" for n, s in report.stages.items()]
    if report.trouble:
        words.append(f"signalling: {report.trouble}")
    return words
