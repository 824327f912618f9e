"""The stream on bad networks: rate, queue, delay, freezes and overhead, ours against others.

Most cases run in virtual time: the real sender, its congestion control, its repair of losses and
the real receiver, over an emulated path (`bench/session`), minutes in moments. Beside ours: `gcc`,
our implementation of draft-ietf-rmcat-gcc-02 on the same sender, and for losses `fec20`, ours with
every NACK answered and a fixed fifth of repair packets.

With --against aiortc or chromium the live cases run as well, which need root: whole programs in
network namespaces with the emulated link between them, the contenders one after the other on the
same link, `playcast host` and its native receiver among them. The cases `tcp-…` need root too: the
kernel's own Cubic and BBR against our real sender.

Frame delay is capture → complete in virtual time, and drawn → decoded in the live cases. A freeze
is a gap of more than 150 ms over the mean interval.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.common.display import SCENES
from bench.common.network_cases import all_cases
from bench.common.network_plots import DrawnCase, FlowSeries, RunSeries, draw, write_page
from bench.common.report import Better, Options, Report, format_figure, parse_options
from bench.common.virtual_session import SessionRun, figures, run_case
from bench.link.namespaces import may_make_namespaces
from bench.live.session import LIVE_CASES, TCP_CASES, LiveCase, run_live

UNITS: dict[str, tuple[str, Better]] = {
    "utilisation": ("ratio", "higher"),
    "mbps": ("Mbit/s", "higher"),
    "queue_p50_ms": ("ms", "lower"),
    "queue_p95_ms": ("ms", "lower"),
    "queue_p99_ms": ("ms", "lower"),
    "frame_delay_p50_ms": ("ms", "lower"),
    "frame_delay_p95_ms": ("ms", "lower"),
    "frame_delay_p99_ms": ("ms", "lower"),
    "freezes_per_min": ("1/min", "lower"),
    "freeze_ms": ("ms", "lower"),
    "overhead": ("ratio", "lower"),
    "jain": ("ratio", "higher"),
    "share": ("ratio", "higher"),
    "drain_s": ("s", "lower"),
    "misses": ("ratio", "lower"),
    "misses_2rtt": ("ratio", "lower"),
    "full_quality_s": ("s", "lower"),
    "resumed_s": ("s", "lower"),
    "psnr_db": ("dB", "higher"),
    "fps": ("1/s", "higher"),
}
LIVE_SCENE = SCENES["720p30"]
TCP_CONTENDERS = ("ours", "gcc", "chromium")
BURSTY = [f"burst{loss}-rtt{rtt}" for loss in (5, 10) for rtt in (60, 100)]


@dataclass
class Tables:
    """What is printed and drawn: figures by case and contender, over the runs."""

    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    drawn: dict[str, DrawnCase] = field(default_factory=dict)

    def add(self, case: str, contender: str, found: dict[str, float]) -> None:
        """One run's figures."""
        figures = self.values.setdefault(case, {}).setdefault(contender, {})
        for name, value in found.items():
            figures.setdefault(name, []).append(value)

    def median(self, case: str, contender: str, name: str) -> float | None:
        """Over the runs; None where there is no such figure."""
        values = self.values.get(case, {}).get(contender, {}).get(name)
        return statistics.median(values) if values else None


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options(
        "network",
        __doc__ or "",
        runs=3,
        quick_runs=1,
        contenders=("gcc", "aiortc", "chromium"),
        plots=True,
    )
    if options.html_path is not None and find_spec("matplotlib") is None:
        print("--html needs matplotlib: pip install 'playcast[bench]'", file=sys.stderr)
        return 2
    report = Report("network", options, {"settle_s": 5})
    tables = Tables()
    run_virtual(options, report, tables)
    run_live_cases(options, report, tables)
    add_ratios(report, tables)
    if options.html_path is not None:
        write_html(options, tables)
    return report.finish(*printed(tables))


