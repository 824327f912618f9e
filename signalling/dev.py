"""Dev mode: a key of our own and tokens for the asking, on loopback only.

The key lives in a file that only its owner can read, so that ``playcast token`` can mint for a
server that is already running. Whoever can read it can enter every room of every dev server of
that user: :func:`require_loopback` keeps such servers off the network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .auth import ALGORITHM, Verifier, VerifierSettings
from .jwks import MIN_RSA_BITS, KeySet
from .net import is_loopback

log = logging.getLogger(__name__)

ISSUER = "playcast-dev"
AUDIENCE = "playcast"
ENVIRONMENT = "PLAYCAST_ENVIRONMENT"
"""The variable that says where a program runs: ``development``, ``test`` or something serious."""


class DevModeError(Exception):
    """Dev mode cannot do this safely. Says what to do instead."""


def require_development(environment: Mapping[str, str] = os.environ) -> None:
    """Raises :class:`DevModeError` when ``environment`` says that this is no place for dev mode."""
    said = environment.get(ENVIRONMENT, "").strip().lower()
    if said not in ("", "development", "test"):
        raise DevModeError(
            f"dev mode gives tokens to anyone on this machine, and ${ENVIRONMENT} says {said!r}:"
            " configure an issuer (--issuer, --jwks, --audience) instead"
        )


def require_loopback(host: str) -> None:
    """Raises :class:`DevModeError` unless ``host`` is a loopback address."""
    if not is_loopback(host):
        raise DevModeError(
            f"dev mode gives tokens to anyone on this machine and so binds only to loopback, not to"
            f" {host or 'all addresses'}: use --host 127.0.0.1, or configure an issuer"
            " (--issuer, --jwks, --audience) to serve others"
        )


def default_key_path() -> Path:
    """Where dev servers and ``playcast token`` of one user meet."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "playcast" / "dev-key.pem"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "playcast" / "dev-key.pem"


class DevIssuer:
    """Makes tokens, and the :class:`Verifier` that accepts them."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._jwk = _public_jwk(key)

    @classmethod
    def generate(cls) -> DevIssuer:
        """An issuer with a new key that lives only in memory."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS))

    @classmethod
    def load(cls, path: Path | None = None) -> DevIssuer:
        """The issuer whose key is in ``path`` (default: :func:`default_key_path`).

        Raises :class:`DevModeError` when there is no such file, when it holds no RSA key, or when
        others than its owner have access to it.
        """
        path = path or default_key_path()
        try:
            pem = _read_private(path)
        except FileNotFoundError:
            raise DevModeError(
                f"there is no dev key in {path}: start a dev server first (playcast serve)"
            ) from None
        except OSError as error:
            raise DevModeError(f"cannot read the dev key {path}: {error.strerror}") from error
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise DevModeError(f"{path} holds no private key: delete it and try again") from error
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
            raise DevModeError(f"{path} holds no RSA key of {MIN_RSA_BITS} bits: delete it")
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path | None = None) -> DevIssuer:
        """Like :meth:`load`, but makes the file where there is none.

        Of several processes that start at once, one makes the key and all use it. Raises
        :class:`DevModeError`.
        """
        path = path or default_key_path()
        if not os.path.lexists(path):
            try:
                _write_private(path, cls.generate()._pem())
            except OSError as error:
                raise DevModeError(f"cannot write the dev key {path}: {error.strerror}") from error
        return cls.load(path)

    def mint(self, subject: str, room: str, role: str, lifetime_s: float = 3600.0) -> str:
        """A token for ``room`` (``*``: any) as ``role``, good for ``lifetime_s`` seconds.

        ``role`` may be several words: each :data:`.messages.Role`, ``follower``, ``subscriber``.
        """
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "room": room,
            "role": role,
            "iat": now,
            "nbf": now,
            "exp": int(now + lifetime_s),
        }
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self._jwk["kid"]})

    def jwks(self) -> dict[str, Any]:
        """The JWK Set (RFC 7517) of the public key."""
        return {"keys": [self._jwk]}

    def verifier(self) -> Verifier:
        """A verifier of this issuer's tokens, good for loopback servers only."""
        document = json.dumps(self.jwks()).encode()

        async def source() -> bytes:
            return document

        log.warning("dev mode: tokens are signed with a key of our own; loopback only")
        settings = VerifierSettings(issuer=ISSUER, audience=AUDIENCE, leeway_s=0.0)
        # To ask ourselves again costs nothing that must be spared.
        return Verifier(settings, keys=KeySet(source, cooldown_s=0.0), loopback_only=True)

    def _pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def _public_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    # The key id is the thumbprint of RFC 7638.
    members = {name: jwk[name] for name in ("e", "kty", "n")}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    thumbprint = urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return {**members, "use": "sig", "alg": ALGORITHM, "kid": thumbprint}


def _read_private(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise DevModeError(f"the dev key {path} is not a file of this user: delete it")
        if status.st_mode & 0o077:
            raise DevModeError(
                f"others may read the dev key {path}: delete it, and a new one will be made"
            )
        return file.read()


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file 0600; linking it is atomic and fails where another was quicker.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".dev-key-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.link(name, path)
    except FileExistsError:
        log.debug("another process has made %s", path)
    finally:
        Path(name).unlink()
