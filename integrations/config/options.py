"""From the settings tree to the commands' own options, which win over it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from signalling.messages import IceServer
from signalling.surroundings import Surroundings

from .names import FIELDS, TOKENS, Loaded, Value
from .sources import load

SERVE: Mapping[str, str] = {
    "server.host": "host",
    "server.port": "port",
    "server.origins": "origin",
    "identity.dev": "dev",
    "identity.clerk_publishable_key": "clerk_publishable_key",
    "identity.issuer": "issuer",
    "identity.jwks": "jwks",
    "identity.audience": "audience",
    "identity.authorized_parties": "authorized_party",
    "identity.allow_missing_party": "allow_missing_party",
    "identity.leeway_s": "leeway",
    "identity.admin_roles": "admin_role",
    "identity.host_roles": "host_role",
    "identity.moderator_roles": "moderator_role",
    "identity.player_roles": "player_role",
    "identity.viewer_roles": "viewer_role",
    "identity.follower_roles": "follower_role",
    "identity.subscriber_roles": "subscriber_role",
    "identity.role_claim": "role_claim",
    "identity.any_room": "any_room",
    "identity.clerk_organizations": "clerk_organization",
    "identity.email_domains": "email_domain",
    "identity.invitation_stay_s": "invitation_stay",
    "redis.url": "redis",
    "redis.prefix": "redis_prefix",
    "redis.lease_s": "redis_lease",
    "redis.ca": "redis_ca",
    "redis.certificate": "redis_cert",
    "redis.key": "redis_key",
    "turn.stun": "stun",
    "turn.static": "turn",
    "logs.level": "log_level",
}
"""The option of ``playcast serve`` that says the same as a setting, by its ``dest``."""

HOST: Mapping[str, str] = {
    "host.signalling": "signalling",
    "host.token": "token",
    "host.token_command": "token_command",
    "host.token_file": "token_file",
    "host.login": "login",
    "host.room": "room",
    "host.source": "source",
    "host.fps": "fps",
    "host.bitrate": "bitrate",
    "host.bind": "bind",
    "host.udp_port": "udp_port",
    "host.announce": "announce",
    "host.max_viewers": "max_viewers",
    "turn.stun": "stun",
    "turn.static": "turn",
    "logs.level": "log_level",
}
"""The same of ``playcast host``."""

VIEW: Mapping[str, str] = {
    "view.signalling": "signalling",
    "view.jitter_ms": "jitter",
    "view.wait_s": "wait",
    "logs.level": "log_level",
}
"""The same of ``playcast view``."""

OVERRIDES: Mapping[str, str] = {
    "server.tls.certificate": "tls_cert",
    "server.tls.key": "tls_key",
    "server.trusted_proxies": "proxy",
    "server.metrics_networks": "metrics_from",
    "server.limits.connections": "max_connections",
    "server.limits.connections_per_address": "max_connections_per_address",
    "server.limits.rooms": "max_rooms",
    "server.resume_window_s": "resume_window",
    "server.drain_s": "drain",
}
"""Options of ``playcast serve`` that stand in the place of a setting: what they do not say, the
server takes from the settings."""

COMMANDS = {"serve": SERVE, "host": HOST, "view": VIEW}

_ICE = ("turn.stun", "turn.static")


def option_defaults(loaded: Loaded, names: Mapping[str, str]) -> dict[str, Any]:
    """Defaults for options, of the settings that some source gives; the others keep their own.

    What lets a host into a server is nothing to one that starts a server of its own.
    """
    useless = () if loaded.settings.host.signalling else TOKENS
    return {
        option: _value(loaded, name)
        for name, option in names.items()
        if name in loaded.given and name not in useless
        if _value(loaded, name) not in ("", [], None)
    }


def configured(
    parse: Callable[[Surroundings], argparse.Namespace],
    names: Mapping[str, str],
    *,
    file: Path | None = None,
    secrets: Path | None = None,
    environment: Mapping[str, str],
) -> tuple[Loaded, argparse.Namespace]:
    """The settings, and a command's options with defaults from them.

    ``parse`` parses the command line with these surroundings, ``names`` has the option of each
    setting; the rest is as in :func:`.sources.load`. Raises :class:`.names.ConfigError`.
    """
    parse(Surroundings())  # --help and mistakes end it here, in the words of the real defaults
    said = said_by_options(parse, names)
    loaded = load(file=file, secrets=secrets, environment=environment, options=said)
    surroundings = Surroundings(defaults=option_defaults(loaded, names))
    options = parse(surroundings)
    surroundings.complete(options)
    return loaded, options


def said_by_options(
    parse: Callable[[Surroundings], argparse.Namespace], names: Mapping[str, str]
) -> dict[str, Value]:
    """What a command's options say about settings; ``names`` has the option of each.

    ``parse`` parses the command line with these surroundings.
    """
    names = {name: option for name, option in names.items() if name not in _ICE}
    options = parse(Surroundings(defaults=dict.fromkeys(names.values())))
    return {
        name: Value(getattr(options, option), f"option --{option.replace('_', '-')}")
        for name, option in names.items()
        if getattr(options, option) is not None
    }


def _value(loaded: Loaded, name: str) -> Any:
    value: Any = loaded.settings
    for part in name.split("."):
        value = getattr(value, part)
    if isinstance(value, tuple):
        words = [_open(item) for item in value]
        return [IceServer.parse(word) for word in words] if name in _ICE else words
    return _open(value)


def _open(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


assert {*SERVE, *OVERRIDES, *HOST, *VIEW} <= FIELDS.keys()