def run_virtual(options: Options, report: Report, tables: Tables) -> None:
    """Every case that is wanted, in virtual time."""
    cases = [
        case
        for case in all_cases()
        if options.wants(case.name) and (case.quick or not options.quick or options.only)
    ]
    with ThreadPoolExecutor(2) as pool:
        for case in cases:
            controllers = [name for name in case.controllers if wanted(options, name)]
            jobs = [
                (controller, pool.submit(run_case, case, controller, seed))
                for seed in range(1, options.runs + 1)
                for controller in controllers
            ]
            runs = [(controller, job.result()) for controller, job in jobs]
            for controller, run in runs:
                found = figures(run)
                tables.add(case.name, controller, found)
                add_figures(report, case.name, controller, found)
            if options.html_path is not None:
                first = [run for _, run in runs[: len(controllers)]]
                drawing = draw(case.name, [series(run) for run in first])
                tables.drawn[case.name] = DrawnCase(case.name, case.about, png=drawing)


def run_live_cases(options: Options, report: Report, tables: Tables) -> None:
    """Whole programs in namespaces: against aiortc and Chromium, and against the kernel's TCP."""
    contenders = [
        "ours",
        *(name for name in ("gcc", "aiortc", "chromium") if name in options.against),
    ]
    rivals = {"aiortc", "chromium"} & set(contenders)
    cases = [
        case
        for case in (*LIVE_CASES, *TCP_CASES)
        if (case.competitor or rivals) and _live_wanted(options, case)
    ]
    if not cases:
        return
    if not may_make_namespaces():
        report.note("the live cases and tcp-… were left out: they need root and /dev/net/tun")
        return
    for case in cases:
        names = [name for name in contenders if not case.competitor or name in TCP_CONTENDERS]
        if case.competitor and "gcc" not in names:
            names.append("gcc")
        for seed in range(1, options.runs + 1):
            runs = [run_live(case, name, LIVE_SCENE, seed) for name in names]
            for run in runs:
                found = run.figures()
                tables.add(case.name, run.contender, found)
                add_figures(report, case.name, run.contender, found)
            if options.html_path is not None and seed == 1:
                drawing = draw(case.name, [run.series() for run in runs])
                tables.drawn[case.name] = DrawnCase(case.name, case.about, png=drawing)


def _live_wanted(options: Options, case: LiveCase) -> bool:
    return options.wants(case.name) and (case.quick or not options.quick or bool(options.only))


def wanted(options: Options, controller: str) -> bool:
    """Ours and what others do against loss always; `gcc` unless --against leaves it out."""
    return controller != "gcc" or not options.against or "gcc" in options.against


def add_figures(report: Report, case: str, contender: str, found: dict[str, float]) -> None:
    """Into the report, by the convention's names."""
    for name, value in found.items():
        unit, better = UNITS[name]
        report.add(f"network.{case}.{contender}.{name}", value, unit, better=better)


def add_ratios(report: Report, tables: Tables) -> None:
    """Ours over the others, where a target is a ratio."""
    share = _ratio(tables, ["cubic"], "share", "gcc")
    if share is not None:
        report.add("network.cubic.share_over_gcc", share, "ratio", better="higher")
    share = _ratio(tables, ["tcp-cubic"], "share", "gcc")
    if share is not None:
        report.add("network.tcp-cubic.share_over_gcc", share, "ratio", better="higher")
    delay = _ratio(tables, ["live-5.1"], "frame_delay_p95_ms", "chromium")
    rate = _ratio(tables, ["live-5.1"], "mbps", "chromium")
    if delay is not None and rate is not None:
        report.add("network.live-5.1.frame_delay_p95_over_chromium", delay, "ratio")
        report.add("network.live-5.1.mbps_over_chromium", rate, "ratio", better="higher")
    for name in ("misses", "misses_2rtt", "overhead"):
        ratio = _ratio(tables, BURSTY, name, "fec20")
        if ratio is not None:
            report.add(f"network.burst5-10.{name}_over_fec20", ratio, "ratio")


