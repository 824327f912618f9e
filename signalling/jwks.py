"""A cache of an issuer's public keys (JWK Set, RFC 7517) that never blocks the event loop.

Keys are fetched by :meth:`KeySet.begin` or on first use, again when they are older than
``lifetime_s``, and again when a token names a key that is not among them (the issuer has rotated),
but never sooner than ``cooldown_s`` after the last attempt: tokens with made-up key ids cannot make
us hammer the issuer. Such a token waits for the next fetch to tell, if not too many wait already.
Callers that need a fetch at the same time share one. While the issuer cannot be reached the old
keys stay good, and nobody who has one waits for it: only for keys that nobody asked for in a second
lifetime is an answer waited for once, since the issuer may have withdrawn them long ago.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .net import is_loopback

log = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 256 * 1024
MIN_RSA_BITS = 2048  # RFC 7518 section 3.3

LEAST_RETRY_S = 1.0
"""How soon at the earliest the first keys are asked for again, in seconds."""

KeySource = Callable[[], Awaitable[bytes]]
"""Returns a JWK Set document; raises :class:`KeysUnavailable` when there is none to be had."""


class KeysUnavailable(Exception):
    """The issuer's keys cannot be had now, so nothing can be verified. Says why."""


class UnknownKey(Exception):
    """The issuer has no key of this id."""


def key_source(location: str | Path, *, timeout_s: float = 5.0) -> KeySource:
    """A source that reads a file (a path) or fetches a URL (``https:``, or ``http:`` on loopback).

    Raises :class:`ValueError` for a URL that could be tampered with on its way.
    """
    if isinstance(location, str) and "://" in location:
        check_url("jwks", location)
        return lambda: fetch(location, timeout_s)
    path = Path(location)
    return lambda: _read(path)


def check_url(name: str, url: str) -> None:
    """Raises :class:`ValueError` that names ``name`` for a URL not to fetch keys from."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        _ = parts.port  # raises
    except ValueError:
        raise ValueError(f"{name}: {url!r} is not a URL") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise ValueError(f"{name}: {url} must be an https URL (or http on loopback)")
    # A fifth of a second, which only those who fetch pay, and not while they serve.
    import_module("aiohttp")


class KeySet:
    """The cache. One per issuer; close it when done."""

    def __init__(
        self,
        source: KeySource,
        *,
        lifetime_s: float = 3600.0,
        cooldown_s: float = 5.0,
        most_waiting: int = 1024,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``most_waiting``: how many callers at a time may wait to hear of keys that are not known,
        once some are; the others are told at once that there is none."""
        self._source = source
        self._lifetime_s = lifetime_s
        self._cooldown_s = cooldown_s
        self._most_waiting = most_waiting
        self._clock = clock
        self._sleep = sleep
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failure = ""
        self._refresh: asyncio.Task[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._waiting = 0
        self._fetched: Callable[[str], None] = lambda outcome: None

    def watch(self, fetched: Callable[[str], None]) -> None:
        """Have ``fetched`` called after each fetch, with ``ok`` or ``failed``."""
        self._fetched = fetched

    @property
    def failure(self) -> str:
        """Why the last fetch failed; empty when it did not."""
        return self._failure

    @property
    def missing(self) -> str:
        """Why no token can be verified, in words for everyone; empty: there are keys."""
        if self._keys:
            return ""
        if self._failure:
            return "the issuer's keys cannot be had: the server's log says why"
        return "the issuer's keys are not there yet"

    def begin(self) -> None:
        """Fetch the first keys in the background, again and again until there are some: whoever
        waits for them before it sends clients here would wait for ever.
        """
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._begin(), name="jwks-begin")

    async def get(self, kid: str) -> RSAPublicKey:
        """The key of id ``kid``. Raises :class:`UnknownKey` or :class:`KeysUnavailable`."""
        now = self._clock()
        age = math.inf if self._fetched_at is None else now - self._fetched_at
        if kid not in self._keys:
            await self._ask_for(kid, now)
        elif age >= self._lifetime_s and (self._refresh or self._cooldown(now) <= 0):
            refresh = self._refreshing(0.0)
            if age >= 2 * self._lifetime_s and not self._failure:
                await asyncio.shield(refresh)
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._failure:
            raise KeysUnavailable(self._failure)
        raise _unknown(kid)

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        tasks = [task for task in (self._beginning, self._refresh) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _begin(self) -> None:
        pause = max(self._cooldown_s, LEAST_RETRY_S)
        while not self._keys:
            wait = 0.0 if self._tried_at is None else self._tried_at + pause - self._clock()
            if wait > 0 and self._refresh is None:
                await self._sleep(wait)
            else:
                await asyncio.shield(self._refreshing(0.0))

    async def _ask_for(self, kid: str, now: float) -> None:
        """Wait for a fetch that tells whether there is such a key, where one may be waited for."""
        delay = self._cooldown(now)
        if delay > 0 and self._failure and self._refresh is None:
            return  # the issuer did not answer just now: nobody is kept waiting for it
        if self._keys and self._waiting >= self._most_waiting:
            raise _unknown(kid)
        self._waiting += 1
        try:
            # Shielded: the caller's client may hang up; others wait for the same fetch.
            await asyncio.shield(self._refreshing(delay))
        finally:
            self._waiting -= 1

    def _cooldown(self, now: float) -> float:
        """For how long, in seconds, no fetch may begin; 0 or less: one may."""
        if self._tried_at is None:
            return 0.0
        return self._tried_at + self._cooldown_s - now

    def _refreshing(self, delay: float) -> asyncio.Task[None]:
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._fetch_keys(delay), name="jwks-refresh")
        return self._refresh

    async def _fetch_keys(self, delay: float) -> None:
        try:
            if delay > 0:
                await self._sleep(delay)
            self._tried_at = self._clock()
            self._keys = parse_jwks(await self._source())
            self._fetched_at = self._clock()
            if self._failure:
                log.info("the issuer's keys can be had again")
            self._failure = ""
            self._fetched("ok")
        except KeysUnavailable as error:
            self._log_failure(error)
            self._failure = str(error)
            self._fetched("failed")
        finally:
            self._refresh = None

    def _log_failure(self, error: KeysUnavailable) -> None:
        if self._keys:
            log.warning("keys not refreshed, %d old ones kept: %s", len(self._keys), error)
        elif not self._failure:
            log.error(
                "nobody can come in with a token: %s. Is the issuer right, and its keys' address?"
                " Can this machine reach it? It is tried again every few seconds",
                error,
            )
        else:
            log.debug("still no keys: %s", error)


