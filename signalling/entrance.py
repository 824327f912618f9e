"""Who may come in: a hello's token, and whether there is a place."""

from __future__ import annotations

import hashlib

from .identity import Identity, NotPermitted, TokenError, TokenExpired
from .messages import PROTOCOL_VERSION, Error, ErrorCode, Hello, Role
from .records import Record
from .rooms import Join, Resume
from .rooms.events import Mark
from .services import Services

_LITTLE, _WHOLE = 0.2, 1.0
"""How much a failure weighs. A token that was good once, or is good elsewhere, weighs little: tabs
wake up."""

_NAME_CHARACTERS = 64


class Refusal(Exception):
    """Ends a connection with :attr:`error`."""

    def __init__(
        self, code: ErrorCode, text: str, *, retry: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(text)
        self.error = Error(code, text, retry, retry_after_s=round(retry_after_s, 3))


class Entrance:
    """The way in for clients of one address."""

    __slots__ = ("_address", "_services")

    def __init__(self, services: Services, address: str) -> None:
        """``address`` is what the client's counts as (:func:`.limits.address_key`)."""
        self._services = services
        self._address = address

    async def admit(self, hello: Hello) -> tuple[Identity, Role]:
        """Who this is, and what they come in as. Raises :class:`Refusal` and
        :class:`.identity.KeysUnavailable`.
        """
        if hello.version != PROTOCOL_VERSION:
            text = f"this server speaks version {PROTOCOL_VERSION} of the protocol"
            raise Refusal("version", text)
        identity = await self._verify(hello.token)
        role = identity.role_for(hello.room, hello.role)
        if role is None:
            self._failed("forbidden", _LITTLE)
            raise _forbidden(hello)
        self._services.metrics.authenticated()
        self._require_place(hello.room, identity.subject)
        return identity, role

    async def readmit(self, token: str, hello: Hello, identity: Identity, role: Role) -> Identity:
        """The bearer of a fresh token, who came in by ``hello`` as ``role``. Raises likewise."""
        fresh = await self._verify(token)
        if fresh.subject != identity.subject:
            raise Refusal("bad-token", "the fresh token is somebody else's")
        if fresh.role_for(hello.room, hello.role) is None:
            raise _forbidden(hello)
        if role not in fresh.roles:
            text = f"the fresh token does not make you a {role} any more: join again"
            raise Refusal("forbidden", text, retry=True)
        return fresh

    async def _verify(self, token: str) -> Identity:
        services = self._services
        if wait := services.backoff.wait(self._address, services.now()):
            services.metrics.refused("address.failures")
            text = "too many bad tokens came from your address"
            raise Refusal("rate-limited", text, retry=True, retry_after_s=wait)
        try:
            return await services.verifier.verify(token)
        except TokenExpired as error:
            self._failed("token-expired", _LITTLE)
            raise Refusal("token-expired", str(error)) from error
        except NotPermitted as error:
            self._failed("forbidden", _LITTLE)
            raise Refusal("forbidden", str(error)) from error
        except TokenError as error:
            self._failed("bad-token", _WHOLE)
            raise Refusal("bad-token", str(error)) from error

    def _failed(self, reason: str, weight: float) -> None:
        """Count a token that does not let in."""
        services = self._services
        services.backoff.fail(self._address, services.now(), weight)
        services.metrics.auth_failed(reason)
        record = Record(type="auth.failed", at=services.unix_time(), data={"reason": reason})
        services.settings.records.put(record)

    def _require_place(self, room: str, subject: str) -> None:
        services, limits = self._services, self._services.settings.limits
        if wait := services.limiter.take("user.join", subject, services.now()):
            services.metrics.refused("user.join")
            text = "you are joining too often"
            raise Refusal("rate-limited", text, retry=True, retry_after_s=wait)
        if room not in services.rooms and len(services.rooms) >= limits.max_rooms:
            services.metrics.refused("rooms")
            raise Refusal("room-full", "this server has no place for another room", retry=True)
        if not services.users.has_place(subject):
            services.metrics.refused("user.connections")
            text = "you are here too often already: close another window first"
            raise Refusal("rate-limited", text)


def join_of(
    hello: Hello,
    identity: Identity,
    role: Role,
    *,
    link: str,
    secret: str,
    marks: frozenset[Mark],
    at: float,
    traceparent: str,
) -> Join:
    """What the room is told of who comes in. ``at`` in seconds of Unix time."""
    resume = hello.resume
    return Join(
        link=link,
        at=at,
        subject=identity.subject,
        role=role,
        name=_printable(identity.name or hello.name),
        seat=hello.seat,
        secret_hash=_hash(secret),
        marks=marks,
        settings=hello.settings if role == "host" else None,
        resume=None if resume is None else Resume(resume.peer, _hash(resume.secret), resume.seq),
        traceparent=traceparent,
    )


def _forbidden(hello: Hello) -> Refusal:
    text = f"the token does not let you into room {hello.room} as {hello.role}"
    return Refusal("forbidden", text)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _printable(name: str) -> str:
    """Names are shown to people, on terminals too: no control characters."""
    return "".join(character for character in name if character.isprintable())[:_NAME_CHARACTERS]
