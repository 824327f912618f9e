"""What a host's status says: see :mod:`peer.status_faces` for how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from peer.report import STAGES, HostReport, ViewerReport
from peer.room_view import RoomReport
from peer.room_words import name_in, plain_room, room_key, room_table
from peer.status_faces import bar, figures, headline, indented, link_text, trouble_line

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


class HostScript:
    """The words and figures of ``playcast host``."""

    def __init__(self, streaming: Streaming) -> None:
        self.links: dict[str, str] = {"watch": streaming.link} if streaming.link else {}
        """What lets others in, by what it is for."""
        self._streaming = streaming

    def opening(self) -> list[str]:
        streaming = self._streaming
        lines = [f"Streaming {streaming.source} in room {streaming.room}"]
        if streaming.link:
            lines.append(f"Open this in a browser: {streaming.link}")
        return [*lines, *streaming.notes]

    def banner(self) -> Iterable[Text]:
        if self._streaming.link:
            yield Text.assemble(
                ("  Open this in a browser", "bold"), ("  (Ctrl-C ends the stream)\n", "dim")
            )
            yield link_text(self._streaming.link)
        for note in self._streaming.notes:
            yield Text(f"  {note}", style="dim")

    def to_json(self, report: HostReport) -> dict[str, Any]:
        streaming = self._streaming
        return {
            **report.to_json(),
            "source": streaming.source,
            "room": streaming.room,
            "link": streaming.link,
            "links": self.links,
        }

    def key(self, report: HostReport) -> tuple[object, ...]:
        return (report.connected, report.waiting, report.trouble, *room_key(report.room))

    def line(self, report: HostReport) -> str:
        return " ".join(_plain(report))

    def panel(self, report: HostReport, seconds: int) -> RenderableType:
        return panel(self._streaming, report, seconds)


def panel(streaming: Streaming, report: HostReport, seconds: int) -> RenderableType:
    """The picture on a terminal."""
    parts: list[RenderableType] = [_headline(streaming, report, seconds), Text(), _figures(report)]
    if report.stages:
        parts += [Text(), _stages(report)]
    if report.viewers:
        parts += [Text(), _viewers(report)]
    if report.room is not None:
        parts += [Text(), room_table(report.room)]
    if report.trouble:
        parts += [Text(), trouble_line(report.trouble)]
    return Group(*parts)


def _headline(streaming: Streaming, report: HostReport, seconds: int) -> Text:
    lamp = ("○", "yellow") if report.trouble else ("●", "green" if report.connected else "dim")
    words = [streaming.source, f"{report.width}×{report.height}", f"room {streaming.room}"]
    state = "live" if report.connected else "waiting for viewers"
    return headline(lamp, state, words, seconds)


def _figures(report: HostReport) -> RenderableType:
    shown = (
        ("viewers", f"{report.connected}" + (f" (+{report.waiting})" if report.waiting else "")),
        ("fps", f"{report.fps:.1f}"),
        ("bitrate", f"{report.bitrate_bps / 1e6:.2f} Mbit/s"),
        ("codec", _codec_words(report)),
        ("drops", f"{report.skipped} skipped, {report.late} late"),
    )
    return figures(shown)


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


_NETWORK_STYLES = {"steady": "green", "draining": "yellow", "competing": "yellow", "silent": "red"}


def _viewers(report: HostReport) -> RenderableType:
    grid = Table.grid(padding=(0, 3, 0, 0))
    for justify in ("left", "left", "left", *("right",) * 6, "left"):
        grid.add_column(justify=justify)
    head = ("viewer", "state", "codec", "rtt", "loss", "queue", "rate", "repair", "sent", "network")
    grid.add_row(*(Text(word, style="dim") for word in head))
    for viewer in report.viewers[:_MAX_VIEWERS_SHOWN]:
        grid.add_row(*_viewer_cells(viewer, report.room))
    hidden = len(report.viewers) - _MAX_VIEWERS_SHOWN
    if hidden > 0:
        grid.add_row(Text(f"and {hidden} more", style="dim"))
    return indented(grid)


def _viewer_cells(viewer: ViewerReport, room: RoomReport | None) -> tuple[str | Text, ...]:
    style = {"connected": "green", "connecting": "dim"}.get(viewer.state, "yellow")
    network = viewer.network
    return (
        name_in(room, viewer.peer) if room else viewer.peer,
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
    if report.room is not None:
        words += plain_room(report.room)
    if report.trouble:
        words.append(f"signalling: {report.trouble}")
    return words
