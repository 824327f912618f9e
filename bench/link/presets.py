"""Named links, host to viewer: `forward` is the host's uplink, which carries the picture.

They are plausible, not measured: a fixed reference to compare with, not a claim about a provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TRACES = Path(__file__).parent / "traces"


@dataclass(frozen=True)
class LinkSettings:
    """Both directions, in the words of ``settings.h``."""

    forward: str = ""
    back: str = ""
    about: str = ""

    def with_changes(self, *, both: str = "", forward: str = "", back: str = "") -> LinkSettings:
        """The same with further words, which count where they name the same thing again."""
        return LinkSettings(
            forward=" ".join(filter(None, (self.forward, both, forward))),
            back=" ".join(filter(None, (self.back, both, back))),
            about=self.about,
        )


PRESETS: Mapping[str, LinkSettings] = {
    "fibre": LinkSettings(
        "rate=100M delay=4ms jitter=300us queue=30ms",
        "rate=100M delay=4ms jitter=300us queue=30ms",
        "fibre to the home: fast both ways, small queues",
    ),
    "cable": LinkSettings(
        "rate=20M delay=10ms jitter=2ms queue=150ms",
        "rate=200M delay=10ms jitter=2ms queue=50ms",
        "cable modem: a narrow uplink with a long queue",
    ),
    "wifi": LinkSettings(
        "rate=60M delay=4ms jitter=2ms loss=0.2% queue=60ms",
        "rate=60M delay=4ms jitter=2ms loss=0.2% queue=60ms",
        "Wi-Fi in the same room, alone on its channel",
    ),
    "congested-wifi": LinkSettings(
        "rate=8M delay=8ms jitter=7ms burst=2%x4 queue=100ms",
        "rate=8M delay=8ms jitter=7ms burst=2%x4 queue=100ms",
        "Wi-Fi through walls among neighbours: losses in bursts, late packets",
    ),
    "lte": LinkSettings(
        f"trace={TRACES / 'lte.txt'} delay=30ms jitter=6ms burst=0.3%x3 queue=400ms",
        "rate=40M delay=30ms jitter=6ms burst=0.3%x3 queue=200ms",
        "mobile: 3 to 25 Mbit/s up and down within seconds, and a deep queue",
    ),
    "satellite": LinkSettings(
        "rate=15M delay=28ms jitter=6ms burst=1%x8 queue=200ms",
        "rate=100M delay=28ms jitter=6ms burst=1%x8 queue=200ms",
        "low orbit: losses in bursts at handovers",
    ),
}


def preset(name: str) -> LinkSettings:
    """The preset of that name. Raises :class:`ValueError` that names them all."""
    if name not in PRESETS:
        raise ValueError(f"preset takes one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
