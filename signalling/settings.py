"""The settings of a signalling server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .identity import TokenVerifier
from .invites import Invitations, InvitedOrVerified
from .messages import MAX_MESSAGE_BYTES, IceServer
from .metrics import Metrics
from .relations import Relations, TokenRelations
from .tracing import NoTracer, Tracer

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

    ice_servers: tuple[IceServer, ...] = ()
    """The STUN and TURN servers that clients are told to use."""

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

    outbox_bytes: int = 1024 * 1024
    """How much may wait for one client, in bytes, before it is dropped as too slow."""

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
        if self.outbox_bytes < MAX_MESSAGE_BYTES:
            raise ValueError(f"outbox_bytes: must be at least {MAX_MESSAGE_BYTES}")
        for name in (
            "hello_timeout_s",
            "token_notice_s",
            "ping_interval_s",
            "ping_timeout_s",
            "probe_timeout_s",
            "write_timeout_s",
            "close_timeout_s",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")
