"""The three faces of a live status: a calm panel on a terminal, plain lines elsewhere, JSON lines.

What is shown is a :class:`Script`'s business, how it is shown a :class:`Face`'s: any script goes
with any face. A face is told once what begins, then gets a report a second.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TextIO, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

PLAIN_INTERVAL_S = 10.0
"""Plain lines come this often, and whenever something changes that a person wants to know."""

_Report = TypeVar("_Report")
_Shown = TypeVar("_Shown", contravariant=True)


class Script(Protocol[_Shown]):
    """The words and figures of one command."""

    def opening(self) -> Sequence[str]:
        """The lines that it begins with."""

    def banner(self) -> Iterable[Text]:
        """The same, for a terminal: one renderable a line, links in one piece."""

    def to_json(self, report: _Shown) -> dict[str, Any]:
        """Everything."""

    def key(self, report: _Shown) -> tuple[object, ...]:
        """A plain line comes as soon as this is another."""

    def line(self, report: _Shown) -> str:
        """The plain line."""

    def panel(self, report: _Shown, seconds: int) -> RenderableType:
        """The picture on a terminal, so many seconds after the beginning."""


class Face(Protocol[_Report]):
    """Shows how a command is doing. A context manager: the terminal is given back at its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def started(self, script: Script[_Report]) -> None:
        """It is up. Called once, before any report."""

    def show(self, report: _Report) -> None:
        """The newest report."""

    def say(self, words: str, link: str = "") -> None:
        """Something happened that a person may want to know; ``link`` belongs to it."""


def face_for(out: TextIO, *, as_json: bool) -> Face[Any]:
    """The face that suits ``out``."""
    if as_json:
        return JsonFace(out)
    if out.isatty():
        return LiveFace(Console(file=out, highlight=False))
    return PlainFace(out)


class JsonFace(Generic[_Report]):
    """One JSON object a report; words go to standard error."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._script: Script[_Report]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def started(self, script: Script[_Report]) -> None:
        self._script = script
        for line in script.opening():
            self.say(line)

    def show(self, report: _Report) -> None:
        self._out.write(json.dumps(self._script.to_json(report)) + "\n")
        self._out.flush()

    def say(self, words: str, link: str = "") -> None:
        print(_joined(words, link), file=sys.stderr, flush=True)


class PlainFace(Generic[_Report]):
    """A line now and then, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._script: Script[_Report]
        self._last: tuple[object, ...] | None = None
        self._printed_at = 0.0
        self._unsaid = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._unsaid:
            self.say(self._unsaid)
        self._out.flush()

    def started(self, script: Script[_Report]) -> None:
        self._script = script
        for line in script.opening():
            self.say(line)

    def show(self, report: _Report) -> None:
        now, key = time.monotonic(), self._script.key(report)
        self._unsaid = self._script.line(report)
        if key == self._last and now - self._printed_at < PLAIN_INTERVAL_S:
            return
        self._last, self._printed_at = key, now
        self.say(self._unsaid)
        self._unsaid = ""

    def say(self, words: str, link: str = "") -> None:
        self._out.write(_joined(words, link) + "\n")
        self._out.flush()


class LiveFace(Generic[_Report]):
    """A panel that is redrawn in place; words go above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._script: Script[_Report]
        self._started_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, script: Script[_Report]) -> None:
        self._script = script
        self._started_at = time.monotonic()
        self._console.print()
        for line in script.banner():
            self._console.print(line, soft_wrap=True)
        self._console.print()
        self._live.start()

    def show(self, report: _Report) -> None:
        seconds = int(time.monotonic() - self._started_at)
        self._live.update(self._script.panel(report, seconds), refresh=True)

    def say(self, words: str, link: str = "") -> None:
        self._console.print(Text(f"  {words}"))
        if link:
            self._console.print(link_text(link), soft_wrap=True)


# What panels are made of ------------------------------------------------------------------------


def link_text(link: str) -> Text:
    """A link in one piece: the terminal wraps it, so that it can be copied and clicked."""
    return Text(link, style=f"bold cyan link {link}")


def clock_words(seconds: float) -> str:
    """As 1:02:03."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def headline(lamp: tuple[str, str], state: str, words: Sequence[str], seconds: int) -> Text:
    """The first line of a panel."""
    tail = " · ".join([*words, clock_words(seconds)])
    return Text.assemble("  ", lamp, f" {state}", (f"  {tail}", "dim"), overflow="ellipsis")


def figures(named: Iterable[tuple[str, str]]) -> Padding:
    """Figures side by side, each below its name."""
    pairs = tuple(named)
    grid = Table.grid(padding=(0, 4, 0, 0))
    grid.add_row(*(Text(name, style="dim") for name, _ in pairs))
    grid.add_row(*(Text(value, style="bold") for _, value in pairs))
    return indented(grid)


def bar(half: float, most: float, width: int = 28) -> Text:
    """Two shares of a whole, 0..1, one within the other."""
    solid = round(half * width)
    return Text.assemble(
        ("━" * solid, "cyan"), ("━" * (round(most * width) - solid), "bright_black")
    )


def indented(table: Table) -> Padding:
    """A part of a panel, below its headline."""
    return Padding(table, (0, 0, 0, 4))


def trouble_line(trouble: str) -> Text:
    """What is wrong, at the end of a panel."""
    return Text(f"  {trouble}", style="yellow")


def _joined(words: str, link: str) -> str:
    return f"{words}: {link}" if link else words
