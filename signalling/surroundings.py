"""What the program around ``serve`` brings along: defaults of its options, and parts of the server.

``playcast serve`` reads a configuration file and connects the server with logs, errors, traces and
secrets; ``python -m signalling serve`` has none of that. What the command line says wins over the
defaults that are brought along.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@asynccontextmanager
async def _nothing(options: argparse.Namespace) -> AsyncIterator[Mapping[str, Any]]:
    yield {}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Brought along by the program around ``serve``."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of options, by their ``dest``."""

    enter: Callable[[argparse.Namespace], AbstractAsyncContextManager[Mapping[str, Any]]] = _nothing
    """Entered in the event loop before the server is made, left after it is closed. Yields fields
    of :class:`.settings.SignallingSettings`."""

    epilog: str = ""
    """A sentence for the end of the help."""

    def prepare(self, parser: argparse.ArgumentParser) -> None:
        """Before parsing. Raises :class:`ValueError` for a default of no option."""
        known = {action.dest for action in parser._actions}
        unknown = self.defaults.keys() - known
        if unknown:
            raise ValueError(f"defaults: serve has no option {', '.join(sorted(unknown))}")
        if self.epilog:
            parser.epilog = f"{parser.epilog or ''}\n{self.epilog}"
        # An option that is repeated appends to its default; here it must replace it.
        parser.set_defaults(
            **{
                name: None if isinstance(value, list) else value
                for name, value in self.defaults.items()
            }
        )

    def complete(self, options: argparse.Namespace) -> None:
        """After parsing."""
        for name, value in self.defaults.items():
            if getattr(options, name) is None:
                setattr(options, name, value)
