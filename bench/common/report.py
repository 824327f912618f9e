"""Results: figures run by run, their medians and spread, a table for people and one JSON.

::

    options = parse_options("kernels", __doc__)
    report = Report("kernels", options, settings={"packet_bytes": 1200})
    for a, b in alternate(options.runs, ours, theirs):
        report.add("kernels.send.gcm.kpps", a.kpps, "kpps", better="higher")
        report.add("kernels.send.gain", a.kpps / b.kpps, "ratio", better="higher")
    return report.finish()

The exit status says only whether the run was valid, never whether it was fast.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.table import Table

from bench.common.machine import ForeignCpu, commit, describe_machine
from bench.common.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
FOREIGN_LIMIT = 0.10
CONTENDERS = ("gcc", "aiortc", "chromium", "picows", "websockets", "redis-py")

Better = Literal["lower", "higher"]
A = TypeVar("A")


@dataclass(frozen=True)
class Options:
    """What every benchmark's command line says."""

    quick: bool
    runs: int
    json_path: Path
    against: tuple[str, ...] = ()
    only: str = ""
    html_path: Path | None = None

    def wants(self, case: str) -> bool:
        """Whether ``--only`` lets this case run."""
        return self.only in case


def parse_options(
    name: str,
    doc: str,
    *,
    runs: int = 5,
    quick_runs: int = 2,
    contenders: Sequence[str] = (),
    plots: bool = False,
    arguments: Sequence[str] | None = None,
) -> Options:
    """Parse ``[--quick] [--runs N] [--json FILE] [--against …] [--only CASE]``, and with ``plots``
    ``[--html FILE]``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument(
        "--runs", type=int, help=f"of each case ({runs}; with --quick {quick_runs})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name has it")
    known = ",".join(contenders) or "none here"
    parser.add_argument("--against", default="", metavar="NAMES", help=f"contenders: {known}")
    if plots:
        parser.add_argument(
            "--html",
            type=Path,
            metavar="FILE",
            help="one page with everything drawn; PNGs beside it",
        )
    given = parser.parse_args(arguments)
    wanted = [name for name in given.against.split(",") if name]
    for contender in wanted:
        if contender not in CONTENDERS:
            parser.error(f"--against takes {', '.join(CONTENDERS)}; not {contender!r}")
    # What cannot do this benchmark's work is left out, so that all can be run with one command.
    against = tuple(name for name in wanted if name in contenders)
    if given.runs is not None and given.runs < 1:
        parser.error("--runs takes a number from 1")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Options(
        quick=given.quick,
        runs=given.runs or (quick_runs if given.quick else runs),
        json_path=given.json or RESULTS / f"{name}-{stamp}.json",
        against=against,
        only=given.only,
        html_path=given.html if plots else None,
    )


@dataclass
class Metric:
    """One figure, once for each run."""

    unit: str
    better: Better
    values: list[float] = field(default_factory=list)

    def to_json(self, target: float | None) -> dict[str, Any]:
        """As the convention has it: median, minimum and maximum over the runs."""
        return {
            "value": statistics.median(self.values),
            "unit": self.unit,
            "min": min(self.values),
            "max": max(self.values),
            "runs": len(self.values),
            "target": target,
            "better": self.better,
        }


class Report:
    """Collects a benchmark's figures; begins to watch for foreign CPU use when it is made."""

    def __init__(self, name: str, options: Options, settings: dict[str, Any]) -> None:
        self.name = name
        self.options = options
        self.settings = settings
        self.metrics: dict[str, Metric] = {}
        self.notes: list[str] = []
        self.errors: list[str] = []
        self._foreign = ForeignCpu()
        self._when = datetime.now(UTC)

    def add(self, name: str, value: float, unit: str, *, better: Better = "lower") -> None:
        """Add one run's figure. A figure that is no number makes the run invalid."""
        if not math.isfinite(value):
            self.invalid(f"{name} is {value}")
            return
        metric = self.metrics.setdefault(name, Metric(unit, better))
        if (metric.unit, metric.better) != (unit, better):
            raise ValueError(f"{name} is in {metric.unit}, {metric.better} is better")
        metric.values.append(value)

    def note(self, text: str) -> None:
        """Something that a reader of the figures should know."""
        if text not in self.notes:
            self.notes.append(text)

    def invalid(self, reason: str) -> None:
        """The run does not measure what it says: the exit status will be 1."""
        self.errors.append(reason)

    def to_json(self) -> dict[str, Any]:
        """Everything, by the convention of README.md."""
        foreign = self._foreign.share()
        if foreign > FOREIGN_LIMIT:
            self.note(f"other processes took {foreign:.0%} of the machine: figures are too high")
        if not self.metrics:
            self.invalid("nothing was measured")
        return {
            "bench": self.name,
            "when": self._when.isoformat(timespec="seconds"),
            "commit": commit(ROOT),
            "machine": {**describe_machine(), "foreign_cpu": round(foreign, 4)},
            "settings": {
                "quick": self.options.quick,
                "runs": self.options.runs,
                "against": list(self.options.against),
                **self.settings,
            },
            "metrics": {
                name: metric.to_json(TARGETS.get(name)) for name, metric in self.metrics.items()
            },
            "notes": self.notes,
            "valid": not self.errors,
            "errors": self.errors,
        }

    def finish(self, *tables: Table) -> int:
        """Print the figures, or ``tables`` instead, and write the JSON. Returns the exit status: 0
        for a valid run, else 1."""
        result = self.to_json()
        self.options.json_path.parent.mkdir(parents=True, exist_ok=True)
        self.options.json_path.write_text(json.dumps(result, indent=2) + "\n")
        console = wide_console()
        for table in tables or (result_table(result),):
            console.print(table)
        machine = result["machine"]
        console.print(
            f"[dim]{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; "
            f"{machine['libraries']}; foreign CPU {machine['foreign_cpu']:.1%}; "
            f"{result['commit']}[/dim]",
            highlight=False,
        )
        for note in self.notes:
            console.print(f"note: {note}", markup=False, highlight=False)
        for error in self.errors:
            console.print(f"NOT VALID: {error}", markup=False, highlight=False)
        console.print(f"[dim]{self.options.json_path}[/dim]", highlight=False, soft_wrap=True)
        return 1 if self.errors else 0


def wide_console() -> Console:
    """A terminal's width, or what the tables need where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def result_table(result: dict[str, Any]) -> Table:
    """A benchmark's figures with their targets."""
    table = Table(title=f"{result['bench']} ({result['settings']['runs']} runs: median, min, max)")
    table.add_column("metric", no_wrap=True)
    for heading in ("median", "min", "max"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    table.add_column("target", justify="right")
    for name, metric in result["metrics"].items():
        table.add_row(
            name,
            *(format_figure(metric[key]) for key in ("value", "min", "max")),
            metric["unit"],
            _target_words(metric),
        )
    return table


def _target_words(metric: dict[str, Any]) -> str:
    target = metric["target"]
    if target is None:
        return ""
    lower = metric["better"] == "lower"
    met = metric["value"] <= target if lower else metric["value"] >= target
    words = f"{'≤' if lower else '≥'} {format_figure(target)}"
    return f"[green]{words}[/green]" if met else f"[red]{words}[/red]"


def format_figure(value: float) -> str:
    """Three significant digits or so."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def alternate(runs: int, *contenders: Callable[[], A]) -> Iterator[tuple[A, ...]]:
    """Run the contenders A B A B …; yields the results pair by pair."""
    for _ in range(runs):
        yield tuple(contender() for contender in contenders)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0..1) of the values do not exceed."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
