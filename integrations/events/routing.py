"""Which events a subscriber gets: by type, then by anything else about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .envelope import Event

Filter = Callable[[Event], bool]

_GLOB = re.compile(r"[a-z0-9._*-]{1,64}")


@dataclass(frozen=True, slots=True)
class Route:
    """Takes the events of some types that a filter lets through.

    ``types`` are globs over dotted names: ``*`` stands for one part, ``**`` for any number of
    them: ``stream.*``, ``viewer.joined``, ``**``. Raises :class:`ValueError` for what is none.
    """

    types: tuple[str, ...] = ("**",)
    where: Filter | None = None
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("types: takes one glob at least")
        pattern = "|".join(_expression(glob) for glob in self.types)
        object.__setattr__(self, "_pattern", re.compile(pattern))

    def takes(self, event: Event) -> bool:
        """Whether the event goes this way. What the filter raises is the caller's to handle."""
        if self._pattern.fullmatch(event.type) is None:
            return False
        return self.where is None or self.where(event)


def in_room(room: str) -> Filter:
    """A filter: what happens in one room."""
    return lambda event: event.room == room


def from_source(prefix: str) -> Filter:
    """A filter: what sources that begin so say."""
    return lambda event: event.source.startswith(prefix)


def all_of(filters: Sequence[Filter]) -> Filter:
    """A filter: what every one of these lets through."""
    return lambda event: all(where(event) for where in filters)


def _expression(glob: str) -> str:
    if not _GLOB.fullmatch(glob):
        raise ValueError(f"types: {glob!r} is no glob of a type; takes stream.*, viewer.joined, **")
    parts = []
    for part in glob.split("."):
        if part == "**":
            parts.append(r"[^.]+(?:\.[^.]+)*")
        else:
            parts.append(re.escape(part).replace(r"\*", r"[^.]*"))
    return r"\.".join(parts)
