"""The part of the settings tree about the server itself, and what it makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator

from signalling.limits import RATES, Limit, parse_networks
from signalling.limits import Limits as ServerLimits
from signalling.settings import SignallingSettings
from signalling.tls import TlsFiles

from .section import Count, Port, Seconds, Section, Words

_LIMITS = ServerLimits()


class Tls(Section):
    """A certificate of the server's own. Read again when the files change."""

    certificate: Path | None = None
    """PEM file with the certificate and those that vouch for it."""

    key: Path | None = None
    """PEM file with its private key."""


class Limits(Section):
    """How much anyone may take."""

    connections: Count = _LIMITS.max_connections
    """TCP connections in all."""

    connections_per_address: Count = _LIMITS.max_connections_per_address
    """TCP connections from each IPv4 address or IPv6 /64."""

    connections_per_user: Count = _LIMITS.max_connections_per_user
    """Clients in rooms at one time, for each subject; hosts too."""

    rooms: Count = _LIMITS.max_rooms
    """Rooms with clients of this server."""

    outbox_bytes: Annotated[int, Field(ge=65_536)] = _LIMITS.outbox_bytes
    """How much may wait for a client that reads slowly before it is dropped, in bytes."""

    failures_free: Count = int(_LIMITS.failures_free)
    """Bad tokens that an address may show before it has to wait."""

    backoff_s: Seconds = _LIMITS.backoff_s
    """How long it waits after the next one, in seconds; twice as long after each further one."""

    max_backoff_s: Seconds = _LIMITS.max_backoff_s
    """How long it waits at most, in seconds."""

    rates: Words = ()
    """Rates other than the usual ones, as ``chat=1/5``: one a second, five at once."""

    @field_validator("rates")
    @classmethod
    def _known(cls, rates: tuple[str, ...]) -> tuple[str, ...]:
        for rate in rates:
            _rate(rate)
        return rates

    def made(self) -> ServerLimits:
        """As the server has them."""
        return ServerLimits(
            rates={**RATES, **dict(map(_rate, self.rates))},  # type: ignore[dict-item]
            max_connections=self.connections,
            max_connections_per_address=self.connections_per_address,
            max_connections_per_user=self.connections_per_user,
            max_rooms=self.rooms,
            outbox_bytes=self.outbox_bytes,
            failures_free=self.failures_free,
            backoff_s=self.backoff_s,
            max_backoff_s=self.max_backoff_s,
        )


class Server(Section):
    """``playcast serve``: where it listens, and for whom."""

    host: str = "127.0.0.1"
    """Address or name to listen on; empty for all."""

    port: Port = 8080
    """TCP port; 0 is any free one."""

    origins: Words = ()
    """Pages that may connect besides our own, as ``https://play.example``."""

    trusted_proxies: Words = ()
    """Networks of proxies whose ``X-Forwarded-For`` is believed, as ``10.0.0.0/8``."""

    metrics_networks: Words = tuple(map(str, SignallingSettings.metrics_networks))
    """Networks that may read ``/metrics``, where there is no token for it."""

    metrics_token: SecretStr = SecretStr("")
    """What a reader of ``/metrics`` must show (``Authorization: Bearer``)."""

    resume_window_s: Seconds = SignallingSettings.resume_window_s
    """How long the seat of a client is kept that has lost its connection, in seconds."""

    drain_s: Seconds = SignallingSettings.drain_s
    """How long it may take at most to send all clients elsewhere, in seconds."""

    drain_per_s: Annotated[float, Field(gt=0, le=100_000)] = SignallingSettings.drain_per_s
    """How many clients are sent elsewhere a second."""

    tls: Tls = Tls()
    limits: Limits = Limits()

    def parts(self) -> dict[str, Any]:
        """Fields of :class:`signalling.settings.SignallingSettings` that no option says.

        Raises :class:`signalling.tls.TlsError`.
        """
        tls = self.tls
        files = tls.certificate and tls.key and TlsFiles(tls.certificate, tls.key)
        return {
            "tls": files or None,
            "limits": self.limits.made(),
            "proxies": parse_networks(self.trusted_proxies),
            "metrics_networks": parse_networks(self.metrics_networks),
            "metrics_token": self.metrics_token.get_secret_value(),
            "resume_window_s": self.resume_window_s,
            "drain_s": self.drain_s,
            "drain_per_s": self.drain_per_s,
        }


def _rate(text: str) -> tuple[str, Limit]:
    """A rate's name and limit. Raises :class:`ValueError` in words."""
    name, _, numbers = text.partition("=")
    per_s, _, burst = numbers.partition("/")
    if name not in RATES:
        raise ValueError(f"there is no rate {name!r}; there are {', '.join(RATES)}")
    try:
        return name, Limit(float(per_s), float(burst))
    except ValueError:
        raise ValueError(f"{text!r} is not NAME=PER_SECOND/AT_ONCE, as chat=1/5") from None
