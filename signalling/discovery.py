"""OpenID Connect Discovery 1.0: an issuer says itself where its keys and endpoints are.

The document is at ``/.well-known/openid-configuration`` below the issuer. It counts only when it
names that very issuer (section 4.3), comes without a redirect, and is of a sensible size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from .jwks import KeySource, KeysUnavailable, check_url, fetch

METADATA_LIFETIME_S = 24 * 3600.0
"""How long an issuer's word counts while its keys can be fetched by it, in seconds."""


async def issuer_metadata(issuer: str, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """What ``issuer`` says of itself.

    Raises :class:`ValueError` for an issuer that is no ``https:`` URL (or ``http:`` on loopback),
    and :class:`.jwks.KeysUnavailable` when it does not answer, or not for itself.
    """
    url = metadata_url(issuer)
    try:
        metadata: dict[str, Any] = msgspec.json.decode(
            await fetch(url, timeout_s), type=dict[str, Any]
        )
    except (ValueError, RecursionError):
        raise KeysUnavailable(f"{url} is no JSON object") from None
    if metadata.get("issuer") != issuer:
        raise KeysUnavailable(
            f"{url} speaks for another issuer: the name must be the same to the last slash"
        )
    return metadata


def metadata_url(issuer: str) -> str:
    """Where an issuer's document is. Raises :class:`ValueError` as :func:`issuer_metadata`."""
    check_url("issuer", issuer)
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def discovered_keys(
    issuer: str, *, timeout_s: float = 5.0, clock: Callable[[], float] = time.monotonic
) -> KeySource:
    """A source of the keys that ``issuer`` says are its own (``jwks_uri``).

    Where they are is asked once a day, and again after they could not be fetched from there.
    ``timeout_s`` is for each of the two. Raises :class:`ValueError` as :func:`issuer_metadata`.
    """
    metadata_url(issuer)
    known: tuple[str, float] | None = None  # where, and since when

    async def source() -> bytes:
        nonlocal known
        where, known = known, None
        if where is None or clock() - where[1] >= METADATA_LIFETIME_S:
            where = (_jwks_uri(await issuer_metadata(issuer, timeout_s=timeout_s)), clock())
        document = await fetch(where[0], timeout_s)
        known = where
        return document

    return source


def _jwks_uri(metadata: dict[str, Any]) -> str:
    uri = metadata.get("jwks_uri")
    try:
        if not isinstance(uri, str):
            raise ValueError("jwks_uri: there is none")  # noqa: TRY004 (of a document, not a call)
        check_url("jwks_uri", uri)
    except ValueError as error:
        raise KeysUnavailable(f"the issuer's document is not good: {error}") from None
    return uri
