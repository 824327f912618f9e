"""What single values cannot tell: settings that do not go together, or not in this profile."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from signalling.audit import MIN_KEY_BYTES
from signalling.invites import read_keys
from signalling.net import is_loopback
from signalling.redis.settings import RedisSettings
from signalling.tls import TlsError, TlsFiles
from signalling.turn import parse_regions

from .names import FIELDS, Problem, Value, is_secret
from .tree import Settings


def broken_rules(
    settings: Settings, given: Mapping[str, Value], bad: set[str], file: Path | None
) -> list[Problem]:
    """All that are broken. Those that touch a setting of ``bad`` are passed over: its value is not
    known.
    """
    found = []
    for rule in (_identity, _reach, _redis, _turn, _audit, _reports, _telemetry):
        for names, text in rule(settings):
            name = names.split()[0]
            if bad.isdisjoint(names.split()):
                found.append(Problem(name, text, given[name].origin if name in given else ""))
    found += [Problem(name, text) for name, text in _private(settings, given, file)]
    return found


Broken = Iterator[tuple[str, str]]
"""The names of the settings that a rule is about, the one to change first, and what is wrong."""


def _identity(settings: Settings) -> Broken:
    identity = settings.identity
    try:
        read_keys(identity.invitation_keys.get_secret_value())
    except ValueError as error:
        yield "identity.invitation_keys", str(error)
    if identity.dev:
        if settings.serious:
            text = f"gives tokens to anyone on this machine: not in {settings.environment}"
            yield "identity.dev environment", text
        if settings.public:
            text = f"binds to loopback alone, and server.host is {settings.server.host!r}"
            yield "identity.dev server.host", text
        return
    if identity.clerk_publishable_key:
        for name in ("issuer", "audience"):
            if getattr(identity, name):
                text = "identity.clerk_publishable_key says it already"
                yield f"identity.{name} identity.clerk_publishable_key", text
        if not identity.authorized_parties:
            text = "identity.clerk_publishable_key needs it: the page that people sign in to"
            yield "identity.authorized_parties identity.clerk_publishable_key", text
        return
    if identity.issuer and not identity.jwks and not identity.issuer.startswith("https://"):
        text = "where are the issuer's keys? Only an https:// issuer says so itself"
        yield "identity.jwks identity.issuer", text
    if identity.jwks and not identity.issuer:
        yield "identity.issuer identity.jwks", "whose keys are these?"
    if identity.issuer and not (identity.audience or identity.authorized_parties):
        text = "this or identity.authorized_parties must say for whom tokens are made"
        yield "identity.audience identity.issuer identity.authorized_parties", text


def _reach(settings: Settings) -> Broken:
    server = settings.server
    for name in ("certificate", "key"):
        path = getattr(server.tls, name)
        other = {"certificate": "key", "key": "certificate"}[name]
        if path is not None and getattr(server.tls, other) is None:
            yield f"server.tls.{other} server.tls.{name}", f"server.tls.{name} needs it"
        if path is not None and not path.is_file():
            yield f"server.tls.{name}", f"{path} is not a file"
    certificate, key = server.tls.certificate, server.tls.key
    if certificate and certificate.is_file() and key and key.is_file():
        try:
            TlsFiles(certificate, key)
        except TlsError as error:
            yield "server.tls.certificate server.tls.key", str(error)
    for name in ("trusted_proxies", "metrics_networks"):
        for network in getattr(server, name):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                yield f"server.{name}", str(error)
    for origin in server.origins:
        parts = urlsplit(origin)
        written = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme not in ("http", "https") or not parts.hostname or origin != written:
            yield "server.origins", f"{origin!r} is no origin: https://HOST or https://HOST:PORT"
        elif settings.serious and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            text = f"{origin} can be tampered with on its way: not in {settings.environment}"
            yield "server.origins environment", text
    secured = server.tls.certificate or server.trusted_proxies
    if settings.serious and settings.public and not secured:
        text = (
            f"in {settings.environment} the server needs TLS, or a proxy that has it:"
            " set server.tls or server.trusted_proxies"
        )
        yield "server.tls.certificate server.trusted_proxies server.host environment", text


_REDIS_NAMES = {"ca_file": "ca", "cert_file": "certificate", "key_file": "key"}


def _redis(settings: Settings) -> Broken:
    redis = settings.redis
    url = redis.url.get_secret_value()
    if not url:
        if settings.events.publish:
            yield "events.publish redis.url", "needs redis.url: events are published there"
        return
    try:
        RedisSettings(
            url=url,
            ca_file=redis.ca,
            cert_file=redis.certificate,
            key_file=redis.key,
            prefix=redis.prefix,
            lease_s=redis.lease_s,
        )
    except ValueError as error:
        field, _, text = str(error).partition(": ")
        yield f"redis.{_REDIS_NAMES.get(field, field)} redis.url redis.prefix redis.lease_s", text


def _turn(settings: Settings) -> Broken:
    turn = settings.turn
    try:
        regions = parse_regions(turn.regions, turn.secret.get_secret_value)
    except ValueError as error:
        yield "turn.regions", str(error)
        return
    missing = [region.name for region in regions if not region.secret()]
    if missing:
        yield "turn.secret turn.regions", f"there is none for {', '.join(missing)}"
    if turn.home and turn.home not in {region.name for region in regions}:
        yield "turn.home turn.regions", f"{turn.home!r} is none of turn.regions"


def _audit(settings: Settings) -> Broken:
    if 0 < len(settings.audit.key.get_secret_value().encode()) < MIN_KEY_BYTES:
        yield "audit.key", f"takes {MIN_KEY_BYTES} characters or more"


def _reports(settings: Settings) -> Broken:
    for name, library, on in (
        ("sentry.dsn", "sentry_sdk", settings.sentry.dsn.get_secret_value()),
        ("telemetry.endpoint", "opentelemetry", settings.telemetry.endpoint),
    ):
        if on and find_spec(library) is None:
            yield name, 'needs pip install "playcast[operations]"'
    parts = urlsplit(settings.sentry.dsn.get_secret_value())
    if any(parts) and not (parts.scheme and parts.username and parts.path.strip("/").isdigit()):
        yield "sentry.dsn", "is not a Sentry DSN: https://KEY@HOST/PROJECT"


def _telemetry(settings: Settings) -> Broken:
    telemetry = settings.telemetry
    parts = urlsplit(telemetry.endpoint)
    if telemetry.endpoint and (parts.scheme not in ("http", "https") or not parts.hostname):
        yield "telemetry.endpoint", "takes http://HOST:4318/v1/traces, or https"
    try:
        telemetry.parsed_headers()
    except ValueError as error:
        yield "telemetry.headers", str(error).partition(": ")[2]


def _private(settings: Settings, given: Mapping[str, Value], file: Path | None) -> Broken:
    """Secrets in a file that everybody may read are none."""
    if not settings.serious or file is None or not file.is_file():
        return
    if file.stat().st_mode & stat.S_IROTH:
        for name, value in given.items():
            if is_secret(FIELDS[name]) and value.origin == f"file {file}":
                text = f"is a secret, and everybody may read {file}: take that right away"
                yield name, text
