"""What a token lets do: a :class:`Bearer`, by :class:`AccessRules`, has an :class:`Identity`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .messages import Role

if TYPE_CHECKING:
    from .rooms.events import Mark

ANY_ROOM = "*"
GUEST_ROLES: tuple[Role, ...] = ("admin", "moderator", "player", "viewer")
"""What someone who does not host may be, the most first."""


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

    def watch_keys(self, fetched: Callable[[str], None]) -> None:
        """Have ``fetched`` called after each fetch of keys, with ``ok`` or ``failed``."""

    async def verify(self, token: str) -> Identity:
        """Raises :class:`TokenError`, or :class:`KeysUnavailable` when it cannot tell."""

    async def close(self) -> None:
        """Release what the verifier holds."""


@runtime_checkable
class KeyHolder(Protocol):
    """A verifier that has to fetch keys before it can verify anything."""

    @property
    def missing(self) -> str:
        """Why it cannot verify now, in words for everyone (no addresses); empty: it can."""

    def fetch_keys(self) -> None:
        """Begin to, in the background, and go on until there are some or it is closed."""


def _domain(email: str | None) -> str | None:
    name, _, domain = (email or "").rpartition("@")
    return domain.lower() if name else None
