"""The ICE servers that signalling names, as connections take them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from peer.gathering import IceServer
from signalling import messages

log = logging.getLogger(__name__)

MAX_ICE_SERVERS = 8
"""More are ignored."""


def ice_servers_of(given: Iterable[messages.IceServer]) -> tuple[IceServer, ...]:
    """Without doubles, and without what makes no sense."""
    found: dict[IceServer, None] = {}
    for server in given:
        for url in server.urls:
            try:
                found[IceServer(url, server.username, server.credential)] = None
            except ValueError as error:
                log.warning("an ICE server was left out: %s", error)
    return tuple(found)[:MAX_ICE_SERVERS]
