"""Who is this client, and what may it do: JSON Web Tokens (RFC 7519), signed with RS256.

A token's way: :class:`TokenReader` checks its signature, issuer, times and for whom it was made;
what its claims say about its bearer becomes a :class:`Bearer`; :class:`AccessRules` turn that into
an :class:`Identity`, which is all that the server asks for. :class:`Verifier` is the three for any
OpenID Connect issuer; an issuer with claims of its own has its own :class:`TokenVerifier`.

No other algorithm is accepted, whatever the token's header asks for.
"""

from __future__ import annotations

import binascii
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from .claims import name_of, room_of, verified_email, words_of
from .discovery import discovered_keys
from .identity import (
    AccessRules,
    Bearer,
    Identity,
    NotPermitted,
    TokenError,
    TokenExpired,
    TokenVerifier,
)
from .jwks import KeySet, KeysUnavailable, UnknownKey, key_source
from .messages.fields import MAX_SUBJECT

__all__ = [
    "AccessRules",
    "Bearer",
    "Identity",
    "KeysUnavailable",
    "NotPermitted",
    "TokenError",
    "TokenExpired",
    "TokenReader",
    "TokenVerifier",
    "Verifier",
    "VerifierSettings",
]

ALGORITHM = "RS256"
REQUIRED_CLAIMS = ("iss", "sub", "iat", "exp")

# JWS compact serialisation (RFC 7515 section 7.1): Base64url without padding, nothing else.
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PADDING, _HASH = PKCS1v15(), SHA256()
_LATEST = float(2**53)  # Unix time in seconds that a double still tells apart
_HEADERS_KEPT = 64


@dataclass(frozen=True, kw_only=True)
class VerifierSettings:
    """Whose tokens to accept. At least one of ``audience`` and ``authorized_parties`` is needed."""

    issuer: str
    """``iss`` must equal this."""

    jwks: str | Path | None = None
    """Where the issuer's keys are: a file, or an ``https:`` URL. ``None``: the issuer is an
    ``https:`` URL, and says so itself (OpenID Connect Discovery)."""

    audience: str | None = None
    """``aud`` must be or contain this. ``None``: ``aud`` is not looked at."""

    authorized_parties: frozenset[str] = frozenset()
    """``azp`` must be one of these. Empty: ``azp`` is not looked at."""

    party_required: bool = True
    """Whether a token without ``azp`` is refused where there are authorized parties. Tokens that
    were not made in a browser (a desktop host's) may have none."""

    required_claims: tuple[str, ...] = REQUIRED_CLAIMS
    """What a token must carry, besides what other settings ask for."""

    token_types: frozenset[str] | None = None
    """What the header's ``typ`` may be where there is one. ``None``: it is not looked at."""

    role_claim: str = "role"
    """The claim with the bearer's roles: a string of words, or an array of strings. A path into an
    object is written with dots: ``realm_access.roles``."""

    room_claim: str = "room"
    """The claim with the room, or ``*``; a path likewise."""

    name_claim: str = "name"
    """The claim with what others may call the bearer; a path likewise."""

    access: AccessRules = field(default_factory=AccessRules)
    """What the bearers of these tokens may do."""

    leeway_s: float = 5.0
    """How far the issuer's clock may be from ours, in seconds."""

    keys_lifetime_s: float = 3600.0
    """Keys older than this are fetched anew, in seconds."""

    keys_cooldown_s: float = 5.0
    """The least time between two attempts to fetch keys, in seconds. A token whose key is not known
    yet waits for it."""

    keys_timeout_s: float = 5.0
    """How long one fetch of the keys may take, in seconds."""

    def __post_init__(self) -> None:
        if not self.issuer:
            raise ValueError("issuer: must not be empty")
        if not self.audience and not self.authorized_parties:
            raise ValueError(
                "audience, authorized_parties: at least one is needed, or a token"
                " that the issuer made for another application would be accepted here"
            )
        for name in ("leeway_s", "keys_lifetime_s", "keys_cooldown_s", "keys_timeout_s"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}: must not be negative")


