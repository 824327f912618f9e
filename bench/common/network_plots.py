"""Time series of `bench.network`, drawn: a PNG a case, and one page that holds them all.

Needs matplotlib (``pip install playcast[bench]``).
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf")
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem }
table { border-collapse: collapse; margin: .5rem 0 }
td, th { padding: .1rem .6rem; text-align: right; border-bottom: 1px solid #eee }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
.met { color: #070 } .missed { color: #a00 }
"""


@dataclass(frozen=True)
class FlowSeries:
    """What one flow did over time. All of one length."""

    name: str
    mbps: Sequence[float]
    queue_ms: Sequence[float]
    delay_ms: Sequence[float]
    lost: Sequence[float]
    target_mbps: Sequence[float] = ()


@dataclass(frozen=True)
class RunSeries:
    """One contender's run."""

    contender: str
    t: Sequence[float]
    capacity_mbps: Sequence[float]
    flows: Sequence[FlowSeries]


@dataclass
class DrawnCase:
    """A case on the page."""

    name: str
    about: str
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Contender to figures, in the order of ``headings``."""
    headings: Sequence[str] = ()
    png: bytes = b""


def draw(title: str, runs: Sequence[RunSeries]) -> bytes:
    """A PNG: a column a contender; rate, queue, frame delay and losses below each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        4,
        len(runs),
        figsize=(6.2 * len(runs), 7.4),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=(3, 2, 2, 1),
        layout="constrained",
    )
    for column, run in enumerate(runs):
        _draw_run([row[column] for row in grid], run)
    for row, label in zip(
        grid, ("Mbit/s", "queue, ms", "slowest frame, ms", "lost / 100 ms"), strict=True
    ):
        row[0].set_ylabel(label)
    figure.suptitle(title)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    plt.close(figure)
    return out.getvalue()


def _draw_run(panels: Sequence[Any], run: RunSeries) -> None:
    rate, queue, delay, lost = panels
    rate.set_title(run.contender)
    rate.step(run.t, run.capacity_mbps, color="black", linewidth=1, where="post", label="capacity")
    for i, flow in enumerate(run.flows):
        colour = _COLOURS[i % len(_COLOURS)]
        rate.plot(run.t, _smooth(flow.mbps), color=colour, linewidth=0.9, label=flow.name)
        if flow.target_mbps and len(run.flows) == 1:
            rate.plot(run.t, flow.target_mbps, color="#999", linewidth=0.6, label="target")
        queue.plot(run.t, flow.queue_ms, color=colour, linewidth=0.7)
        delay.plot(run.t, [d or float("nan") for d in flow.delay_ms], color=colour, linewidth=0.7)
        lost.plot(run.t, flow.lost, color=colour, linewidth=0.7)
    most = max(run.capacity_mbps, default=0)
    if most > 0:
        rate.set_ylim(0, 1.3 * most)
    if len(run.flows) <= 6:
        rate.legend(fontsize="x-small", loc="upper right", ncols=2)
    lost.set_xlabel("s")
    for panel in panels:
        panel.grid(visible=True, linewidth=0.3)


def _smooth(values: Sequence[float], width: int = 5) -> list[float]:
    half = width // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def write_page(path: Path, title: str, intro: Sequence[str], cases: Sequence[DrawnCase]) -> None:
    """One HTML file that needs no other; the PNGs also as files beside it."""
    pictures = path.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in intro),
    ]
    for case in cases:
        parts.append(f"<h2>{html.escape(case.name)}</h2><p>{html.escape(case.about)}</p>")
        parts.append(_table(case))
        if case.png:
            (pictures / f"{case.name}.png").write_bytes(case.png)
            inline = base64.b64encode(case.png).decode()
            parts.append(
                f'<img alt="{html.escape(case.name)}" src="data:image/png;base64,{inline}">'
            )
    path.write_text("\n".join(parts) + "\n")


def _table(case: DrawnCase) -> str:
    heads = "".join(f"<th>{html.escape(head)}" for head in ("", *case.headings))
    rows = "".join(
        f"<tr><td>{html.escape(name)}" + "".join(f"<td>{html.escape(cell)}" for cell in cells)
        for name, cells in case.rows.items()
    )
    return f"<table><tr>{heads}{rows}</table>"
