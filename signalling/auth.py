"""Who is this client, and what may it do: JSON Web Tokens (RFC 7519), signed with RS256.

A token must carry ``iss``, ``sub``, ``iat``, ``nbf``, ``exp``, what it grants in ``room`` (a room's
name, or ``*`` for any) and ``role`` (``host`` or ``viewer``; neither implies the other), and an
audience (``aud``) or an authorized party (``azp``) as the settings say. No other algorithm is
accepted, whatever the token's header asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, get_args

import jwt

from .jwks import KeySet, KeysUnavailable, UnknownKey, key_source
from .messages import Role

__all__ = [
    "Identity",
    "KeysUnavailable",
    "TokenError",
    "TokenExpired",
    "TokenVerifier",
    "Verifier",
    "VerifierSettings",
]

ALGORITHM = "RS256"
ANY_ROOM = "*"
REQUIRED_CLAIMS = ("iss", "sub", "iat", "nbf", "exp")


class TokenError(Exception):
    """The token is not acceptable. Says why, and quotes nothing of the token."""


class TokenExpired(TokenError):
    """The token was good once."""


@dataclass(frozen=True)
class Identity:
    """What a verified token says about its bearer."""

    subject: str
    room: str
    """A room's name, or ``*``."""

    role: Role
    expires_at: float
    """When the token stops being accepted (leeway included), in seconds of Unix time."""

    def permits(self, room: str, role: Role) -> bool:
        """Whether the bearer may enter ``room`` as ``role``."""
        return self.room in (ANY_ROOM, room) and self.role == role


class TokenVerifier(Protocol):
    """What the server needs from a verifier."""

    @property
    def loopback_only(self) -> bool:
        """Whether its tokens are too easily had for a server that others can reach."""

    async def verify(self, token: str) -> Identity:
        """Raises :class:`TokenError`, or :class:`KeysUnavailable` when it cannot tell."""

    async def close(self) -> None:
        """Release what the verifier holds."""


@dataclass(frozen=True, kw_only=True)
class VerifierSettings:
    """Whose tokens to accept. At least one of ``audience`` and ``authorized_parties`` is needed."""

    issuer: str
    """``iss`` must equal this."""

    jwks: str | Path
    """Where the issuer's keys are: a file, or an ``https:`` URL."""

    audience: str | None = None
    """``aud`` must be or contain this. ``None``: ``aud`` is not looked at."""

    authorized_parties: frozenset[str] = frozenset()
    """``azp`` must be one of these. Empty: ``azp`` is not looked at."""

    leeway_s: float = 5.0
    """How far the issuer's clock may be from ours, in seconds."""

    keys_lifetime_s: float = 3600.0
    """Keys older than this are fetched anew, in seconds."""

    keys_cooldown_s: float = 10.0
    """The least time between two attempts to fetch keys, in seconds."""

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
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must not be negative")


class Verifier:
    """Verifies the tokens of one issuer."""

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        keys: KeySet | None = None,
        loopback_only: bool = False,
    ) -> None:
        """``keys`` replaces the cache that ``settings`` describes; the verifier closes it."""
        self._settings = settings
        self._loopback_only = loopback_only
        self._keys = keys or KeySet(
            key_source(settings.jwks, timeout_s=settings.keys_timeout_s),
            lifetime_s=settings.keys_lifetime_s,
            cooldown_s=settings.keys_cooldown_s,
        )

    @property
    def loopback_only(self) -> bool:
        return self._loopback_only

    async def verify(self, token: str) -> Identity:
        """The identity that ``token`` proves.

        Raises :class:`TokenExpired`, :class:`TokenError`, or :class:`KeysUnavailable` when the
        issuer's keys cannot be had.
        """
        try:
            key = await self._keys.get(_key_id(token))
            claims = self._decode(token, key)
            expires_at = int(claims["exp"]) + self._settings.leeway_s
        except UnknownKey as error:
            raise TokenError(str(error)) from error
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("the token has expired") from error
        except jwt.PyJWTError as error:
            raise TokenError(f"the token is not valid: {_reason(error)}") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenError("the token is malformed") from error
        return self._identity(claims, expires_at)

    async def close(self) -> None:
        await self._keys.close()

    def _decode(self, token: str, key: Any) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=self._settings.issuer,
            audience=self._settings.audience,
            leeway=self._settings.leeway_s,
            options={
                "require": list(REQUIRED_CLAIMS),
                "verify_aud": self._settings.audience is not None,
            },
        )

    def _identity(self, claims: dict[str, Any], expires_at: float) -> Identity:
        parties = self._settings.authorized_parties
        if parties and claims.get("azp") not in parties:
            raise TokenError("the token was made for another authorized party (azp)")
        room, role = claims.get("room"), claims.get("role")
        if not isinstance(room, str) or not room:
            raise TokenError("the token names no room")
        if role not in get_args(Role):
            raise TokenError("the token names no role, host or viewer")
        return Identity(claims["sub"], room, cast(Role, role), expires_at)


def _key_id(token: str) -> str:
    header = jwt.get_unverified_header(token)
    if header.get("alg") != ALGORITHM:
        raise TokenError(f"the token is not signed with {ALGORITHM}")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise TokenError("the token does not name its key (kid)")
    return kid


def _reason(error: jwt.PyJWTError) -> str:
    """What is wrong, in our words: the library's may quote the token."""
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    return "it cannot be read"


_REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidIssuerError: "it comes from another issuer (iss)",
    jwt.InvalidAudienceError: "it was made for another audience (aud)",
    jwt.ImmatureSignatureError: "it is not valid yet (nbf, iat); are the clocks right?",
    jwt.MissingRequiredClaimError: f"it lacks one of {', '.join(REQUIRED_CLAIMS)}",
    jwt.InvalidIssuedAtError: "its iat is not a time",
}
