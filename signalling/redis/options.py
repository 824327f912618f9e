"""The options of ``playcast serve`` about Redis, and the bus that they make."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..identity_options import UsageError
from .bus import RedisBus
from .settings import FORMS, RedisSettings
from .watch import BusWatch

URL_VARIABLE = "PLAYCAST_REDIS"

_OPTIONS = {
    "url": "--redis",
    "prefix": "--redis-prefix",
    "ca_file": "--redis-ca",
    "cert_file": "--redis-cert",
    "key_file": "--redis-key",
}


def add_redis_options(serve: argparse.ArgumentParser) -> None:
    options = serve.add_argument_group(
        "several servers", "servers with the same Redis and prefix share their rooms"
    )
    options.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get(URL_VARIABLE),
        help=f"{FORMS}; if it has a password, better in the variable {URL_VARIABLE}",
    )
    for name, what in (
        ("ca", "the authorities (PEM) that may vouch for Redis, instead of the system's"),
        ("cert", "the certificate (PEM) to show to Redis, where it asks for one"),
        ("key", "its key"),
    ):
        options.add_argument(f"--redis-{name}", metavar="FILE", type=Path, help=what)
    options.add_argument(
        "--redis-prefix",
        metavar="TEXT",
        default=RedisSettings.prefix,
        help="how all keys and channels begin (%(default)s)",
    )
    options.add_argument(
        "--redis-lease",
        metavar="SECONDS",
        type=float,
        default=RedisSettings.lease_s,
        help="how long the clients of a server that has died stay in their rooms (%(default)g)",
    )


def settings_of(
    options: argparse.Namespace, *, resume_window_s: float = 0.0
) -> RedisSettings | None:
    """The Redis that the options name. ``None``: none. Raises :class:`UsageError`.

    ``resume_window_s``: how long clients may take to come back.
    """
    if not options.redis:
        return None
    try:
        return RedisSettings(
            url=options.redis,
            ca_file=options.redis_ca,
            cert_file=options.redis_cert,
            key_file=options.redis_key,
            prefix=options.redis_prefix,
            lease_s=options.redis_lease,
            window_s=max(RedisSettings.window_s, 2 * resume_window_s),
        )
    except ValueError as error:
        field, _, wrong = str(error).partition(": ")
        raise UsageError(f"{_OPTIONS.get(field, '--redis-lease')}: {wrong}") from None


async def bus_of(
    options: argparse.Namespace, *, watch: BusWatch | None = None, resume_window_s: float = 0.0
) -> RedisBus | None:
    """The bus that the options ask for, connected; the caller's to close. ``None``: no Redis.

    ``resume_window_s``: how long clients may take to come back. Raises :class:`UsageError`, or
    :class:`.bus.BusUnavailable`.
    """
    settings = settings_of(options, resume_window_s=resume_window_s)
    return None if settings is None else await RedisBus.connect(settings, watch=watch)