def _ratio(tables: Tables, cases: Sequence[str], name: str, other: str) -> float | None:
    """Of the sums over the cases."""
    pairs = [
        (ours, theirs)
        for case in cases
        if (ours := tables.median(case, "ours", name)) is not None
        and (theirs := tables.median(case, other, name)) is not None
    ]
    theirs = sum(pair[1] for pair in pairs)
    return sum(pair[0] for pair in pairs) / theirs if theirs > 0 else None


def series(run: SessionRun) -> RunSeries:
    """A run in virtual time as it is drawn: the forward link's flows, or all where some go back."""
    link = run.output["links"]["forward"]["series"]
    count = len(link["target_kbps"])
    return RunSeries(
        contender=run.controller,
        t=[i * link["bin_s"] for i in range(count)],
        capacity_mbps=[rate / 1e3 for rate in link["target_kbps"]],
        flows=[
            FlowSeries(
                name=flow["name"],
                mbps=[rate / 1e3 for rate in flow["series"]["received_kbps"]],
                queue_ms=flow["series"]["queue_max_ms"],
                delay_ms=flow["series"]["frame_ms"],
                lost=flow["series"]["lost"],
                target_mbps=[rate / 1e3 for rate in flow["series"]["target_kbps"]],
            )
            for flow in run.output["flows"]
        ],
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


_COLUMNS: Sequence[tuple[str, str, Callable[[float], str]]] = (
    ("util", "utilisation", lambda value: f"{value:.0%}"),
    ("Mbit/s", "mbps", _short),
    ("queue 50", "queue_p50_ms", _short),
    ("95", "queue_p95_ms", _short),
    ("99", "queue_p99_ms", _short),
    ("delay 50", "frame_delay_p50_ms", _short),
    ("95", "frame_delay_p95_ms", _short),
    ("99", "frame_delay_p99_ms", _short),
    ("freezes", "freezes_per_min", _short),
    ("ms", "freeze_ms", _short),
    ("repair", "overhead", lambda value: f"{value:.0%}"),
)
_SPECIAL = (
    "jain",
    "share",
    "drain_s",
    "misses",
    "misses_2rtt",
    "full_quality_s",
    "resumed_s",
    "psnr_db",
    "fps",
)


def cells(tables: Tables, case: str, contender: str) -> list[str]:
    """A contender's row: medians over the runs, then what the case is there to show."""
    row = []
    for _, name, words in _COLUMNS:
        value = tables.median(case, contender, name)
        row.append("" if value is None else words(value))
    special = [
        f"{name} {format_figure(value)}"
        for name in _SPECIAL
        if (value := tables.median(case, contender, name)) is not None
    ]
    return [*row, ", ".join(special)]


def printed(tables: Tables) -> list[Table]:
    """The figures for the terminal, a row a case and contender."""
    if not tables.values:
        return []
    table = Table(
        title="network: percentiles of queue and frame delay in ms; freezes a minute, and of ms",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("case", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading, _, _ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for case, contenders in tables.values.items():
        for i, contender in enumerate(contenders):
            name = case if i == 0 else ""
            table.add_row(name, contender, *cells(tables, case, contender))
    return [table]


def write_html(options: Options, tables: Tables) -> None:
    """Everything on one page."""
    assert options.html_path is not None
    headings = [heading for heading, _, _ in _COLUMNS] + [""]
    for name, drawn in tables.drawn.items():
        drawn.headings = headings
        drawn.rows = {
            contender: cells(tables, name, contender) for contender in tables.values.get(name, {})
        }
    intro = (__doc__ or "").strip().split("\n\n")
    write_page(options.html_path, "Playcast on bad networks", intro, list(tables.drawn.values()))


if __name__ == "__main__":
    sys.exit(main())
