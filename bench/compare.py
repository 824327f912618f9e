"""What moved between two results: `python -m bench.compare OLD.json NEW.json`.

A change counts as moved when the two spreads (minimum to maximum over the runs) do not overlap;
when only the medians lie outside of each other's spread it is told as likely. With one run of a
metric on either side there is no spread to tell by.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.common.report import format_figure, wide_console


@dataclass(frozen=True)
class Change:
    """One metric, before and after."""

    name: str
    old: dict[str, Any]
    new: dict[str, Any]

    @property
    def ratio(self) -> float | None:
        """New over old; None where the old one is 0."""
        return self.new["value"] / self.old["value"] if self.old["value"] else None

    @property
    def verdict(self) -> str:
        """ "better", "worse", either with "likely", "same", or "one run"."""
        old, new = self.old, self.new
        if old["value"] == new["value"]:
            return "same"
        if min(old["runs"], new["runs"]) < 2:
            return "one run"
        is_lower = new["value"] < old["value"]
        word = "better" if is_lower == (new["better"] == "lower") else "worse"
        if new["max"] < old["min"] or new["min"] > old["max"]:
            return word
        if _outside(new["value"], old) and _outside(old["value"], new):
            return f"likely {word}"
        return "same"


def _outside(value: float, metric: dict[str, Any]) -> bool:
    return not metric["min"] <= value <= metric["max"]


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The metrics that both results have, in the new one's order.

    Raises :class:`ValueError` when the results are of different benchmarks.
    """
    if old["bench"] != new["bench"]:
        raise ValueError(f"results of {old['bench']} and of {new['bench']} do not compare")
    return [
        Change(name, old["metrics"][name], metric)
        for name, metric in new["metrics"].items()
        if name in old["metrics"]
    ]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes the two less comparable, in words."""
    found = [
        f"{key}: {old[part].get(key)} → {new[part].get(key)}"
        for part in ("machine", "settings")
        for key in {**old[part], **new[part]}
        if key not in ("foreign_cpu", "runs", "against")
        and old[part].get(key) != new[part].get(key)
    ]
    for result in (old, new):
        if result["machine"]["foreign_cpu"] > 0.1:
            found.append(f"foreign CPU {result['machine']['foreign_cpu']:.0%} at {result['when']}")
        if not result["valid"]:
            found.append(f"the run of {result['when']} was not valid")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what moved. Returns the exit status: 0, or 2 for files that do not compare."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args(arguments)
    try:
        old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
        changes = compare(old, new)
    except (OSError, ValueError, KeyError) as error:
        print(f"python -m bench.compare: {error}", file=sys.stderr)
        return 2
    console = wide_console()
    console.print(_table(old, new, changes))
    for text in differences(old, new):
        console.print(f"note: {text}", markup=False, highlight=False)
    for kind, here, there in (("new", new, old), ("gone", old, new)):
        if names := [name for name in here["metrics"] if name not in there["metrics"]]:
            console.print(f"{kind}: {', '.join(names)}", markup=False, highlight=False)
    return 0


def _table(old: dict[str, Any], new: dict[str, Any], changes: list[Change]) -> Table:
    table = Table(title=f"{new['bench']}: {old['commit']} → {new['commit']}")
    table.add_column("metric", no_wrap=True)
    for heading in ("old", "new", "change"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    colours = {"better": "green", "worse": "red"}
    for change in changes:
        colour = colours.get(change.verdict.removeprefix("likely "), "dim")
        table.add_row(
            change.name,
            _with_spread(change.old),
            f"{_with_spread(change.new)} {change.new['unit']}",
            "" if change.ratio is None else f"{change.ratio - 1:+.1%}",
            f"[{colour}]{change.verdict}[/{colour}]",
        )
    return table


def _with_spread(metric: dict[str, Any]) -> str:
    spread = f" ({format_figure(metric['min'])} to {format_figure(metric['max'])})"
    return format_figure(metric["value"]) + (spread if metric["runs"] > 1 else "")


if __name__ == "__main__":
    sys.exit(main())
