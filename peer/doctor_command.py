"""How ``playcast doctor`` shows what :mod:`peer.doctor` finds."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from rich.console import Console
from rich.text import Text

from peer.doctor import DoctorSettings, Finding, examine, to_json

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red")}


def run_doctor(options: argparse.Namespace) -> int:
    """Examine this machine. Returns 0 when it can host, else 1."""
    settings = DoctorSettings(
        display=options.display,
        udp_port=options.udp_port,
        bind=tuple(options.bind or ("127.0.0.1",)),
    )
    findings = asyncio.run(_examine(settings, show=not options.json))
    result = to_json(findings)
    if options.json:
        print(json.dumps(result))
    return 0 if result["ok"] else 1


async def _examine(settings: DoctorSettings, *, show: bool) -> list[Finding]:
    console = Console(file=sys.stdout, highlight=False)
    findings = []
    async for finding in examine(settings):
        findings.append(finding)
        if show:
            _show(console, finding)
    if show:
        _conclude(console, findings)
    return findings


def _show(console: Console, finding: Finding) -> None:
    mark, style = _MARKS[finding.status]
    console.print(
        Text.assemble("  ", (mark, style), f" {finding.name:<11} ", (finding.detail, "dim")),
        soft_wrap=True,
    )
    if finding.fix:
        console.print(Text(f"    to fix it: {finding.fix}", style=style), soft_wrap=True)


def _conclude(console: Console, findings: list[Finding]) -> None:
    failed = sum(finding.status == "failed" for finding in findings)
    warned = sum(finding.status == "warning" for finding in findings)
    if failed:
        words = f"{failed} of {len(findings)} checks failed: this machine cannot host yet."
    elif warned:
        words = f"This machine can host; {warned} of {len(findings)} checks could be better."
    else:
        words = "All is well: this machine can host."
    console.print(f"\n  {words}")
