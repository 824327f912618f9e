"""Clerk's session tokens, versions 1 and 2, as a :class:`signalling.auth.TokenVerifier`.

A publishable key says which Clerk instance it belongs to: that is the issuer, and its keys are at
``/.well-known/jwks.json`` there. Beyond what :class:`signalling.auth.TokenReader` checks, a session
token names its session (``sid``), the session is active (``sts``), and it was made for one of the
authorized parties (``azp``).

Roles and permissions come from two places, both signed by Clerk:

- ``role`` and ``room``, custom claims that the instance's settings add to session tokens. Let them
  come from public metadata, which only a backend can write, and never from unsafe metadata.
- the bearer's active organization: ``org:admin`` (a role) and ``org:streams:host`` (a permission).
  Users may be free to create organizations and are then admins of their own, so only organizations
  named in :attr:`ClerkSettings.organizations` count.

E-mail addresses are in no session token by itself: rules of domains need the custom claims
``"email": "{{user.primary_email_address}}"`` and ``"email_verified": "{{user.email_verified}}"``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from signalling.auth import (
    AccessRules,
    Bearer,
    Identity,
    TokenError,
    TokenReader,
    VerifierSettings,
)
from signalling.claims import name_of, room_of, verified_email, words_of
from signalling.jwks import KeySet

__all__ = [
    "ClerkSettings",
    "ClerkVerifier",
    "Organization",
    "host_of_publishable_key",
    "organization_of",
]

REQUIRED_CLAIMS = ("iss", "sub", "sid", "iat", "nbf", "exp")
ANY_ORGANIZATION = "*"
ID_PREFIX = "org_"

_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
_MAX_BITMASK_DIGITS = 64


def _everyone_watches() -> AccessRules:
    return AccessRules(viewer_roles=None, any_room=True)


@dataclass(frozen=True, kw_only=True)
class ClerkSettings:
    """Which Clerk instance's tokens to accept, and what they let do.

    Raises :class:`ValueError` naming the field that makes no sense.
    """

    publishable_key: str
    """``pk_live_…`` or ``pk_test_…``, from the instance's dashboard. No secret."""

    authorized_parties: frozenset[str]
    """The origins of the pages whose tokens to accept, such as ``https://play.example``."""

    party_required: bool = True
    """Whether a token without ``azp`` is refused. A desktop host's may have none."""

    organizations: frozenset[str] = frozenset()
    """Ids (better) or slugs of the organizations whose roles and permissions count; ``*``: all."""

    access: AccessRules = field(default_factory=_everyone_watches)
    """What bearers may do. By default whoever is signed in may watch in every room, and whom a
    custom claim ``role`` names ``host`` may host."""

    jwks: str | Path | None = None
    """Where the keys are: a file, or an ``https:`` URL. ``None``: where the instance has them."""

    leeway_s: float = 5.0
    """How far Clerk's clock may be from ours, in seconds."""

    keys_lifetime_s: float = 3600.0
    """Keys older than this are fetched anew, in seconds."""

    keys_cooldown_s: float = 10.0
    """The least time between two attempts to fetch keys, in seconds."""

    keys_timeout_s: float = 5.0
    """How long one fetch of the keys may take, in seconds."""

    def __post_init__(self) -> None:
        host_of_publishable_key(self.publishable_key)
        if not self.authorized_parties:
            raise ValueError(
                "authorized_parties: at least one is needed, or a token that was made for another"
                " site of the same Clerk instance would be accepted here"
            )
        for party in self.authorized_parties:
            _check_origin(party)
        of_organizations = sorted(name for name in self.access.named if name.startswith("org:"))
        if of_organizations and not self.organizations:
            raise ValueError(
                f"organizations: {of_organizations[0]} counts in organizations that are named:"
                " users may be free to create organizations of their own"
            )
        if "" in self.organizations:
            raise ValueError("organizations: an empty name names none")
        self.tokens()

    @property
    def issuer(self) -> str:
        """``iss`` of the instance's tokens."""
        return f"https://{host_of_publishable_key(self.publishable_key)}"

    def tokens(self) -> VerifierSettings:
        """How the tokens are read."""
        return VerifierSettings(
            issuer=self.issuer,
            jwks=self.jwks or f"{self.issuer}/.well-known/jwks.json",
            authorized_parties=self.authorized_parties,
            party_required=self.party_required,
            required_claims=REQUIRED_CLAIMS,
            token_types=frozenset({"JWT"}),
            access=self.access,
            leeway_s=self.leeway_s,
            keys_lifetime_s=self.keys_lifetime_s,
            keys_cooldown_s=self.keys_cooldown_s,
            keys_timeout_s=self.keys_timeout_s,
        )


