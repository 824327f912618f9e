"""Signing in on a machine without a browser: OAuth 2.0 Device Authorization Grant (RFC 8628).

::

    async with Authorization(await Endpoints.discover(issuer), client) as authorization:
        request = await authorization.request()      # show request.uri and request.code
        tokens = await authorization.wait(request)   # until somebody has agreed there

Afterwards :meth:`Authorization.refresh` has new tokens without anyone (RFC 6749 section 6). The
client is a public one: it has an id and no secret. Answers are bounded in size, and redirects are
not followed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec

from signalling.discovery import issuer_metadata
from signalling.jwks import KeysUnavailable, check_url
from signalling.net import is_loopback

MAX_ANSWER_BYTES = 256 * 1024
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL_S = 5.0  # RFC 8628 section 3.2
SLOWER_S = 5.0  # RFC 8628 section 3.5
MOST_INTERVAL_S = 60.0


class LoginError(Exception):
    """The issuer does not let us in, or its answer makes no sense. Says what to do."""


class LoginUnreachable(LoginError):
    """The issuer does not answer now: trying again may help."""


class LoginEnded(LoginError):
    """The login is over: it takes a person to sign in again."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """What we are to the issuer."""

    id: str
    """``client_id``, of a public client that is registered with the issuer."""

    scope: str = "openid offline_access"
    """``offline_access`` asks for a refresh token (OpenID Connect Core, section 11)."""

    audience: str = ""
    """For issuers that ask whom the token is for."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where an issuer is to be asked."""

    issuer: str
    device: str
    token: str
    revocation: str = ""
    """Empty: the issuer has none."""

    @classmethod
    async def discover(cls, issuer: str, *, timeout_s: float = 10.0) -> Endpoints:
        """What the issuer says of itself. Raises :class:`LoginError`."""
        try:
            metadata = await issuer_metadata(issuer, timeout_s=timeout_s)
        except KeysUnavailable as error:
            raise LoginUnreachable(str(error)) from error
        except ValueError as error:
            raise LoginError(str(error)) from error
        if "device_authorization_endpoint" not in metadata:
            raise LoginError(f"{issuer} has no device login: it names no endpoint for it")
        return cls(
            issuer=issuer,
            device=_endpoint(metadata, "device_authorization_endpoint"),
            token=_endpoint(metadata, "token_endpoint"),
            revocation=_endpoint(metadata, "revocation_endpoint", required=False),
        )


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """What a person is to be told (RFC 8628 section 3.2)."""

    uri: str
    """The page to open."""

    code: str
    """What to type there."""

    complete_uri: str
    """A page that knows the code; may be empty."""

    expires_at: float
    """By the clock of :class:`Authorization`."""

    interval_s: float
    device_code: str


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """An answer of the token endpoint (RFC 6749 section 5.1)."""

    access: str
    id: str = ""
    refresh: str = ""
    expires_in: float | None = None
    """Of the access token, in seconds."""


