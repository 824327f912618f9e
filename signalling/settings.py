"""The settings of a signalling server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .ice_servers import IceServerSource, StaticIceServers
from .identity import TokenVerifier
from .invites import Invitations, InvitedOrVerified
from .limits import Limits, Network, RateLimiter, parse_networks
from .messages import MAX_MESSAGE_BYTES
from .metrics import Metrics
from .records import NoRecords, RecordSink
from .relations import Relations, TokenRelations
from .tls import TlsFiles
from .tracing import NoTracer, Tracer

LOOPBACK = parse_networks(("127.0.0.0/8", "::1/128"))
WEB_ROOT = Path(__file__).parent / "web"


@dataclass(frozen=True, kw_only=True)
class SignallingSettings:
    """How one server behaves. Raises :class:`ValueError` naming the field that makes no sense."""

    verifier: TokenVerifier
    """Checks the issuer's tokens. Stays the caller's: close it after the server."""

    invitations: Invitations = field(default_factory=Invitations)
    """Makes and checks invitations. The default has a key of this process alone."""

    relations: Relations = field(default_factory=TokenRelations)
    """Says who follows, or subscribes to, a room's host."""

    host: str = "127.0.0.1"
    """The address or name to bind; "" for all addresses."""

    port: int = 8080
    """The TCP port to bind; 0 for any free one."""

    web_root: Path = WEB_ROOT
    """The folder whose files are served over HTTP."""

    tls: TlsFiles | None = None
    """The certificate to serve with; ``None``: without TLS."""

    ice_servers: IceServerSource = field(default_factory=StaticIceServers)
    """The STUN and TURN servers that those are told to use who are in."""

    origins: frozenset[str] = frozenset()
    """Origins, such as ``https://play.example``, whose pages may connect besides our own."""

    hello_timeout_s: float = 10.0
    """How long a client may take to send its hello, in seconds."""

    token_notice_s: float = 20.0
    """How long before a client's token ends it is told so, in seconds; at the latest when half of
    the token's time is over."""

    ping_interval_s: float = 20.0
    """How often an open connection is pinged (RFC 6455 section 5.5.2), in seconds."""

    ping_timeout_s: float = 20.0
    """How long a client may take to answer such a ping, in seconds."""

    probe_timeout_s: float = 2.0
    """How long a host may take to show that it is there when another wants its room, in seconds."""

    write_timeout_s: float = 10.0
    """How long one message may take to leave for a client that reads slowly, in seconds."""

    close_timeout_s: float = 2.0
    """How long a client may take to answer the closing handshake, in seconds."""

    resume_window_s: float = 30.0
    """How long the seat of a client is kept that has lost its connection, in seconds."""

    limits: Limits = field(default_factory=Limits)
    """How much anyone may take."""

    rate_limiter: RateLimiter | None = None
    """Counts for addresses and users, by the rates of ``limits``; ``None``: this server alone."""

    proxies: tuple[Network, ...] = ()
    """Proxies in front of this server, whose word on a client's address counts
    (``X-Forwarded-For``)."""

    metrics_networks: tuple[Network, ...] = LOOPBACK
    """Whoever may read ``/metrics``, where there is no ``metrics_token``."""

    metrics_token: str = ""
    """What a reader of ``/metrics`` must show (``Authorization: Bearer``); empty: no token."""

    drain_s: float = 30.0
    """How long it may take at most to send all clients elsewhere before the server ends, in
    seconds."""

    drain_per_s: float = 100.0
    """How many clients are sent elsewhere a second: that many come to another server at once."""

    records: RecordSink = field(default_factory=NoRecords)
    """Who hears of what happens. Stays the caller's."""

    metrics: Metrics = field(default_factory=Metrics)
    """Where the server counts."""

    tracer: Tracer = field(default_factory=NoTracer)
    """Who keeps the traces. Stays the caller's."""

    @property
    def admission(self) -> TokenVerifier:
        """Checks whatever a client may show: a token of the issuer's, or an invitation."""
        return InvitedOrVerified(self.verifier, self.invitations)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: {self.port} is not between 0 and 65535")
        if not self.web_root.is_dir():
            raise ValueError(f"web_root: {self.web_root} is not a folder")
        if self.limits.outbox_bytes < MAX_MESSAGE_BYTES:
            raise ValueError(f"limits.outbox_bytes: must be at least {MAX_MESSAGE_BYTES}")
        for name in (
            "hello_timeout_s",
            "token_notice_s",
            "ping_interval_s",
            "ping_timeout_s",
            "probe_timeout_s",
            "write_timeout_s",
            "close_timeout_s",
            "resume_window_s",
            "drain_s",
            "drain_per_s",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")
