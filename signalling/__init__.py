"""Signalling: brings a host and its viewers together, and serves the web viewer.

It relays session descriptions and candidates between browsers and hosts that show a good token;
media never passes through it. :class:`SignallingServer` is the whole; the wire is in
:mod:`signalling.messages`, the rules of a room in :mod:`signalling.rooms`.
"""

from .auth import (
    Identity,
    TokenError,
    TokenExpired,
    TokenVerifier,
    Verifier,
    VerifierSettings,
)
from .bus import Bus, BusUnavailable, MemoryBus
from .dev import DevIssuer, DevModeError, default_key_path, require_loopback
from .jwks import KeysUnavailable
from .messages import IceServer
from .server import AddressInUse, BindError, SignallingServer
from .settings import SignallingSettings

__all__ = [
    "AddressInUse",
    "BindError",
    "Bus",
    "BusUnavailable",
    "DevIssuer",
    "DevModeError",
    "IceServer",
    "Identity",
    "KeysUnavailable",
    "MemoryBus",
    "SignallingServer",
    "SignallingSettings",
    "TokenError",
    "TokenExpired",
    "TokenVerifier",
    "Verifier",
    "VerifierSettings",
    "default_key_path",
    "require_loopback",
]