class Authorization:
    """One client at one issuer. An asynchronous context manager."""

    def __init__(
        self,
        endpoints: Endpoints,
        client: Client,
        *,
        timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = endpoints
        self._client = client
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._clock = clock

    async def __aenter__(self) -> Self:
        host = urlsplit(self._endpoints.token).hostname or ""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            trust_env=not is_loopback(host),  # proxies
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def request(self) -> DeviceRequest:
        """Ask for a code. Raises :class:`LoginError`."""
        fields = {"client_id": self._client.id, "scope": self._client.scope}
        if self._client.audience:
            fields["audience"] = self._client.audience
        status, answer = await self._post(self._endpoints.device, fields)
        if status != 200:
            raise LoginError(f"{self._endpoints.issuer} refuses the login: {_reason(answer)}")
        device_code, code, uri = (
            answer.get(name) for name in ("device_code", "user_code", "verification_uri")
        )
        if not (isinstance(device_code, str) and isinstance(code, str) and isinstance(uri, str)):
            raise LoginError(f"{self._endpoints.issuer} gave no code to sign in with")
        complete = answer.get("verification_uri_complete", "")
        return DeviceRequest(
            uri=_shown(uri),
            code=_shown(code),
            complete_uri=_shown(complete) if isinstance(complete, str) else "",
            expires_at=self._clock() + _seconds(answer, "expires_in", 600.0),
            interval_s=_seconds(answer, "interval", DEFAULT_INTERVAL_S),
            device_code=device_code,
        )

    async def wait(self, request: DeviceRequest) -> Tokens:
        """Ask again and again until somebody has agreed (RFC 8628 section 3.4).

        Raises :class:`LoginEnded` when they have refused or the code has expired, and
        :class:`LoginError` for all else.
        """
        interval = request.interval_s
        fields = {
            "grant_type": DEVICE_GRANT,
            "device_code": request.device_code,
            "client_id": self._client.id,
        }
        while self._clock() + interval < request.expires_at:
            await self._sleep(interval)
            try:
                status, answer = await self._post(self._endpoints.token, fields)
            except LoginUnreachable:
                interval = min(2 * interval, MOST_INTERVAL_S)  # section 3.5
                continue
            if status == 200:
                return self._tokens(answer)
            match answer.get("error"):
                case "authorization_pending":
                    pass
                case "slow_down":
                    interval += SLOWER_S
                case "access_denied":
                    raise LoginEnded("the login was refused")
                case "expired_token":
                    break
                case _:
                    raise LoginError(
                        f"{self._endpoints.issuer} refuses the login: {_reason(answer)}"
                    )
        raise LoginEnded("nobody signed in while the code was good")

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens. Where :attr:`Tokens.refresh` is not empty it takes the old one's place.

        Raises :class:`LoginEnded` when the refresh token is good no more.
        """
        fields = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": self._client.id,
        }
        status, answer = await self._post(self._endpoints.token, fields)
        if status == 200:
            return self._tokens(answer)
        if answer.get("error") == "invalid_grant":
            raise LoginEnded("the login has ended")
        raise LoginError(f"{self._endpoints.issuer} gives no token: {_reason(answer)}")

    async def revoke(self, refresh_token: str) -> None:
        """End the login at the issuer, where it has a way to (RFC 7009).

        Raises :class:`LoginError`.
        """
        if not self._endpoints.revocation:
            return
        fields = {
            "token": refresh_token,
            "token_type_hint": "refresh_token",
            "client_id": self._client.id,
        }
        status, answer = await self._post(self._endpoints.revocation, fields)
        if status != 200:
            raise LoginError(f"{self._endpoints.issuer} does not end the login: {_reason(answer)}")

    def _tokens(self, answer: Mapping[str, Any]) -> Tokens:
        access, identity, refresh = (
            answer.get(name, "") for name in ("access_token", "id_token", "refresh_token")
        )
        if not (isinstance(access, str) and isinstance(identity, str) and isinstance(refresh, str)):
            raise LoginError(f"{self._endpoints.issuer} gave tokens that are none")
        expires_in = _seconds(answer, "expires_in", 0.0) if "expires_in" in answer else None
        return Tokens(access=access, id=identity, refresh=refresh, expires_in=expires_in)

    async def _post(self, url: str, fields: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object that came with it.

        Raises :class:`LoginUnreachable`, also for what a server says that is not able to answer.
        """
        headers = {"Accept": "application/json"}
        try:
            async with self._session.post(
                url, data=fields, headers=headers, allow_redirects=False
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(16 * 1024):
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise LoginError(f"{url} sent more than {MAX_ANSWER_BYTES} bytes")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise LoginUnreachable(f"cannot reach {url}: {reason}") from error
        if response.status >= 500 or response.status == 429:
            raise LoginUnreachable(f"{url} answered {response.status}")
        if not body and response.status == 200:
            return 200, {}  # of a revocation (RFC 7009 section 2.2)
        try:
            return response.status, msgspec.json.decode(body, type=dict[str, Any])
        except (ValueError, RecursionError):
            text = f"{url} answered {response.status} and no JSON object"
            raise LoginError(text) from None


def _endpoint(metadata: Mapping[str, Any], name: str, *, required: bool = True) -> str:
    url = metadata.get(name, "")
    if not url and not required:
        return ""
    try:
        check_url(name, url if isinstance(url, str) else "")
    except ValueError as error:
        raise LoginError(f"the issuer's document is not good: {error}") from None
    return str(url)


def _seconds(answer: Mapping[str, Any], name: str, default: float) -> float:
    value = answer.get(name, default)
    if isinstance(value, str) and value.isdecimal():  # some issuers' numbers are text
        value = float(value[:9])
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        return default
    return float(value)


def _reason(answer: Mapping[str, Any]) -> str:
    """RFC 6749 section 5.2, for people."""
    said = [answer.get("error"), answer.get("error_description")]
    words = ": ".join(_shown(text) for text in said if isinstance(text, str) and text)
    return words or "it does not say why"


def _shown(text: str) -> str:
    """What a terminal can be given: an issuer's words do not move its cursor."""
    return "".join(letter for letter in text if letter.isprintable())[:500]