class TokenReader:
    """Reads the claims of one issuer's tokens. Close it when done."""

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        keys: KeySet | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``keys`` replaces the cache that ``settings`` describes; the reader closes it.

        Raises :class:`ValueError` where the keys cannot be had from there in safety.
        """
        self._settings = settings
        self._clock = clock
        self._keys = keys or _key_set(settings)
        self._kid_of_header: dict[str, str] = {}
        self._decoder = msgspec.json.Decoder(dict[str, Any])

    @property
    def missing(self) -> str:
        """See :attr:`.identity.KeyHolder.missing`."""
        return self._keys.missing

    def fetch_keys(self) -> None:
        """See :meth:`.identity.KeyHolder.fetch_keys`."""
        self._keys.begin()

    def watch_keys(self, fetched: Callable[[str], None]) -> None:
        """See :meth:`.jwks.KeySet.watch`."""
        self._keys.watch(fetched)

    async def read(self, token: str) -> tuple[dict[str, Any], float]:
        """The claims, and until when they count (as :attr:`Identity.expires_at`).

        Raises :class:`TokenExpired`, :class:`TokenError`, or :class:`KeysUnavailable` when the
        issuer's keys cannot be had.
        """
        parts = _FORM.fullmatch(token)
        if parts is None:
            raise TokenError("the token is malformed")
        header, payload, signature = parts.groups()
        # Of the few headers that an issuer uses, each is checked once.
        kid = self._kid_of_header.get(header) or self._key_id(header)
        try:
            key = await self._keys.get(kid)
        except UnknownKey as error:
            raise TokenError(str(error)) from error
        signed = token[: len(header) + 1 + len(payload)].encode()
        try:
            key.verify(_decode_base64(signature), signed, _PADDING, _HASH)
        except InvalidSignature:
            raise TokenError("the token is not valid: its signature is wrong") from None
        self._keep_header(header, kid)
        claims = self._decode(payload)
        self._check_claims(claims)
        return claims, float(claims["exp"]) + self._settings.leeway_s

    async def close(self) -> None:
        await self._keys.close()

    def _decode(self, segment: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = self._decoder.decode(_decode_base64(segment))
        except (ValueError, RecursionError) as error:
            raise TokenError("the token is malformed") from error
        return claims

    def _key_id(self, segment: str) -> str:
        header = self._decode(segment)
        if header.get("alg") != ALGORITHM:
            raise TokenError(f"the token is not signed with {ALGORITHM}")
        if "crit" in header:  # RFC 7515 section 4.1.11
            raise TokenError("the token asks for an extension that is not known here (crit)")
        types, kind = self._settings.token_types, header.get("typ", "")
        if not isinstance(kind, str) or (types is not None and kind and kind not in types):
            raise TokenError("the token is of another type (typ)")
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise TokenError("the token does not name its key (kid)")
        return kid

    def _keep_header(self, segment: str, kid: str) -> None:
        # After its signature: made-up ones must not push out the issuer's.
        if segment not in self._kid_of_header:
            if len(self._kid_of_header) >= _HEADERS_KEPT:
                self._kid_of_header.clear()
            self._kid_of_header[segment] = kid

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        settings = self._settings
        for name in settings.required_claims:
            if claims.get(name) is None:
                required = ", ".join(settings.required_claims)
                raise TokenError(f"the token is not valid: it lacks one of {required}")
        now, leeway = self._clock(), settings.leeway_s
        if max(_time(claims, "iat"), _time(claims, "nbf")) > now + leeway:
            raise TokenError(
                "the token is not valid: it is not valid yet (nbf, iat); are the clocks right?"
            )
        if _time(claims, "exp") <= now - leeway:
            raise TokenExpired("the token has expired")
        if claims.get("iss") != settings.issuer:
            raise TokenError("the token is not valid: it comes from another issuer (iss)")
        if settings.audience is not None:
            audience = claims.get("aud")
            if settings.audience not in (audience if isinstance(audience, list) else [audience]):
                raise TokenError("the token is not valid: it was made for another audience (aud)")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise TokenError("the token names nobody (sub)")
        if len(claims["sub"]) > MAX_SUBJECT:
            raise TokenError(f"the token names a bearer of over {MAX_SUBJECT} characters (sub)")
        self._check_party(claims.get("azp"))

    def _check_party(self, party: Any) -> None:
        parties = self._settings.authorized_parties
        if not parties or (party is None and not self._settings.party_required):
            return
        if not isinstance(party, str) or party not in parties:
            raise TokenError("the token was made for another authorized party (azp)")


class Verifier:
    """Verifies the tokens of one OpenID Connect issuer."""

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        keys: KeySet | None = None,
        loopback_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """As :class:`TokenReader`."""
        self._settings = settings
        self._loopback_only = loopback_only
        self._reader = TokenReader(settings, keys=keys, clock=clock)

    @property
    def loopback_only(self) -> bool:
        return self._loopback_only

    @property
    def missing(self) -> str:
        """See :attr:`.identity.KeyHolder.missing`."""
        return self._reader.missing

    def fetch_keys(self) -> None:
        """See :meth:`.identity.KeyHolder.fetch_keys`."""
        self._reader.fetch_keys()

    def watch_keys(self, fetched: Callable[[str], None]) -> None:
        """See :meth:`.jwks.KeySet.watch`."""
        self._reader.watch_keys(fetched)

    async def verify(self, token: str) -> Identity:
        """The identity that ``token`` proves.

        Raises :class:`TokenExpired`, :class:`NotPermitted` or another :class:`TokenError`, or
        :class:`KeysUnavailable` when the issuer's keys cannot be had.
        """
        settings = self._settings
        claims, expires_at = await self._reader.read(token)
        return settings.access.identity(
            Bearer(
                subject=claims["sub"],
                expires_at=expires_at,
                roles=words_of(claims, settings.role_claim),
                room=room_of(claims, settings.room_claim),
                email=verified_email(claims),
                name=name_of(claims, settings.name_claim),
            )
        )

    async def close(self) -> None:
        await self._reader.close()


def _key_set(settings: VerifierSettings) -> KeySet:
    if settings.jwks is None:
        source = discovered_keys(settings.issuer, timeout_s=settings.keys_timeout_s)
    else:
        source = key_source(settings.jwks, timeout_s=settings.keys_timeout_s)
    return KeySet(source, lifetime_s=settings.keys_lifetime_s, cooldown_s=settings.keys_cooldown_s)


def _time(claims: Mapping[str, Any], name: str) -> float:
    """A time claim, a number of seconds (RFC 7519 section 2); 0 where there is none."""
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LATEST:
        raise TokenError(f"the token is not valid: its {name} is not a time")
    return float(value)


def _decode_base64(segment: str) -> bytes:
    """Base64url without padding (RFC 7515 section 2); the alphabet has been checked."""
    plain = segment.encode().translate(_URL_SAFE) + b"=" * (-len(segment) % 4)
    try:
        return binascii.a2b_base64(plain, strict_mode=True)
    except binascii.Error:
        raise TokenError("the token is malformed") from None