def _unknown(kid: str) -> UnknownKey:
    return UnknownKey(f"the issuer has no key with the id {kid[:64]!r}")


def parse_jwks(document: bytes) -> dict[str, RSAPublicKey]:
    """The RS256 signature keys of a JWK Set, by key id; others are passed over.

    Raises :class:`KeysUnavailable` when the document is not a JWK Set or holds no usable key.
    """
    try:
        entries = json.loads(document)["keys"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeysUnavailable("the key document is not a JWK Set") from None
    keys = {}
    for entry in entries:
        key = _parse_key(entry)
        if key is not None:
            keys[entry["kid"]] = key
    if not keys:
        raise KeysUnavailable("the JWK Set holds no RS256 public key with a key id")
    return keys


def _parse_key(entry: Any) -> RSAPublicKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig":
        return None
    if entry.get("alg", "RS256") != "RS256":
        return None
    try:
        key = jwt.PyJWK(entry, algorithm="RS256").key
    except (jwt.PyJWTError, ValueError, TypeError):
        log.warning("a malformed key in the JWK Set was passed over")
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        log.warning("a private or short key in the JWK Set was passed over")
        return None
    return key


async def _read(path: Path) -> bytes:
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise KeysUnavailable(f"cannot read {path}: {error.strerror}") from error


async def fetch(url: str, timeout_s: float) -> bytes:
    """What ``url`` answers, up to 256 KiB; redirects are not followed.

    Raises :class:`KeysUnavailable` in words.
    """
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise KeysUnavailable(f"{url} answered {response.status}")
            document = bytearray()
            async for chunk in response.content.iter_chunked(16 * 1024):
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise KeysUnavailable(f"{url} sent more than {MAX_DOCUMENT_BYTES} bytes")
            return bytes(document)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise KeysUnavailable(f"cannot fetch {url}: {reason}") from error
