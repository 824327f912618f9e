"""Invitations: join links that let anyone in who has them, until they end.

An invitation is text of the form ``invite.KEY.PAYLOAD.MAC``, which no JWT has: the id of the key,
what it grants (room, role, end, an id of its own), and HMAC-SHA256 (RFC 2104) over all before it,
cut to 128 bits. Every server that knows the key can check it and none keeps anything, so it cannot
be counted how often one is used, and there is no list of single ones that no longer count: all that
a key has signed end with the key.

An invitation lets in until it ends. Who is in by then may stay, for as long as
:attr:`InvitationSettings.stay_s` says: the end of a link must not end a game.
"""

from __future__ import annotations

import base64
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from .identity import Identity, TokenError, TokenExpired, TokenVerifier
from .messages import Role

__all__ = [
    "INVITABLE_ROLES",
    "InvitationKey",
    "InvitationSettings",
    "Invitations",
    "InvitedOrVerified",
    "invitation_id",
    "is_invitation",
    "read_keys",
]

log = logging.getLogger(__name__)

INVITABLE_ROLES: frozenset[Role] = frozenset({"moderator", "player", "viewer"})
"""What an invitation may make of its bearer: a link that goes round must not hand out a room."""

MAX_LIFETIME_S = 31 * 24 * 3600.0
MIN_SECRET_BYTES = 32  # RFC 2104 section 3: no less than the hash's length
PREFIX = "invite."
SUBJECT_PREFIX = "invite:"

_MAC_BYTES = 16  # RFC 2104 section 5: no less than half of the hash's length
_FORM = re.compile(
    r"invite\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{1,256})\.([A-Za-z0-9_-]{22})", re.ASCII
)
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)


@dataclass(frozen=True, repr=False)
class InvitationKey:
    """A secret that signs invitations, and what it is called in them.

    Raises :class:`ValueError` naming the field that makes no sense; never shows the secret.
    """

    id: str
    """1 to 32 letters, digits, ``-`` and ``_``."""

    secret: bytes
    """At least 32 bytes."""

    def __post_init__(self) -> None:
        if not _KEY_ID.fullmatch(self.id):
            raise ValueError("id: a key's id is 1 to 32 letters, digits, - and _")
        if len(self.secret) < MIN_SECRET_BYTES:
            raise ValueError(
                f"secret: the key {self.id} has {len(self.secret)} bytes and needs at least"
                f" {MIN_SECRET_BYTES}: make one with openssl rand -base64 32"
            )

    def __repr__(self) -> str:
        return f"InvitationKey({self.id!r}, …)"

    @classmethod
    def generate(cls) -> InvitationKey:
        """A key that nobody else knows."""
        return cls(secrets.token_urlsafe(6), secrets.token_bytes(MIN_SECRET_BYTES))


def read_keys(text: str) -> tuple[InvitationKey, ...]:
    """Keys from lines of ``ID:SECRET``, the secret in Base64; the first signs.

    Empty lines and those that begin with ``#`` are passed over. Raises :class:`ValueError` naming
    the line, never its secret.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, encoded = line.partition(":")
        try:
            if not colon:
                raise ValueError("takes ID:SECRET")
            keys.append(InvitationKey(name.strip(), _decode_base64(encoded.strip())))
        except ValueError as error:
            raise ValueError(f"invitation keys, line {number}: {error}") from None
    return tuple(keys)


@dataclass(frozen=True, kw_only=True)
class InvitationSettings:
    """Raises :class:`ValueError` naming the field that makes no sense."""

    keys: tuple[InvitationKey, ...]
    """All that are accepted; the first signs. All servers that share rooms share them."""

    stay_s: float = 12 * 3600.0
    """How long after an invitation's end who is in by it may stay, in seconds."""

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("keys: at least one is needed")
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("keys: two of them have the same id")
        if not 0 <= self.stay_s <= MAX_LIFETIME_S:
            raise ValueError(f"stay_s: takes 0 to {MAX_LIFETIME_S:.0f} seconds")


