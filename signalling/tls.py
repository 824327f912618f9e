"""TLS from files that may change under a running server.

A context cannot be told to forget what it was given, so there is a new one for every change; the
one that the listening socket knows hands each new handshake to the newest (by OpenSSL's server-name
callback, which comes for clients without a server name too). Open connections stay as they are.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class TlsError(Exception):
    """The certificate or its key cannot be used. Names the file and says why."""


class TlsFiles:
    """A certificate chain and its private key, in PEM files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises :class:`TlsError`."""
        self._certificate = certificate
        self._key = key
        self._stamp = self._read_stamp()
        self._newest = self._load()
        self.context = self._load()
        """For the listening socket."""

        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Use what the files hold now, if they have changed; ``False``: they have not.

        Raises :class:`TlsError` once for each change, and goes on with what was there before.
        """
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._newest = self._load()
        log.info("the certificate %s was read anew", self._certificate)
        return True

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise TlsError(self._explain(error)) from error
        except OSError as error:
            raise TlsError(f"{self._unreadable()}: {error.strerror}") from error
        return context

    def _read_stamp(self) -> Stamp:
        stamps = []
        for path in (self._certificate, self._key):
            try:
                status = path.stat()
            except OSError as error:
                raise TlsError(f"cannot read {path}: {error.strerror}") from error
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def _unreadable(self) -> str:
        for path in (self._certificate, self._key):
            try:
                path.open("rb").close()
            except OSError:
                return f"cannot read {path}"
        return f"cannot read {self._certificate} or {self._key}"

    def _explain(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{self._key} is not the key of the certificate in {self._certificate}"
        if b"-----BEGIN CERTIFICATE-----" not in self._certificate.read_bytes():
            return f"{self._certificate} holds no certificate in PEM"
        if b"ENCRYPTED" in self._key.read_bytes():
            return f"{self._key} is encrypted: give the key without a passphrase"
        return f"{self._key} holds no private key in PEM that fits {self._certificate}"


def _no_password() -> bytes:
    """Without one OpenSSL would ask on the terminal."""
    return b""
