"""What the claims of a token say, by name; all of them are hostile until they fit."""

from __future__ import annotations

from typing import Any

from .identity import TokenError

MAX_NAME = 64  # characters


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


def _find(claims: dict[str, Any], name: str) -> Any:
    """The claim of that very name (some are URLs), else the one at the end of the path."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
