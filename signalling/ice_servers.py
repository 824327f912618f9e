"""The STUN and TURN servers that a member of a room is told to use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .messages import IceServer


class IceServerSource(Protocol):
    """Who has the ICE servers. Asked once a connection, for members who may watch and for hosts."""

    def ice_servers(self, *, room: str, peer: str, now: float, region: str = "") -> list[IceServer]:
        """The servers for ``peer``, credentials included. ``now`` in seconds of Unix time.

        ``region`` is where the client says it is; an unknown one counts as none.
        """


class StaticIceServers:
    """The same servers for everyone."""

    def __init__(self, servers: Sequence[IceServer] = ()) -> None:
        self._servers = list(servers)

    def ice_servers(self, *, room: str, peer: str, now: float, region: str = "") -> list[IceServer]:
        return self._servers