class ClerkVerifier:
    """Verifies the session tokens of one Clerk instance."""

    loopback_only = False

    def __init__(self, settings: ClerkSettings, *, keys: KeySet | None = None) -> None:
        """``keys`` replaces the cache that ``settings`` describes; the verifier closes it."""
        self._settings = settings
        self._reader = TokenReader(settings.tokens(), keys=keys)

    @property
    def missing(self) -> str:
        """See :attr:`signalling.identity.KeyHolder.missing`."""
        return self._reader.missing

    def fetch_keys(self) -> None:
        """See :meth:`signalling.identity.KeyHolder.fetch_keys`."""
        self._reader.fetch_keys()

    def watch_keys(self, fetched: Callable[[str], None]) -> None:
        """See :meth:`signalling.jwks.KeySet.watch`."""
        self._reader.watch_keys(fetched)

    async def verify(self, token: str) -> Identity:
        """See :meth:`signalling.auth.Verifier.verify`."""
        claims, expires_at = await self._reader.read(token)
        _check_session(claims)
        organization = organization_of(claims)
        roles = words_of(claims, "role")
        # A custom claim cannot pass for an organization's role.
        roles = frozenset(role for role in roles if not role.startswith("org:"))
        if organization is not None and self._counts(organization):
            roles |= organization.permissions
            if organization.role:
                roles |= {f"org:{organization.role}"}
        return self._settings.access.identity(
            Bearer(
                subject=claims["sub"],
                expires_at=expires_at,
                roles=roles,
                room=room_of(claims, "room"),
                email=verified_email(claims),
                name=name_of(claims, "name"),
            )
        )

    async def close(self) -> None:
        await self._reader.close()

    def _counts(self, organization: Organization) -> bool:
        # A slug is of its organization's own choosing: it must not pass for another's id.
        slug = "" if organization.slug.startswith(ID_PREFIX) else organization.slug
        return bool(self._settings.organizations & {organization.id, slug, ANY_ORGANIZATION})


@dataclass(frozen=True)
class Organization:
    """The organization that is active in a session, and what the bearer is in it."""

    id: str
    slug: str
    role: str
    """Without ``org:``; may be empty."""

    permissions: frozenset[str]
    """As ``org:FEATURE:PERMISSION``."""


def host_of_publishable_key(key: str) -> str:
    """The instance's host: a key is ``pk_live_`` or ``pk_test_`` and the Base64 of ``host$``.

    Raises :class:`ValueError` in words; they do not quote the key.
    """
    for prefix in ("sk_", "whsec_"):
        if key.startswith(prefix):
            raise ValueError(f"publishable_key: {prefix}… is a secret; the one wanted is pk_…")
    found = re.fullmatch(r"pk_(?:live|test)_([A-Za-z0-9+/]+)={0,2}", key)
    if found is None:
        raise ValueError(
            "publishable_key: it takes pk_live_… or pk_test_…, as the dashboard has it"
        )
    encoded = found[1]
    try:
        host = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        host = ""
    if not host.endswith("$") or not _HOST.fullmatch(host[:-1]):
        raise ValueError("publishable_key: it names no Clerk instance; is it cut short?")
    return host[:-1].lower()


def organization_of(claims: Mapping[str, Any]) -> Organization | None:
    """The active organization by the claims of either version; ``None`` when none is active.

    Raises :class:`TokenError` for a version that is not known, or claims of another shape.
    """
    version = claims.get("v", 1)
    if version == 2:
        return _organization_v2(claims)
    if version != 1:
        raise TokenError("the session token is of a version that is not known (v)")
    if claims.get("org_id") is None:
        return None
    permissions = claims.get("org_permissions") or []
    if not isinstance(permissions, list) or not all(isinstance(p, str) for p in permissions):
        raise TokenError("the token's org_permissions are malformed")
    return Organization(
        _text(claims, "org_id"),
        _text(claims, "org_slug"),
        _text(claims, "org_role").removeprefix("org:"),
        frozenset(name for name in permissions if name.startswith("org:")),
    )


def _organization_v2(claims: Mapping[str, Any]) -> Organization | None:
    organization = claims.get("o")
    if organization is None:
        return None
    if not isinstance(organization, dict):
        raise TokenError("the token's organization (o) is malformed")
    return Organization(
        _text(organization, "id"),
        _text(organization, "slg"),
        _text(organization, "rol"),
        _permissions_v2(
            _text(claims, "fea"), _text(organization, "per"), _text(organization, "fpm")
        ),
    )


def _permissions_v2(features: str, permissions: str, masks: str) -> frozenset[str]:
    """Bit *p* of the mask at place *f* grants permission *p* of the *f*-th organization feature.

    ``features`` are ``SCOPE:NAME`` with the scope ``o`` (organization), ``u`` (user) or both; those
    of users alone have no mask. What has no mask, or one that is not a number, grants nothing.
    """
    if not features or not permissions or not masks:
        return frozenset()
    names = [name.strip() for name in permissions.split(",")]
    granted = set()
    of_organization = [
        name
        for scope, _, name in (feature.strip().partition(":") for feature in features.split(","))
        if scope in ("o", "ou", "uo")
    ]
    for feature, text in zip(of_organization, masks.split(","), strict=False):
        mask = _bitmask(text.strip())
        granted |= {f"org:{feature}:{name}" for bit, name in enumerate(names) if mask >> bit & 1}
    return frozenset(granted)


def _bitmask(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_BITMASK_DIGITS:
        return 0
    return int(text)


def _check_session(claims: Mapping[str, Any]) -> None:
    if not isinstance(claims["sid"], str) or not claims["sid"]:
        raise TokenError("the token names no session (sid)")
    # Version 1 has no status: its tokens are made for active sessions alone.
    status = claims.get("sts", None if claims.get("v") == 2 else "active")
    if status != "active":
        raise TokenError("the session is not active (sts): the sign-in has steps left to do")


def _check_origin(party: str) -> None:
    try:
        parts = urlsplit(party)
        whole = f"{parts.scheme}://{parts.netloc}"
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and party == whole
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"authorized_parties: {party!r} is not an origin such as https://play.example,"
            " without a path or a slash at its end"
        )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TokenError(f"the token's {name} is malformed")
    return value
