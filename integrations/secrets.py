"""Secrets that may change while a program runs.

A consumer gets a :class:`Secret`, asks it for :meth:`~Secret.current` each time it needs the value,
and may subscribe to be told of another one. Where values come from is a :class:`SecretSource`:
files, a directory of them, the environment; a service that keeps secrets fits as well, since
sources are asynchronous, may fail for a while, and say themselves how often to ask them.

A secret that no source has any more, or that cannot be read now, keeps its last value. Files are
compared by what they hold, at each look: that sees a file replaced, rewritten within one tick of
its clock, or reached through a link that was moved (as Kubernetes does).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

MAX_SECRET_BYTES = 64 * 1024

Subscriber = Callable[[str], None]
"""Called with a secret's new value, on the event loop. Must not raise."""


class SecretUnavailable(Exception):
    """No source has the secret, or it cannot be read now. Says which, never what it holds."""


class SecretSource(Protocol):
    """Where secrets are."""

    lifetime_s: float
    """How long what was read is taken for current, in seconds."""

    async def read(self, name: str) -> str | None:
        """The value of ``name`` now; ``None`` when this source does not have it.

        Raises :class:`SecretUnavailable` when it cannot tell.
        """


class FileSecrets:
    """A file for each secret."""

    lifetime_s = 2.0

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)

    async def read(self, name: str) -> str | None:
        path = self._files.get(name)
        return None if path is None else await asyncio.to_thread(read_secret_file, path)


class DirectorySecrets:
    """A directory whose files have the secrets' names, with ``__`` for the dots."""

    lifetime_s = 2.0

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def read(self, name: str) -> str | None:
        path = self._directory / name.replace(".", "__")
        return await asyncio.to_thread(read_secret_file, path)


class EnvironmentSecrets:
    """Variables that have the secrets' names: ``turn.secret`` is ``PLAYCAST_TURN__SECRET``."""

    lifetime_s = 60.0

    def __init__(self, environment: Mapping[str, str], prefix: str = "PLAYCAST_") -> None:
        self._environment = environment
        self._prefix = prefix

    async def read(self, name: str) -> str | None:
        return self._environment.get(self._prefix + name.replace(".", "__").upper()) or None


class FixedSecrets:
    """Values that do not change while the program runs: those of its settings file."""

    lifetime_s = float("inf")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    async def read(self, name: str) -> str | None:
        return self._values.get(name) or None


class Secret:
    """One secret. ``repr()`` does not show it."""

    def __init__(self, name: str, value: str, overlap_s: float) -> None:
        self.name = name
        self._value = value
        self._overlap_s = overlap_s
        self._replaced: dict[str, float] = {}
        self._subscribers: list[Subscriber] = []

    def current(self) -> str:
        """The value to use now."""
        return self._value

    def accepted(self, now: float) -> tuple[str, ...]:
        """The values that others may still use: the current one, then those that it replaced not
        long ago. ``now`` by the clock of its :class:`Secrets`.
        """
        self._forget(now)
        return (self._value, *reversed(self._replaced))

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with each new value, until what this returns is called."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def take(self, value: str, now: float) -> bool:
        """A source has this value now. Returns whether it is another one."""
        self._forget(now)
        if value == self._value:
            return False
        self._replaced.pop(value, None)
        self._replaced[self._value] = now
        self._value = value
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(value)
            except Exception:
                log.exception("a user of the secret %s did not take its new value", self.name)
        return True

    def _forget(self, now: float) -> None:
        for value, at in tuple(self._replaced.items()):
            if now - at >= self._overlap_s:
                del self._replaced[value]


class Secrets:
    """The secrets of one program. Keep :meth:`run` running, or call :meth:`poll`."""

    def __init__(
        self,
        sources: Sequence[SecretSource],
        *,
        overlap_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The first of ``sources`` that has a secret gives it. A value that was replaced stays
        among the accepted ones for ``overlap_s``.
        """
        self._sources = tuple(sources)
        self._overlap_s = overlap_s
        self._clock = clock
        self._secrets: dict[str, Secret] = {}
        self._failing: set[str] = set()
        self._known: dict[tuple[int, str], tuple[float, str | None]] = {}

    async def get(self, name: str) -> Secret:
        """The secret ``name``, read now the first time. Raises :class:`SecretUnavailable`."""
        secret = self._secrets.get(name)
        if secret is not None:
            return secret
        value = await self._read(name)
        return self._secrets.setdefault(name, Secret(name, value, self._overlap_s))

    def values(self) -> Iterator[str]:
        """Every value that is accepted: what logs must not hold."""
        now = self._clock()
        for secret in tuple(self._secrets.values()):
            yield from secret.accepted(now)

    async def poll(self) -> None:
        """Ask the sources again, each of them once its lifetime is over."""
        for name, secret in tuple(self._secrets.items()):
            try:
                value = await self._read(name)
            except SecretUnavailable as error:
                if name not in self._failing:
                    log.warning("secret %s: %s; its last value stays in use", name, error)
                self._failing.add(name)
                continue
            self._failing.discard(name)
            if secret.take(value, self._clock()):
                log.info("secret %s has changed", name)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(min(60.0, *(source.lifetime_s for source in self._sources)))
            await self.poll()

    async def _read(self, name: str) -> str:
        for number, source in enumerate(self._sources):
            read_at, value = self._known.get((number, name), (-math.inf, None))
            now = self._clock()
            if now - read_at >= source.lifetime_s:
                value = await source.read(name)
                self._known[number, name] = now, value
            if value:
                return value
        raise SecretUnavailable("no source has it")


def read_secret_file(path: Path) -> str | None:
    """What a file holds, without the line's end; ``None`` when there is no such file.

    An empty file counts as none: somebody is about to write it. Raises :class:`SecretUnavailable`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SecretUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise SecretUnavailable(f"{path} is longer than {MAX_SECRET_BYTES} bytes")
    try:
        return content.decode().rstrip("\r\n") or None
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{path} is not UTF-8") from None
