"""Logins of this user, kept between runs, and the tokens that they give.

One file for each issuer, readable by its owner alone, below ``$XDG_STATE_HOME/playcast/logins``.
An issuer may replace the refresh token with every use, and take a second use of the old one for
theft: whoever refreshes holds the folder's lock until the new one is on the disk.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from peer.signalling_settings import TokenUnavailable

from .device_login import (
    Authorization,
    Client,
    Endpoints,
    LoginEnded,
    LoginError,
    Tokens,
)

LOCK_TIMEOUT_S = 30.0
LOCK_POLL_S = 0.1
MARGIN_S = 60.0
UNKNOWN_LIFETIME_S = 60.0


class StoredLogin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a login."""

    issuer: str
    client_id: str
    scope: str
    audience: str
    token: Literal["access", "id"]
    """Which of the issuer's tokens the signalling server takes."""

    device_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    refresh_token: str

    def authorization(self) -> Authorization:
        """To enter."""
        return Authorization(
            Endpoints(
                issuer=self.issuer,
                device=self.device_endpoint,
                token=self.token_endpoint,
                revocation=self.revocation_endpoint,
            ),
            Client(id=self.client_id, scope=self.scope, audience=self.audience),
        )


class LoginStore:
    """The files."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder`` ``None`` is the user's own."""
        self.folder = folder or default_folder()

    def path(self, issuer: str) -> Path:
        """Where the login at ``issuer`` is kept."""
        return self.folder / (hashlib.sha256(issuer.encode()).hexdigest()[:32] + ".json")

    def issuers(self) -> list[str]:
        """Of all logins. Raises :class:`.device_login.LoginError`."""
        return sorted(_read(path).issuer for path in self.folder.glob("*.json"))

    def find(self, issuer: str = "") -> StoredLogin:
        """The login at ``issuer``, or the only one. Raises :class:`.device_login.LoginError`."""
        if not issuer:
            issuers = self.issuers()
            if not issuers:
                raise LoginError("you are not signed in: playcast login ISSUER --client-id ID")
            if len(issuers) > 1:
                raise LoginError(f"which login? There are {', '.join(issuers)}")
            issuer = issuers[0]
        path = self.path(issuer)
        if not path.exists():
            raise LoginError(f"you are not signed in at {issuer}: playcast login {issuer}")
        return _read(path)

    def write(self, login: StoredLogin) -> None:
        """Keep it in place of an earlier one. Raises :class:`.device_login.LoginError`."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes the file 0600; a rename leaves the old one or the new one, never a half.
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".login-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(login))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).rename(self.path(login.issuer))
            except BaseException:
                Path(name).unlink()
                raise
        except OSError as error:
            raise LoginError(f"cannot keep the login in {self.folder}: {error.strerror}") from error

    def delete(self, issuer: str) -> None:
        """Forget it."""
        self.path(issuer).unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Alone among all processes of this user. Raises :class:`.device_login.LoginError`."""
        path = self.folder / ".lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise LoginError(f"cannot lock {path}: {error.strerror}") from error
        try:
            await _locked(descriptor, path)
            yield
        finally:
            os.close(descriptor)


class LoginTokens:
    """A :data:`peer.signalling_settings.TokenSource`: tokens of a login, refreshed in time."""

    def __init__(
        self, store: LoginStore, issuer: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._clock = clock
        self._token = ""
        self._stale_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def __call__(self) -> str:
        """Raises :class:`peer.signalling_settings.TokenUnavailable` in words."""
        if self._clock() >= self._stale_at:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh(), name="login-refresh")
            try:
                # Shielded: a refresh token that was used must be followed by the next on the disk.
                await asyncio.shield(self._refreshing)
            except LoginEnded as error:
                text = f"{error}: sign in again (playcast login {self._issuer})"
                raise TokenUnavailable(text) from error
            except LoginError as error:
                raise TokenUnavailable(str(error)) from error
        return self._token

    async def _refresh(self) -> None:
        async with self._store.lock():
            login = self._store.find(self._issuer)
            async with login.authorization() as authorization:
                tokens = await authorization.refresh(login.refresh_token)
            if tokens.refresh and tokens.refresh != login.refresh_token:
                self._store.write(msgspec.structs.replace(login, refresh_token=tokens.refresh))
        now = self._clock()
        self._token = token_of(tokens, login.token)
        lifetime = max(0.0, _expires_at(self._token, tokens, now) - now)
        self._stale_at = now + lifetime - min(MARGIN_S, lifetime / 2)


def token_of(tokens: Tokens, which: Literal["access", "id"]) -> str:
    """The one that the server takes. Raises :class:`.device_login.LoginError`."""
    token = tokens.id if which == "id" else tokens.access
    if not token:
        raise LoginError(f"the issuer gave no {which} token")
    return token


def default_folder() -> Path:
    """Where this user's logins are (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "playcast" / "logins"


def _read(path: Path) -> StoredLogin:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise LoginError(f"others may read {path}: delete it, and sign in again")
            return msgspec.json.decode(file.read(), type=StoredLogin)
    except OSError as error:
        raise LoginError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise LoginError(f"{path} holds no login: delete it, and sign in again") from error


async def _locked(descriptor: int, path: Path) -> None:
    """Wait for flock(2), which can be waited for without a thread only by asking again."""
    for _ in range(round(LOCK_TIMEOUT_S / LOCK_POLL_S)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        await asyncio.sleep(LOCK_POLL_S)
    raise LoginError(f"another program has held {path} for too long")


def _expires_at(token: str, tokens: Tokens, now: float) -> float:
    """By the token itself where it is a JWT: ``expires_in`` is of the access token alone."""
    with contextlib.suppress(ValueError, IndexError, RecursionError):
        payload = token.split(".")[1]
        claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        end = msgspec.json.decode(claims, type=dict[str, Any]).get("exp")
        if isinstance(end, int | float) and not isinstance(end, bool):
            return float(end)
    return now + (UNKNOWN_LIFETIME_S if tokens.expires_in is None else tokens.expires_in)