class Invitations:
    """Makes invitations, and tells good ones from others."""

    def __init__(
        self,
        settings: InvitationSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without ``settings`` the key is random: invitations end with this process."""
        self._clock = clock
        self.use(settings or InvitationSettings(keys=(InvitationKey.generate(),)))

    def use(self, settings: InvitationSettings) -> None:
        """Go by other settings from now on: keys that are no longer there have signed nothing."""
        self._settings = settings
        self._secrets = {key.id: key.secret for key in settings.keys}

    def make(self, room: str, role: Role, for_s: float, by: str) -> tuple[str, float]:
        """An invitation into ``room`` as ``role``, and until when (Unix seconds) it lets in.

        ``by`` is the subject of who asked for it, for the log; it is not in the invitation. Raises
        :class:`ValueError` for a role that is not in :data:`INVITABLE_ROLES`, or another time than
        up to 31 days.
        """
        if role not in INVITABLE_ROLES:
            raise ValueError(f"role: nobody is made a {role} by a link")
        if not 0 < for_s <= MAX_LIFETIME_S:
            raise ValueError(f"for_s: takes up to {MAX_LIFETIME_S:.0f} seconds")
        until = math.floor(self._clock() + for_s)
        grant = _Grant(secrets.token_urlsafe(9), room, role, until)
        key = self._settings.keys[0]
        signed = f"{PREFIX}{key.id}.{_encode_base64(msgspec.msgpack.encode(grant))}"
        log.info("invitation %s into %s as %s made by %s", grant.id, room, role, by)
        return f"{signed}.{_mac(key.secret, signed)}", float(until)

    def verify(self, token: str) -> Identity:
        """The identity that an invitation proves: all who come by the same one share a subject.

        Raises :class:`.identity.TokenExpired` or another :class:`.identity.TokenError`.
        """
        found = _FORM.fullmatch(token)
        if found is None:
            raise TokenError("the invitation is malformed: was the link cut short?")
        key_id, _, mac = found.groups()
        secret = self._secrets.get(key_id)
        if secret is None:
            raise TokenError("the invitation does not count any more: ask for another")
        signed = token[: -len(mac) - 1]
        if not hmac.compare_digest(_mac(secret, signed), mac):
            raise TokenError("the invitation is not genuine: was the link changed?")
        grant = _grant(token)
        if grant.role not in INVITABLE_ROLES:
            raise TokenError(f"nobody is made a {grant.role} by a link")
        if self._clock() >= grant.until:
            raise TokenExpired("the invitation has ended: ask for another")
        return Identity(
            SUBJECT_PREFIX + grant.id,
            grant.room,
            frozenset({grant.role}),
            grant.until + self._settings.stay_s,
            frozenset({"link", "invite"}),
        )


class InvitedOrVerified:
    """A :class:`.identity.TokenVerifier`: invitations, and another verifier's tokens."""

    def __init__(self, verifier: TokenVerifier, invitations: Invitations) -> None:
        """``verifier`` is closed with it."""
        self._verifier = verifier
        self._invitations = invitations

    @property
    def loopback_only(self) -> bool:
        return self._verifier.loopback_only

    def watch_keys(self, fetched: Callable[[str], None]) -> None:
        self._verifier.watch_keys(fetched)

    async def verify(self, token: str) -> Identity:
        """See :meth:`.identity.TokenVerifier.verify`."""
        if is_invitation(token):
            return self._invitations.verify(token)
        return await self._verifier.verify(token)

    async def close(self) -> None:
        await self._verifier.close()


def is_invitation(token: str) -> bool:
    """Whether ``token`` is to be read as an invitation, good or not."""
    return token.startswith(PREFIX)


def invitation_id(token: str) -> str:
    """The id of an invitation that :meth:`Invitations.make` made or ``verify`` took."""
    return _grant(token).id


class _Grant(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    id: str
    room: str
    role: Role
    until: int


def _grant(token: str) -> _Grant:
    """Raises :class:`TokenError`: a key may have signed what another release made."""
    try:
        return msgspec.msgpack.decode(_decode_base64(token.split(".")[2]), type=_Grant)
    except (IndexError, ValueError) as error:
        raise TokenError("the invitation is of a kind that is not known here") from error


def _mac(secret: bytes, signed: str) -> str:
    return _encode_base64(hmac.digest(secret, signed.encode("ascii"), "sha256")[:_MAC_BYTES])


def _encode_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode_base64(text: str) -> bytes:
    """Either alphabet of RFC 4648, with or without padding. Raises :class:`ValueError`."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
