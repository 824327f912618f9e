"""Who is this client, and what may it do: JSON Web Tokens (RFC 7519), signed with RS256.

A token's way: :class:`TokenReader` checks its signature, issuer, times and for whom it was made;
what its claims say about its bearer becomes a :class:`Bearer`; :class:`AccessRules` turn that into
an :class:`Identity`, which is all that the server asks for. :class:`Verifier` is the three for any
OpenID Connect issuer; an issuer with claims of its own has its own :class:`TokenVerifier`.

No other algorithm is accepted, whatever the token's header asks for.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jwt
from jwt.utils import base64url_decode

from .jwks import KeySet, KeysUnavailable, UnknownKey, key_source
from .messages import Role

if TYPE_CHECKING:
    from .rooms.events import Mark

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
    "name_of",
    "room_of",
    "verified_email",
    "words_of",
]

ALGORITHM = "RS256"
ANY_ROOM = "*"
GUEST_ROLES: tuple[Role, ...] = ("admin", "moderator", "player", "viewer")
"""What someone who does not host may be, the most first."""

MAX_NAME = 64  # characters
REQUIRED_CLAIMS = ("iss", "sub", "iat", "exp")


class TokenError(Exception):
    """The token is not acceptable. Says why, and quotes nothing of the token."""


class TokenExpired(TokenError):
    """The token was good once."""


class NotPermitted(TokenError):
    """The token is good, and lets its bearer into no room."""


@dataclass(frozen=True)
class Identity:
    """What a verified token lets its bearer do."""

    subject: str
    room: str
    """A room's name, or ``*``."""

    roles: frozenset[Role]
    """What the bearer may enter as; none implies another."""

    expires_at: float
    """When the token stops being accepted (leeway included), in seconds of Unix time."""

    marks: frozenset[Mark] = frozenset()
    """What else the token says of its bearer, for the room's policy."""

    name: str = ""
    """What others may call the bearer, by the issuer's word; empty: the issuer does not say."""

    def role_for(self, room: str, wanted: Role) -> Role | None:
        """What the bearer becomes in ``room``; ``None``: they may not enter.

        Who wants to be a ``viewer`` becomes the most that the token lets them be short of ``host``:
        nobody hosts without asking to.
        """
        if self.room not in (ANY_ROOM, room):
            return None
        if wanted == "viewer":
            return next((role for role in GUEST_ROLES if role in self.roles), None)
        return wanted if wanted in self.roles else None

    def permits(self, room: str, role: Role) -> bool:
        """Whether the bearer may enter ``room`` as ``role``."""
        return self.role_for(room, role) is not None


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """What an issuer says of the person or program that it made a token for."""

    subject: str
    expires_at: float
    """As in :class:`Identity`."""

    roles: frozenset[str] = frozenset()
    """Roles and permissions by the issuer's own names."""

    room: str | None = None
    """The room that the token is for, or ``*``."""

    email: str | None = None
    """An address that the issuer has *verified*."""

    name: str = ""
    """As in :class:`Identity`."""


@dataclass(frozen=True, kw_only=True)
class AccessRules:
    """What bearers may do here: which of the issuer's own roles and permissions make which of ours.

    A bearer has all the roles whose sets name one of theirs. Raises :class:`ValueError` naming the
    field that makes no sense.
    """

    admin_roles: frozenset[str] = frozenset({"admin"})
    """Those that make an admin, in every room that the token is good for. Empty: nobody is."""

    host_roles: frozenset[str] = frozenset({"host"})
    """Those that let host. Empty: nobody hosts."""

    moderator_roles: frozenset[str] = frozenset({"moderator"})
    """Those that make a moderator."""

    player_roles: frozenset[str] = frozenset({"player"})
    """Those that let play."""

    viewer_roles: frozenset[str] | None = frozenset({"viewer"})
    """Those that let watch. ``None``: every bearer of a good token may."""

    follower_roles: frozenset[str] = frozenset({"follower"})
    """Those that say: a follower of whoever hosts the rooms that the token is good for."""

    subscriber_roles: frozenset[str] = frozenset({"subscriber"})
    """Those that say: a subscriber, likewise."""

    any_room: bool = False
    """Whether a token that names no room is good for every room, or for none."""

    email_domains: frozenset[str] = frozenset()
    """Only bearers with a verified e-mail address in one of these domains, subdomains not meant.
    Empty: whoever."""

    def __post_init__(self) -> None:
        for domain in self.email_domains:
            if not domain or "@" in domain or domain != domain.strip().lower():
                raise ValueError(f"email_domains: {domain!r} is not a domain such as play.example")

    @property
    def named(self) -> frozenset[str]:
        """All the issuer's roles and permissions that count for something here."""
        marks = self.follower_roles | self.subscriber_roles
        return marks.union(*(names or () for names in self._roles().values()))

    def identity(self, bearer: Bearer) -> Identity:
        """Raises :class:`NotPermitted` for whom nothing is permitted."""
        if self.email_domains and _domain(bearer.email) not in self.email_domains:
            raise NotPermitted("entering needs a verified e-mail address in another domain")
        room = bearer.room or (ANY_ROOM if self.any_room else None)
        if room is None:
            raise NotPermitted("the token names no room")
        has = bearer.roles
        roles = {role for role, names in self._roles().items() if names is None or names & has}
        if not roles:
            raise NotPermitted("the token names no role that lets host or watch")
        marks: set[Mark] = set()
        if room != ANY_ROOM:
            marks.add("link")
        if self.follower_roles & has:
            marks.add("follower")
        if self.subscriber_roles & has:
            marks.add("subscriber")
        return Identity(
            bearer.subject,
            room,
            frozenset(roles),
            bearer.expires_at,
            frozenset(marks),
            bearer.name,
        )

    def _roles(self) -> dict[Role, frozenset[str] | None]:
        return {
            "admin": self.admin_roles,
            "host": self.host_roles,
            "moderator": self.moderator_roles,
            "player": self.player_roles,
            "viewer": self.viewer_roles,
        }


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
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}: must not be negative")


