"""The cases of `bench.network` in virtual time: a path, what changes on it, and who sends over it.

The cases of RFC 8867 have its numbers: 50 ms one way and a drop-tail queue of 300 ms, unless they
say otherwise. Those of a game stream (`x10-…`) have ten times the rate and 5 to 20 ms one way. The
RFC's own rates are far below what a game needs: there the picture has 30 frames a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Steps = Sequence[tuple[float, float]]
"""Seconds, Mbit/s."""

SETTLE_S = 5.0


@dataclass(frozen=True)
class Flow:
    """One of the flows of a case."""

    name: str
    kind: str = "media"
    options: str = ""

    def line(self, controller: str) -> str:
        """Its line of the scenario. ``controller``: of our media, see :data:`CONTROLLERS`."""
        own = CONTROLLERS[controller] if self.kind == "media" else ""
        return f"flow {self.kind} {self.name} {own} {self.options}".strip()


CONTROLLERS = {
    "ours": "controller=train",
    "gcc": "controller=gcc",
    "fec20": "controller=train fixed-fec=20%",
}
"""`fec20`: our congestion control with what others do against loss: every NACK answered once, and
repair packets as a fixed fifth of the media (Sunshine's default)."""


@dataclass(frozen=True)
class Case:
    """A scenario, and what it is there to show."""

    name: str
    about: str
    duration_s: float
    forward: str
    back: str
    flows: Sequence[Flow]
    changes: Sequence[str] = ()
    controllers: Sequence[str] = ("ours", "gcc")
    figures: Sequence[str] = ()
    """Beside those of every case: what `virtual_session.figures` knows."""
    step_s: float = 0.0
    """When the capacity falls, for `drain`."""
    rtt_ms: float = 0.0
    """For `misses`: frames later than 1.5 (or 2) round trips and a frame's interval."""
    ceiling_bps: float = 0.0
    """What the encoder may have at most, where that is less than the capacity; 0 = no bound."""
    quick: bool = False
    """Also run with --quick."""

    def scenario(self, controller: str, seed: int) -> str:
        """What `bench/session` reads."""
        lines = [
            f"seed {seed}",
            f"duration {self.duration_s:g}s",
            f"settle {SETTLE_S:g}s",
            f"link forward {self.forward}",
            f"link back {self.back}",
            *(f"at {change}" for change in self.changes),
            *(flow.line(controller) for flow in self.flows),
        ]
        return "\n".join(lines) + "\n"


def _steps(way: str, steps: Steps) -> list[str]:
    return [f"{at:g} {way} rate={rate:g}M" for at, rate in steps if at > 0]


def _path(steps: Steps, delay_ms: float, queue_ms: float = 300) -> str:
    return f"rate={steps[0][1]:g}M delay={delay_ms:g}ms queue={queue_ms:g}ms"


def _varying(
    name: str,
    about: str,
    steps: Steps,
    duration_s: float,
    flows: Sequence[Flow],
    *,
    delay_ms: float = 50,
    back: Steps | None = None,
    figures: Sequence[str] = (),
    quick: bool = False,
) -> Case:
    changes = _steps("forward", steps) + (_steps("back", back) if back else [])
    return Case(
        name=name,
        about=about,
        duration_s=duration_s,
        forward=_path(steps, delay_ms),
        back=_path(back, delay_ms) if back else f"delay={delay_ms:g}ms",
        changes=sorted(changes, key=lambda change: float(change.split()[0])),
        flows=flows,
        figures=figures,
        quick=quick,
    )


def _scaled(steps: Steps, factor: float) -> Steps:
    return [(at, rate * factor) for at, rate in steps]


_VARIABLE = [(0, 1), (40, 2.5), (60, 0.6), (80, 1)]
_VARIABLE_SHARED = [(0, 4), (25, 2), (50, 3.5), (75, 1), (100, 2)]
_CONGESTED_FORWARD = [(0, 2), (20, 1), (40, 0.5), (60, 2)]
_CONGESTED_BACK = [(0, 2), (35, 0.8), (70, 2)]


def _rfc8867(prefix: str, factor: float, delays_ms: Sequence[float], fps: int) -> Iterator[Case]:
    """5.1 to 5.8, at ``factor`` times the rates; ``delays_ms``: of 5.1, 5.2, 5.3 and the rest."""
    media = f"fps={fps} max={40 * max(factor, 0.5):g}M"
    variable, shared, congested, other = delays_ms
    big = factor > 1

    def flows(count: int, **options: str) -> list[Flow]:
        return [
            Flow(f"media{i}", options=f"{media} {options.get(f'f{i}', '')}") for i in range(count)
        ]

    yield _varying(
        f"{prefix}-5.1",
        "variable capacity, one flow",
        _scaled(_VARIABLE, factor),
        100,
        flows(1),
        delay_ms=variable,
        quick=True,
    )
    if not big:
        yield _varying(
            f"{prefix}-5.1-100ms",
            "variable capacity, one flow, 100 ms one way",
            _VARIABLE,
            100,
            flows(1),
            delay_ms=100,
        )
    yield _varying(
        f"{prefix}-5.2",
        "variable capacity, two flows",
        _scaled(_VARIABLE_SHARED, factor),
        125,
        flows(2),
        delay_ms=shared,
        figures=("jain",),
        quick=big,
    )
    yield _varying(
        f"{prefix}-5.3",
        "congested feedback: a flow each way",
        _scaled(_CONGESTED_FORWARD, factor),
        100,
        [Flow("media0", options=media), Flow("media1", options=f"{media} way=back")],
        back=_scaled(_CONGESTED_BACK, factor),
        delay_ms=congested,
        quick=big,
    )
    yield _varying(
        f"{prefix}-5.4",
        "three flows that start one after the other",
        [(0, 3.5 * factor)],
        120,
        flows(3, f1="start=20s", f2="start=40s"),
        delay_ms=other,
        figures=("jain",),
    )
    ways = (10, 25, 50, 100, 150) if not big else (2, 5, 10, 20, 30)
    late = [f"start={10 * i}s delay={way}ms" for i, way in enumerate(ways)]
    yield _varying(
        f"{prefix}-5.5",
        "five flows with round trips of their own",
        [(0, 4 * factor)],
        300,
        [Flow(f"media{i}", options=f"{media} {own}") for i, own in enumerate(late)],
        delay_ms=0,
        figures=("jain",),
    )
    for queue_ms in (300, 1000):
        yield Case(
            name=f"{prefix}-5.6" + ("" if queue_ms == 300 else "-1000ms"),
            about=f"against one long TCP (Cubic, a model), queue of {queue_ms} ms",
            duration_s=120,
            forward=_path([(0, 2 * factor)], other, queue_ms),
            back=f"delay={other:g}ms",
            flows=[Flow("media0", options=f"{media} start=5s"), Flow("tcp", "tcp")],
            figures=("share",),
        )
    transfers = [
        f"start={7 * i}s bytes={factor * 100 * (1 + i % 5):g}k rest={8 + i}s" for i in range(10)
    ]
    yield Case(
        name=f"{prefix}-5.7",
        about="two flows against ten short TCPs (Cubic, a model)",
        duration_s=300,
        forward=_path([(0, 2 * factor)], other),
        back=f"delay={other:g}ms",
        flows=[*flows(2), *(Flow(f"tcp{i}", "tcp", own) for i, own in enumerate(transfers))],
        figures=("jain",),
    )
    yield _varying(
        f"{prefix}-5.8",
        "three flows, one of them pauses",
        [(0, 3.5 * factor)],
        120,
        flows(3, f0="pause=40s resume=60s"),
        delay_ms=other,
        figures=("jain",),
    )


def _steps_down() -> Iterator[Case]:
    for share in (40, 80):
        yield Case(
            name=f"step-{share}",
            about=f"20 Mbit/s, less {share} % at 15 s",
            duration_s=30,
            forward="rate=20M delay=10ms queue=300ms",
            back="delay=10ms",
            changes=[f"15 forward rate={20 * (100 - share) / 100:g}M"],
            flows=[Flow("media0", options="max=40M")],
            figures=("drain",),
            step_s=15,
            quick=True,
        )


LOSSES = (0.5, 1, 2, 5, 10)
ROUND_TRIPS_MS = (5, 30, 60, 100)
BURST = 4
"""Packets, the mean length of a burst."""


def _losses() -> Iterator[Case]:
    for kind in ("loss", "burst"):
        for rtt_ms in ROUND_TRIPS_MS:
            for loss in LOSSES:
                lossy = f"loss={loss:g}%" if kind == "loss" else f"burst={loss:g}%x{BURST}"
                yield Case(
                    name=f"{kind}{loss:g}-rtt{rtt_ms}",
                    about=f"{loss:g} % lost {'in bursts' if kind == 'burst' else 'at random'}, "
                    f"round trip {rtt_ms} ms",
                    duration_s=65,
                    forward=f"rate=25M delay={rtt_ms / 2:g}ms queue=300ms {lossy}",
                    back=f"delay={rtt_ms / 2:g}ms",
                    flows=[Flow("media0", options="max=10M")],
                    controllers=("ours", "fec20"),
                    figures=("misses", "misses_2rtt"),
                    rtt_ms=rtt_ms,
                    ceiling_bps=10e6,
                    quick=(loss, rtt_ms) in {(5, 30), (5, 100)},
                )


def _others() -> Iterator[Case]:
    yield Case(
        name="cubic",
        about="against one Cubic flow (a model), 20 Mbit/s, round trip 30 ms, queue of 300 ms",
        duration_s=60,
        forward="rate=20M delay=15ms queue=300ms",
        back="delay=15ms",
        flows=[Flow("media0", options="max=40M start=5s"), Flow("tcp", "tcp")],
        figures=("share",),
        quick=True,
    )
    yield Case(
        name="self3",
        about="three flows on 30 Mbit/s, one after the other",
        duration_s=60,
        forward="rate=30M delay=10ms queue=300ms",
        back="delay=10ms",
        flows=[Flow(f"media{i}", options=f"max=40M start={5 * i}s") for i in range(3)],
        figures=("jain",),
        quick=True,
    )
    yield Case(
        name="join",
        about="a stream of 15 Mbit/s begins on a link of 20 Mbit/s",
        duration_s=15,
        forward="rate=20M delay=10ms queue=300ms",
        back="delay=10ms",
        flows=[Flow("media0", options="max=15M")],
        figures=("full_quality",),
        ceiling_bps=15e6,
        quick=True,
    )
    yield Case(
        name="still",
        about="the screen is still from 15 to 35 s, and moves again",
        duration_s=50,
        forward="rate=20M delay=10ms queue=300ms",
        back="delay=10ms",
        flows=[Flow("media0", options="max=15M still=15s-35s:300k")],
        figures=("resumed",),
        step_s=35,
        ceiling_bps=15e6,
    )


def all_cases() -> list[Case]:
    """Every case, in the order of the table."""
    return [
        *_rfc8867("rfc8867", 1, (50, 50, 50, 50), fps=30),
        *_rfc8867("x10", 10, (10, 5, 20, 10), fps=60),
        *_steps_down(),
        *_losses(),
        *_others(),
    ]
