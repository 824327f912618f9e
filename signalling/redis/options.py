"""The options of ``playcast serve`` about Redis, and the bus that they make."""

from __future__ import annotations

import argparse
import os

from ..bus import Bus
from ..identity_options import UsageError
from .bus import RedisBus
from .client import FORMS, RedisSettings

URL_VARIABLE = "PLAYCAST_REDIS"


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


async def bus_of(options: argparse.Namespace) -> Bus | None:
    """The bus that the options ask for, connected; the caller's to close. ``None``: no Redis.

    Raises :class:`UsageError`, or :class:`.bus.BusUnavailable`.
    """
    if not options.redis:
        return None
    try:
        settings = RedisSettings(
            url=options.redis, prefix=options.redis_prefix, lease_s=options.redis_lease
        )
    except ValueError as error:
        field, _, wrong = str(error).partition(": ")
        name = {"url": "--redis", "prefix": "--redis-prefix"}.get(field, "--redis-lease")
        raise UsageError(f"{name}: {wrong}") from None
    return await RedisBus.connect(settings)