class TokenReader:
    """Reads the claims of one issuer's tokens. Close it when done."""

    def __init__(self, settings: VerifierSettings, *, keys: KeySet | None = None) -> None:
        """``keys`` replaces the cache that ``settings`` describes; the reader closes it."""
        self._settings = settings
        self._keys = keys or KeySet(
            key_source(settings.jwks, timeout_s=settings.keys_timeout_s),
            lifetime_s=settings.keys_lifetime_s,
            cooldown_s=settings.keys_cooldown_s,
        )

    async def read(self, token: str) -> tuple[dict[str, Any], float]:
        """The claims, and until when they count (as :attr:`Identity.expires_at`).

        Raises :class:`TokenExpired`, :class:`TokenError`, or :class:`KeysUnavailable` when the
        issuer's keys cannot be had.
        """
        try:
            key = await self._keys.get(self._key_id(token))
            claims = self._decode(token, key)
            _require_times(claims)
            expires_at = int(claims["exp"]) + self._settings.leeway_s
        except UnknownKey as error:
            raise TokenError(str(error)) from error
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("the token has expired") from error
        except jwt.PyJWTError as error:
            raise TokenError(f"the token is not valid: {self._reason(error)}") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenError("the token is malformed") from error
        if not claims["sub"]:
            raise TokenError("the token names nobody (sub)")
        self._check_party(claims)
        return claims, expires_at

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
                "require": list(self._settings.required_claims),
                "verify_aud": self._settings.audience is not None,
            },
        )

    def _key_id(self, token: str) -> str:
        # Not get_unverified_header: it decodes all of the token, as decode() does again.
        header = json.loads(base64url_decode(token.partition(".")[0]))
        if not isinstance(header, dict):
            raise TokenError("the token is malformed")
        if header.get("alg") != ALGORITHM:
            raise TokenError(f"the token is not signed with {ALGORITHM}")
        types = self._settings.token_types
        if types is not None and "typ" in header and header["typ"] not in types:
            raise TokenError("the token is of another type (typ)")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise TokenError("the token does not name its key (kid)")
        return kid

    def _check_party(self, claims: dict[str, Any]) -> None:
        parties = self._settings.authorized_parties
        party = claims.get("azp")
        if not parties or (party is None and not self._settings.party_required):
            return
        if not isinstance(party, str) or party not in parties:
            raise TokenError("the token was made for another authorized party (azp)")

    def _reason(self, error: jwt.PyJWTError) -> str:
        """What is wrong, in our words: the library's may quote the token."""
        if isinstance(error, jwt.MissingRequiredClaimError):
            return f"it lacks one of {', '.join(self._settings.required_claims)}"
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                return reason
        return "it cannot be read"


_REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidIssuerError: "it comes from another issuer (iss)",
    jwt.InvalidAudienceError: "it was made for another audience (aud)",
    jwt.ImmatureSignatureError: "it is not valid yet (nbf, iat); are the clocks right?",
    jwt.InvalidIssuedAtError: "its iat is not a time",
}


class Verifier:
    """Verifies the tokens of one OpenID Connect issuer."""

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
        self._reader = TokenReader(settings, keys=keys)

    @property
    def loopback_only(self) -> bool:
        return self._loopback_only

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


def words_of(claims: dict[str, Any], name: str) -> frozenset[str]:
    """The words of a claim that is a string of them or an array. Raises :class:`TokenError`."""
    value = _find(claims, name)
    if value is None:
        return frozenset()
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return frozenset(value)
    raise TokenError(f"the token's {name} holds no role: it takes a string, or an array of strings")


def room_of(claims: dict[str, Any], name: str) -> str | None:
    """The room that a claim names, if it does. Raises :class:`TokenError`."""
    value = _find(claims, name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise TokenError(f"the token's {name} names no room")
    return value


def name_of(claims: dict[str, Any], name: str) -> str:
    """What others may call the bearer: printable, one line, cut to what fits. May be empty."""
    value = _find(claims, name)
    if not isinstance(value, str):
        return ""
    words = "".join(c if c.isprintable() else " " for c in value[: 4 * MAX_NAME]).split()
    return " ".join(words)[:MAX_NAME].rstrip()


def verified_email(claims: dict[str, Any]) -> str | None:
    """The address in ``email`` when ``email_verified`` says so (OpenID Connect Core, 5.1)."""
    email = claims.get("email")
    return email if isinstance(email, str) and claims.get("email_verified") is True else None


def _domain(email: str | None) -> str | None:
    name, _, domain = (email or "").rpartition("@")
    return domain.lower() if name else None


def _find(claims: dict[str, Any], name: str) -> Any:
    """The claim of that very name (some are URLs), else the one at the end of the path."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _require_times(claims: dict[str, Any]) -> None:
    """Times are numbers (RFC 7519 section 2); the library takes strings of digits too."""
    for name in ("iat", "nbf", "exp"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TokenError(f"the token is not valid: its {name} is not a time")
