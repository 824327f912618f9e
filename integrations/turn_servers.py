"""TURN servers as the configuration has them, their secret as it is at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from signalling.ice_servers import IceServerSource, StaticIceServers
from signalling.messages import IceServer
from signalling.turn import TurnCredentials, parse_regions

from .secrets import Secrets, SecretUnavailable


async def turn_source(
    regions: Sequence[str],
    secrets: Secrets,
    *,
    static: Sequence[IceServer] = (),
    lifetime_s: float,
    home: str = "",
    issued: Callable[[], None] = lambda: None,
) -> IceServerSource:
    """Credentials for each peer, in ``regions`` (``NAME=URL``), and ``static`` servers for all.

    ``issued`` is called for each credential. The secret is ``turn.secret`` of ``secrets``. Raises
    :class:`ValueError` naming the setting.
    """
    if not regions:
        return StaticIceServers(static)
    try:
        secret = await secrets.get("turn.secret")
    except SecretUnavailable:
        raise ValueError("turn.secret: turn.regions need it") from None
    try:
        found = parse_regions(regions, secret.current)
    except ValueError as error:
        raise ValueError(f"turn.regions: {error}") from None
    if home and home not in {region.name for region in found}:
        raise ValueError(f"turn.home: {home!r} is none of turn.regions")
    return TurnCredentials(found, static=static, lifetime_s=lifetime_s, home=home, issued=issued)
