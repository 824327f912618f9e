"""What a bus tells of itself while it works."""

from __future__ import annotations

from typing import Protocol


class BusWatch(Protocol):
    """Is told how the bus does. :class:`..metrics.Metrics` is one. No method may raise."""

    def bus_available(self, available: bool) -> None:
        """Redis came or went."""

    def bus_lag(self, seconds: float) -> None:
        """An event of this server was heard on its room's channel so long after it was
        published."""

    def bus_failed(self) -> None:
        """Redis did not take an event in time."""


class NoWatch:
    """A :class:`BusWatch` that looks away."""

    def bus_available(self, available: bool) -> None:
        pass

    def bus_lag(self, seconds: float) -> None:
        pass

    def bus_failed(self) -> None:
        pass
