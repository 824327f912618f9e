"""Signalling: brings a host and its viewers together, and serves the web viewer.

It relays session descriptions and candidates between browsers and hosts that show a good token;
media never passes through it. :class:`SignallingServer` is the whole; the wire is in
:mod:`signalling.messages`, the rules of a room in :mod:`signalling.rooms`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auth import (
        AccessRules,
        Identity,
        NotPermitted,
        TokenError,
        TokenExpired,
        TokenVerifier,
        Verifier,
        VerifierSettings,
    )
    from .bus import Bus, BusUnavailable, MemoryBus
    from .dev import DevIssuer, DevModeError, default_key_path, require_loopback
    from .invites import InvitationKey, Invitations, InvitationSettings
    from .jwks import KeysUnavailable
    from .messages import IceServer
    from .relations import Relations, TokenRelations
    from .server import AddressInUse, BindError, SignallingServer
    from .settings import SignallingSettings

_MODULES = {
    "auth": (
        "AccessRules",
        "Identity",
        "NotPermitted",
        "TokenError",
        "TokenExpired",
        "TokenVerifier",
        "Verifier",
        "VerifierSettings",
    ),
    "bus": ("Bus", "BusUnavailable", "MemoryBus"),
    "dev": ("DevIssuer", "DevModeError", "default_key_path", "require_loopback"),
    "invites": ("InvitationKey", "InvitationSettings", "Invitations"),
    "jwks": ("KeysUnavailable",),
    "messages": ("IceServer",),
    "relations": ("Relations", "TokenRelations"),
    "server": ("AddressInUse", "BindError", "SignallingServer"),
    "settings": ("SignallingSettings",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AccessRules",
    "AddressInUse",
    "BindError",
    "Bus",
    "BusUnavailable",
    "DevIssuer",
    "DevModeError",
    "IceServer",
    "Identity",
    "InvitationKey",
    "InvitationSettings",
    "Invitations",
    "KeysUnavailable",
    "MemoryBus",
    "NotPermitted",
    "Relations",
    "SignallingServer",
    "SignallingSettings",
    "TokenError",
    "TokenExpired",
    "TokenRelations",
    "TokenVerifier",
    "Verifier",
    "VerifierSettings",
    "default_key_path",
    "require_loopback",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for: a client wants the messages, and not the whole server."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
