"""Whether viewers get the picture as they should: what consecutive reports of a host tell.

:class:`QualityWatch` is pure: the same reports give the same changes. Something is bad from
``after_bad`` reports in a row beyond a limit, and good again from ``after_good`` in a row within a
stricter one; between the two limits nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from native import Codec
from peer.report import EncodeReport, HostReport, ViewerReport

Reason = Literal["silent", "loss", "queue", "rtt", "rate", "frames", "late"]
"""What is wrong: the path does not answer; packets are lost; they queue on the way; it is long; it
takes too little; frames are not sent because it has not drained; the host is too slow itself."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Bad at ``bad`` and beyond, good at ``good`` and on its other side."""

    bad: float
    good: float

    def is_bad(self, value: float) -> bool:
        return value <= self.bad if self.bad < self.good else value >= self.bad

    def is_good(self, value: float) -> bool:
        return value >= self.good if self.bad < self.good else value <= self.good


LIMITS: Mapping[Reason, Limit] = {
    "loss": Limit(bad=0.05, good=0.02),
    "queue": Limit(bad=100.0, good=50.0),
    "rtt": Limit(bad=250.0, good=200.0),
    "rate": Limit(bad=500_000.0, good=800_000.0),
    "frames": Limit(bad=0.2, good=0.05),
    "late": Limit(bad=0.1, good=0.02),
    "silent": Limit(bad=1.0, good=0.0),
}
"""Of a share lost; ms; ms; bit/s; a share of the frames dropped, or late; whether it is silent."""


@dataclass(frozen=True, kw_only=True)
class QualitySettings:
    """Raises :class:`ValueError` naming the wrong field."""

    after_bad: int = 3
    """Reports in a row."""

    after_good: int = 5
    """Reports in a row."""

    limits: Mapping[Reason, Limit] = field(default_factory=lambda: LIMITS)

    def __post_init__(self) -> None:
        for name in ("after_bad", "after_good"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: takes 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityChange:
    """A viewer's picture is worse than it should be, or is as it should be again."""

    peer: str
    """Whose; empty: everybody's."""

    degraded: bool
    reasons: tuple[Reason, ...]
    """What was wrong in the report that settled it, or all that had been."""

    reports: int
    """Of one that is good again: how many reports it was not."""

    viewer: ViewerReport | None
    """As it is now; none for everybody's."""

    fps: float
    """Of the encode that they get."""


@dataclass(slots=True)
class _Judgement:
    degraded: bool = False
    run: int = 0
    """Reports in a row that speak against :attr:`degraded`."""

    reports: int = 0
    """Since it is degraded."""

    reasons: dict[Reason, None] = field(default_factory=dict)


class QualityWatch:
    """Give it every report, in order."""

    def __init__(self, settings: QualitySettings | None = None) -> None:
        self.settings = settings or QualitySettings()
        self._before: HostReport | None = None
        self._judgements: dict[str, _Judgement] = {}

    def see(self, report: HostReport) -> list[QualityChange]:
        """What has changed with this report. Who is gone is forgotten without a word."""
        before, self._before = self._before, report
        if before is None:
            return []
        known = {viewer.peer: viewer for viewer in before.viewers}
        figures: dict[str, tuple[Mapping[Reason, float], ViewerReport | None, float]] = {}
        watching = [v for v in report.viewers if v.state in ("connected", "silent")]
        if watching:
            late = _share(report.late - before.late, report.fps)
            figures[""] = {"late": late}, None, report.fps
        for viewer in watching:
            if viewer.peer in known:
                encode = _encode_of(report, viewer)
                figures[viewer.peer] = (
                    _figures(known[viewer.peer], viewer, encode),
                    viewer,
                    encode.fps if encode else 0.0,
                )
        self._judgements = {peer: self._judgements.get(peer) or _Judgement() for peer in figures}
        changes = []
        for peer, (values, of_viewer, fps) in figures.items():
            judgement = self._judgements[peer]
            if self._turns(judgement, values):
                changes.append(
                    QualityChange(
                        peer=peer,
                        degraded=judgement.degraded,
                        reasons=tuple(judgement.reasons),
                        reports=0 if judgement.degraded else judgement.reports,
                        viewer=of_viewer,
                        fps=fps,
                    )
                )
                judgement.reports = 0
        return changes

    def _turns(self, judgement: _Judgement, values: Mapping[Reason, float]) -> bool:
        """Whether the judgement is another one with these figures."""
        limits = self.settings.limits
        bad = [reason for reason, value in values.items() if limits[reason].is_bad(value)]
        if judgement.degraded:
            judgement.reports += 1
            judgement.reasons.update(dict.fromkeys(bad))
            good = all(limits[reason].is_good(value) for reason, value in values.items())
            judgement.run = judgement.run + 1 if good else 0
            needed = self.settings.after_good
        else:
            judgement.run = judgement.run + 1 if bad else 0
            needed = self.settings.after_bad
        if judgement.run < needed:
            return False
        judgement.degraded, judgement.run = not judgement.degraded, 0
        if judgement.degraded:
            judgement.reasons = dict.fromkeys(bad)
        return True


def _figures(
    before: ViewerReport, now: ViewerReport, encode: EncodeReport | None
) -> dict[Reason, float]:
    if now.state == "silent":
        return {"silent": 1.0}  # all else is old
    network = now.network
    figures: dict[Reason, float] = {
        "silent": 0.0,
        "loss": now.loss if network is None else network.loss,
        "frames": _share(now.frames_dropped - before.frames_dropped, encode.fps if encode else 0.0),
    }
    if now.rtt_ms is not None:
        figures["rtt"] = now.rtt_ms
    if network is not None:
        figures["queue"] = network.queue_ms
        if network.state not in ("starting", "fixed"):
            figures["rate"] = network.target_bps
    return figures


def _encode_of(report: HostReport, viewer: ViewerReport) -> EncodeReport | None:
    return report.encodes.get((Codec[viewer.codec], viewer.rung)) if viewer.codec else None


def _share(missed: int, taken: float) -> float:
    """Of those that there could have been, in a second."""
    return missed / (missed + taken) if missed > 0 else 0.0
