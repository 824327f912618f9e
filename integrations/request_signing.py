"""Requests between servers, signed with a shared key: who sends, what exactly, and only once.

One header, ``Playcast-Signature: v1;key=ID;time=SECONDS;nonce=NONCE;sig=HEX``. The signature is the
HMAC-SHA256 of these lines, each followed by a line feed::

    playcast-request-v1
    AUDIENCE            who it is for, as both sides call it; may be empty
    METHOD              in capitals
    PATH                as it is sent, percent signs and all
    QUERY               canonical: see canonical_query()
    SHA-256 of the body, in hex
    TIME                Unix seconds
    NONCE               22 characters of base64url: 128 random bits
    ID                  the key's

The order of what is checked matters: the form, the time, the key, the signature, and only then the
nonce, so that a stranger can neither ask for much work nor fill the store of nonces.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes

from redis.exceptions import RedisError

from signalling.redis.client import RedisClient

HEADER = "Playcast-Signature"
MIN_KEY_BYTES = 32

_HEADER = re.compile(
    r"v1;key=(?P<key>[A-Za-z0-9_.-]{1,64});time=(?P<time>[1-9][0-9]{0,11})"
    r";nonce=(?P<nonce>[A-Za-z0-9_-]{22});sig=(?P<sig>[0-9a-f]{64})"
)
_METHOD = re.compile(r"[A-Z]{1,16}")
_PATH = re.compile(r"/[!-~]*")
_QUERY = re.compile(r"[!-~]*")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Keys = Callable[[], Mapping[str, bytes]]
"""Has the keys of now, by id. Asked each time, so that they can change."""


class SignatureRefused(Exception):
    """The request is not what its signature says, or has none. ``reason`` is one word."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class NoncesUnavailable(Exception):
    """Whether the request came before cannot be told now. Trying again later may help."""


class NonceStore(Protocol):
    """Which nonces have been used."""

    async def first(self, key: str, nonce: str, now: float, until: float) -> bool:
        """Whether this is the first time before ``until`` (Unix seconds) that it is asked about.

        Raises :class:`NoncesUnavailable`.
        """


@dataclass(frozen=True, slots=True)
class Request:
    """What is signed of a request."""

    method: str
    path: str
    """As it is sent."""

    query: str = ""
    """As it is sent, without the question mark."""

    body: bytes = field(default=b"", repr=False)


