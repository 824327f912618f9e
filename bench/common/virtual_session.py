"""Cases in virtual time: run by `bench/session`, and read into figures."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.common.network_cases import SETTLE_S, Case
from bench.common.tools import ToolError, build_tool

RUN_TIMEOUT_S = 600.0
DRAINED_MS = 50.0
FULL_SHARE = 0.85
"""Of the ceiling, or of the capacity where that is less."""


@dataclass(frozen=True)
class SessionRun:
    """One run: the program's output."""

    case: Case
    controller: str
    output: dict[str, Any]

    @property
    def media(self) -> list[dict[str, Any]]:
        """The media flows."""
        return [flow for flow in self.output["flows"] if flow["kind"] == "media"]

    @property
    def tcp(self) -> list[dict[str, Any]]:
        """What competes."""
        return [flow for flow in self.output["flows"] if flow["kind"] == "tcp"]

    def capacity_bps(self, way: str, from_s: float, until_s: float) -> float:
        """The link's mean."""
        series = self.output["links"][way]["series"]
        return 1e3 * _mean(series["target_kbps"], series["bin_s"], from_s, until_s)


def run_case(case: Case, controller: str, seed: int) -> SessionRun:
    """Run it. Raises :class:`~bench.common.tools.ToolError` when the program fails."""
    program = build_tool("session")
    result = subprocess.run(
        [program],
        input=case.scenario(controller, seed),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    if result.returncode != 0:
        raise ToolError(f"{case.name}, {controller}: {result.stderr.strip()[-500:]}")
    return SessionRun(case, controller, json.loads(result.stdout))


def _mean(values: Sequence[float], bin_s: float, from_s: float, until_s: float) -> float:
    wanted = values[round(from_s / bin_s) : round(until_s / bin_s)]
    return statistics.fmean(wanted) if wanted else 0.0


def _received_bps(flow: dict[str, Any], from_s: float, until_s: float) -> float:
    series = flow["series"]
    return 1e3 * _mean(series["received_kbps"], series["bin_s"], from_s, until_s)


def jain(rates: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all are equal, 1/n when one has everything."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares > 0 else 0.0


def figures(run: SessionRun) -> dict[str, float]:
    """Everything that is said of a run, by the last part of the metric's name."""
    case, media = run.case, run.media
    summaries = [flow["summary"] for flow in media]
    found = {
        "utilisation": _utilisation(run),
        **{f"queue_{p}_ms": max(s["queue_ms"][p] for s in summaries) for p in _PERCENTILES},
        **{f"frame_delay_{p}_ms": max(s["frame_ms"][p] for s in summaries) for p in _PERCENTILES},
        "mbps": sum(_received_bps(flow, SETTLE_S, case.duration_s) for flow in media) / 1e6,
    }
    minutes = (case.duration_s - SETTLE_S) / 60 * len(media)
    freezes = sum(s["freezes"] for s in summaries)
    found["freezes_per_min"] = freezes / minutes
    found["freeze_ms"] = sum(s["frozen_ms"] for s in summaries) / freezes if freezes else 0.0
    sent = sum(s["sent_bytes"] for s in summaries)
    repair = sum(s["rtx_bytes"] + s["fec_bytes"] for s in summaries)
    found["overhead"] = repair / sent if sent else 0.0
    special = {
        "jain": _jain,
        "share": _share,
        "drain": _drain_s,
        "misses": lambda run: _misses(run, 1.5),
        "misses_2rtt": lambda run: _misses(run, 2.0),
        "full_quality": _full_quality_s,
        "resumed": _full_quality_s,
    }
    names = {"drain": "drain_s", "full_quality": "full_quality_s", "resumed": "resumed_s"}
    for name in case.figures:
        found[names.get(name, name)] = special[name](run)
    return found


_PERCENTILES = ("p50", "p95", "p99")


def _utilisation(run: SessionRun) -> float:
    """What the media flows get of what they could get, from 5 s after the first one's start on.

    Of the capacity, everything on the wire; of an encoder's ceiling, what came as frames.
    """
    case = run.case
    if case.ceiling_bps:
        flow = run.media[0]
        seconds = case.duration_s - flow["start_s"] - SETTLE_S
        return float(flow["summary"]["media_bytes"] * 8 / seconds / case.ceiling_bps)
    shares = []
    for way in ("forward", "back"):
        flows = [flow for flow in run.media if flow["way"] == way]
        if not flows:
            continue
        from_s = min(flow["start_s"] for flow in flows) + SETTLE_S
        capacity = run.capacity_bps(way, from_s, case.duration_s)
        got = sum(_received_bps(flow, from_s, case.duration_s) for flow in flows)
        shares.append(got / capacity)
    return statistics.fmean(shares)


def _jain(run: SessionRun) -> float:
    """From when all of them have been there for 10 s."""
    from_s = max(flow["start_s"] for flow in run.media) + 2 * SETTLE_S
    until_s = run.case.duration_s
    return jain([_received_bps(flow, from_s, until_s) for flow in run.media])


def _share(run: SessionRun) -> float:
    """Of what media and TCP get together."""
    from_s = max(flow["start_s"] for flow in run.media) + SETTLE_S
    until_s = run.case.duration_s
    media = sum(_received_bps(flow, from_s, until_s) for flow in run.media)
    tcp = sum(_received_bps(flow, from_s, until_s) for flow in run.tcp)
    return media / (media + tcp)


def _drain_s(run: SessionRun) -> float:
    """From the step until the queue is below 50 ms and stays there for a second."""
    series = run.output["links"]["forward"]["series"]
    bin_s, step_s = series["bin_s"], run.case.step_s
    over = [i for i, queue in enumerate(series["queue_max_ms"]) if queue >= DRAINED_MS]
    calm = round(1.0 / bin_s)
    last = round(step_s / bin_s) - 1
    for i in over:
        if i > last and i - last <= calm:
            last = i
    return max(0.0, float((last + 1) * bin_s - step_s))


def _misses(run: SessionRun, round_trips: float) -> float:
    """Frames that took longer than so many round trips and a frame's interval, or never came, of
    those taken."""
    summaries = [flow["summary"] for flow in run.media]
    deadline_ms = int(round_trips * run.case.rtt_ms + 1000 / summaries[0]["fps"])
    captured = sum(s["captured"] for s in summaries)
    in_time = sum(sum(s["delays"][: deadline_ms + 1]) for s in summaries)
    return 1 - float(in_time) / float(captured) if captured else 1.0


def _full_quality_s(run: SessionRun) -> float:
    """From the start (or from the picture's moving again) until 85 % of the ceiling arrives."""
    series = run.media[0]["series"]
    wanted = FULL_SHARE * run.case.ceiling_bps / 1e3
    begin = round(run.case.step_s / series["bin_s"])
    for i, received in enumerate(series["received_kbps"][begin:]):
        if received >= wanted:
            return float((i + 1) * series["bin_s"])
    return run.case.duration_s
