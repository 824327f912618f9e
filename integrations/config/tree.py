"""The settings: every one of them, its unit, its default.

A setting's name is its path, as ``server.port``; the environment has it as
``PLAYCAST_SERVER__PORT`` and a secret directory as a file ``server__port``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from peer.signalling_settings import check_server_url
from signalling.invites import MAX_LIFETIME_S, InvitationSettings
from signalling.messages import IceServer
from signalling.net import is_loopback

from ..errors import SentrySettings
from ..logs import LogSettings
from ..record_sinks import AuditSection, EventsSection
from ..tracing import TelemetrySettings
from .section import Port, Seconds, SecretWords, Section, Words
from .server import Server

Environment = Literal["development", "test", "staging", "production"]

DEFAULTS: dict[str, dict[str, object]] = {
    "staging": {"logs.format": "json", "logs.level": "info"},
    "production": {"logs.format": "json", "logs.level": "info"},
}
"""What a profile sets where nothing else does, by the setting's name."""


def normal(environment: object) -> object:
    """The profile that somebody means who writes it in capitals, or with a space."""
    return environment.strip().lower() if isinstance(environment, str) else environment


def _checked(urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        check_server_url(url)
    return urls


Servers = Annotated[Words, AfterValidator(_checked)]
"""WebSockets of signalling servers."""


class Identity(Section):
    """Whose tokens are accepted, and what they let do."""

    dev: bool = False
    """Make a key and tokens of our own; loopback only, and in development only."""

    clerk_publishable_key: str = ""
    """The Clerk instance whose sessions are accepted: ``pk_…``."""

    issuer: str = ""
    """The ``iss`` of the tokens that are accepted."""

    jwks: str = ""
    """Where the issuer's keys are: a URL, or a file; empty: where the issuer says they are."""

    audience: str = ""
    """The ``aud`` that tokens are made for."""

    authorized_parties: Words = ()
    """The pages that tokens are made for (``azp``), as ``https://play.example``."""

    allow_missing_party: bool = False
    """Take tokens without ``azp`` too: a desktop host's."""

    leeway_s: Annotated[float, Field(ge=0, le=300)] = 5.0
    """How far the issuer's clock may be from ours, in seconds."""

    admin_roles: Words = ()
    """The issuer's roles or permissions that make an admin; empty: ``admin``."""

    host_roles: Words = ()
    """Those that let host; empty: ``host``."""

    moderator_roles: Words = ()
    """Those that make a moderator; empty: ``moderator``."""

    player_roles: Words = ()
    """Those that let play; empty: ``player``."""

    viewer_roles: Words = ()
    """Those that let watch; ``*`` is everyone; empty: ``viewer``, with Clerk everyone."""

    follower_roles: Words = ()
    """Those that a room's followers have; empty: ``follower``."""

    subscriber_roles: Words = ()
    """Those that a room's subscribers have; empty: ``subscriber``."""

    role_claim: str = ""
    """Where tokens have their roles, as ``realm_access.roles``; empty: ``role``."""

    any_room: bool = False
    """Tokens that name no room are good for every room; with Clerk they always are."""

    clerk_organizations: Words = ()
    """Organizations whose roles count; ``*`` is any."""

    email_domains: Words = ()
    """Only who has a verified e-mail address in one of these."""

    invitation_keys: SecretStr = SecretStr("")
    """Lines of ``ID:BASE64``, keys that sign invitations, the first of which signs; servers that
    share rooms share them. Empty: one of the process alone."""

    invitation_stay_s: Annotated[float, Field(ge=0, le=MAX_LIFETIME_S)] = InvitationSettings.stay_s
    """How long after an invitation's end who came by it may stay, in seconds."""


class Redis(Section):
    """The Redis that several servers share."""

    url: SecretStr = SecretStr("")
    """``redis://USER:PASSWORD@HOST:6379/0`` and its kin; empty: one server alone."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = "playcast:"
    """How every key and channel begins."""

    lease_s: Seconds = 5.0
    """How long clients of a server that has died stay in their rooms, in seconds."""

    ca: Path | None = None
    """PEM file of the authorities that may vouch for Redis, instead of the system's."""

    certificate: Path | None = None
    """PEM file of the certificate to show to Redis, where it asks for one."""

    key: Path | None = None
    """PEM file of its private key."""


class Turn(Section):
    """STUN and TURN servers that clients are told of."""

    stun: Words = ()
    """``stun:HOST:PORT``."""

    static: SecretWords = ()
    """TURN servers with a fixed login: ``turn:USER:PASSWORD@HOST:PORT``."""

    regions: Words = ()
    """coturns that share ``turn.secret`` with us, ``NAME=turn:HOST:3478?transport=udp``; a region
    has as many as it has URLs."""

    secret: SecretStr = SecretStr("")
    """Their ``static-auth-secret``, or ``NAME=SECRET`` words for each region."""

    home: str = ""
    """The region of clients that name none; empty: the first one."""

    lifetime_s: Seconds = 12 * 3600.0
    """How long credentials are good, in seconds: longer than a stream."""

    @field_validator("stun")
    @classmethod
    def _stun(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            IceServer.parse(url)
        return urls

    @field_validator("static")
    @classmethod
    def _static(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(urls, 1):
            try:
                IceServer.parse(url.get_secret_value())
            except ValueError:
                # What is wrong with it may hold the password.
                raise ValueError(f"number {number} is not turn:USER:PASSWORD@HOST:PORT") from None
        return urls


class Host(Section):
    """``playcast host``: defaults of its options."""

    signalling: Servers = ()
    """The servers to join, ``wss://HOST/ws``, of the same rooms, in the order to try them; empty:
    one of its own."""

    token: SecretStr = SecretStr("")
    """What they ask for. The strongest source that names this or one of the next three decides
    alone; it may name one of them."""

    token_command: str = ""
    """Run for each token, which is its first line."""

    token_file: Path | None = None
    """Read for each token."""

    login: str = ""
    """The issuer whose login (``playcast login``) has the tokens; ``*`` is the only one."""

    room: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "play"
    """The room to stream in."""

    source: Literal["auto", "x11", "pattern", "game"] = "auto"
    """A display, a test picture or a game of its own."""

    fps: Annotated[int, Field(ge=1, le=240)] = 60
    """Frames a second, at most."""

    bitrate: Annotated[int, Field(ge=100_000, le=1_000_000_000)] = 8_000_000
    """Bits a second, at most."""

    bind: Words = ()
    """Addresses for media; empty: loopback, or with a server every one."""

    udp_port: Port = 0
    """UDP port for all media; 0 is any."""

    announce: Words = ()
    """Addresses that viewers see instead, as ``203.0.113.5`` or with a port."""

    max_viewers: Annotated[int, Field(ge=1, le=10_000)] = 32
    """At a time."""


class View(Section):
    """``playcast view``: defaults of its options."""

    signalling: Servers = ()
    """Other servers of the link's room, ``wss://HOST/ws``, where the link's own cannot be reached.
    """

    jitter_ms: Annotated[int, Field(ge=0, le=2000)] = 0
    """Even out so much of the network's jitter, in milliseconds."""

    wait_s: Seconds = 15.0
    """How long to wait for a picture, in seconds."""


class Settings(BaseSettings):
    """The tree."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    environment: Annotated[Environment, BeforeValidator(normal)] = "development"
    """The profile: what is allowed and what is the default depends on it."""

    server: Server = Server()
    identity: Identity = Identity()
    redis: Redis = Redis()
    turn: Turn = Turn()
    host: Host = Host()
    view: View = View()
    logs: LogSettings = LogSettings()
    audit: AuditSection = AuditSection()
    events: EventsSection = EventsSection()
    sentry: SentrySettings = SentrySettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is handed in, and nothing else: :mod:`.sources` reads, and knows where from."""
        return (init_settings,)

    @property
    def serious(self) -> bool:
        """Whether others than its developers may depend on it."""
        return self.environment in ("staging", "production")

    @property
    def public(self) -> bool:
        """Whether the server listens where other machines reach it."""
        return not is_loopback(self.server.host)