class RequestSigner:
    """Signs with the newest of our keys. Raises :class:`ValueError` naming what is wrong."""

    def __init__(
        self,
        key_id: str,
        keys: Keys,
        *,
        audience: str = "",
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError("key_id: takes 1 to 64 letters, digits and _ . -")
        self._key_id = key_id
        self._keys = keys
        self._audience = _checked_audience(audience)
        self._clock = clock
        self._nonce = nonce

    def sign(self, request: Request) -> str:
        """The header's value. Raises :class:`ValueError` for what cannot be signed, and
        :class:`KeyError` when the key is not there (any more)."""
        key = _checked_key(self._keys()[self._key_id])
        now, nonce = int(self._clock()), self._nonce()
        text = _to_sign(request, self._audience, now, nonce, self._key_id)
        return f"v1;key={self._key_id};time={now};nonce={nonce};sig={_signature(key, text)}"


class RequestVerifier:
    """Checks what a :class:`RequestSigner` signed, by any of the keys that are good now."""

    def __init__(
        self,
        keys: Keys,
        nonces: NonceStore,
        *,
        audience: str = "",
        window_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``window_s`` is how far the signer's clock may be from ours, either way, in seconds."""
        if not 0 < window_s <= 3600:
            raise ValueError("window_s: takes more than 0, up to 3600")
        self._keys = keys
        self._nonces = nonces
        self._audience = _checked_audience(audience)
        self._window_s = window_s
        self._clock = clock

    async def verify(self, request: Request, header: str | None) -> str:
        """The id of the key that signed it. Raises :class:`SignatureRefused`, and
        :class:`NoncesUnavailable`."""
        if header is None:
            raise SignatureRefused("missing", f"the request has no {HEADER}")
        found = _HEADER.fullmatch(header)
        if found is None:
            raise SignatureRefused("malformed", f"{HEADER} is not of the form v1;key=…;…")
        now, signed_at = self._clock(), int(found["time"])
        if abs(now - signed_at) > self._window_s:
            off = f"signed {abs(now - signed_at):.0f} s {'ago' if signed_at < now else 'ahead'}"
            raise SignatureRefused("time", f"{off}: more than {self._window_s:g} s")
        key = self._keys().get(found["key"])
        if key is None:
            raise SignatureRefused("key", f"there is no key {found['key']!r}")
        try:
            text = _to_sign(request, self._audience, signed_at, found["nonce"], found["key"])
        except ValueError as error:
            raise SignatureRefused("malformed", str(error)) from None
        if not hmac.compare_digest(_signature(_checked_key(key), text), found["sig"]):
            raise SignatureRefused("signature", "the signature is not of this request")
        until = signed_at + self._window_s + 1
        if not await self._nonces.first(found["key"], found["nonce"], now, until):
            raise SignatureRefused("replayed", "this request came before")
        return found["key"]


class MemoryNonces:
    """A :class:`NonceStore` of one process."""

    def __init__(self, capacity: int = 100_000) -> None:
        """``capacity`` is how many unexpired nonces there may be; with more, requests are refused
        rather than let through unchecked."""
        if capacity < 1:
            raise ValueError("capacity: takes 1 or more")
        self._capacity = capacity
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def first(self, key: str, nonce: str, now: float, until: float) -> bool:
        if self._until.get((key, nonce), -math.inf) >= now:
            return False
        if len(self._until) >= self._capacity:
            over = [name for name, end in self._until.items() if end < now]
            for name in over:
                del self._until[name]
            if not over:
                raise NoncesUnavailable(f"more than {self._capacity} requests in a short time")
        self._until[(key, nonce)] = until
        return True


class RedisNonces:
    """A :class:`NonceStore` that servers share. Redis's user needs ``+set`` on the prefix."""

    def __init__(self, client: RedisClient, prefix: str = "playcast:") -> None:
        """``prefix`` as in :class:`signalling.redis.settings.RedisSettings`. The client stays the
        caller's."""
        self._client = client
        self._prefix = prefix

    async def first(self, key: str, nonce: str, now: float, until: float) -> bool:
        name = f"{self._prefix}nonce:{key}:{nonce}"
        milliseconds = max(1, math.ceil((until - now) * 1000))
        try:
            answer = await self._client.execute("SET", name, "", "NX", "PX", milliseconds)
        except (RedisError, OSError) as error:
            raise NoncesUnavailable(f"Redis: {error}") from error
        return answer is not None


def canonical_query(query: str) -> str:
    """A query whose meaning is its text: the same parameters, however they are escaped.

    Names and values are decoded as forms are (``+`` is a space) and escaped anew. Parameters are
    sorted by name; those of the same name keep their order, for that has a meaning. A parameter
    without ``=`` is another one than one with an empty value.
    """
    parameters = []
    for parameter in query.split("&") if query else []:
        name, equals, value = parameter.partition("=")
        parameters.append((_escaped(name), equals + _escaped(value)))
    return "&".join(name + rest for name, rest in sorted(parameters, key=lambda pair: pair[0]))


def _escaped(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="-._~")


def _to_sign(request: Request, audience: str, at: int, nonce: str, key_id: str) -> bytes:
    method = request.method.upper()
    if not _METHOD.fullmatch(method):
        raise ValueError("method: takes letters")
    if not _PATH.fullmatch(request.path) or "?" in request.path or "#" in request.path:
        raise ValueError("path: takes / and what follows up to the query, escaped")
    if not _QUERY.fullmatch(request.query) or "#" in request.query:
        raise ValueError("query: takes what follows the question mark, escaped")
    lines = (
        "playcast-request-v1",
        audience,
        method,
        request.path,
        canonical_query(request.query),
        hashlib.sha256(request.body).hexdigest(),
        str(at),
        nonce,
        key_id,
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _signature(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def _checked_key(key: bytes) -> bytes:
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"keys: takes keys of {MIN_KEY_BYTES} bytes or more")
    return key


def _checked_audience(audience: str) -> str:
    if not re.fullmatch(r"[!-~]{0,256}", audience):
        raise ValueError("audience: takes printable ASCII without spaces")
    return audience
