"""ICE (RFC 8445) of one connection, on the hub's sockets: gather, check, stay connected.

Who offers controls. The hub's own candidates are ready at once and go into the description; what
STUN and TURN servers add is trickled (RFC 8838). Whenever the pair that is sent by is chosen or
changes, `on_path` hears where the hub has to send from then on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import string
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from aioice import Candidate, stun
from aioice.mdns import is_mdns_hostname

from native import Address
from peer._aiortc import IceAgent, IceTiming, RelayPort, StunEndpoint
from peer.gathering import Gatherer, IceServer, LocalCandidate, gatherer_of
from peer.hub import DatagramPort, MediaHub, SockAddr, SocketPort
from peer.relay_bridge import RelayBridge
from peer.sdp import Fingerprint, SdpError, Transport

__all__ = ["IceEvents", "IceServer", "IceSettings", "IceTiming", "IceTransport"]

logger = logging.getLogger(__name__)

MAX_REMOTE_CANDIDATES = 64
"""Candidates that one viewer may send; more are ignored."""

_UFRAG_CHARACTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class IceSettings:
    """How a connection finds its way. The sockets are the hub's: see `HubSettings`."""

    servers: tuple[IceServer, ...] = ()
    """STUN and TURN servers."""
    relay_only: bool = False
    """Offer and use nothing but relayed candidates."""
    gather_timeout: float = 5.0
    """Seconds that a server gets to answer."""
    timing: IceTiming = field(default_factory=IceTiming)


class IceEvents(Protocol):
    """What an :class:`IceTransport` tells its owner."""

    def on_path(self, socket: int, to: Address, channel: int) -> None:
        """The hub has to send there from now on, by that socket; `channel` as in Peer.set_path."""

    def on_candidate(self, candidate: str) -> None:
        """Another candidate for the viewer, as the value of a=candidate; "": that was the last."""

    def on_consent(self, fresh: bool) -> None:
        """The viewer stopped answering, or answers again."""

    def on_expired(self) -> None:
        """The viewer has not answered for so long that nothing may be sent any more."""


class IceTransport:
    """One connection's ICE."""

    def __init__(
        self, hub: MediaHub, settings: IceSettings, events: IceEvents, *, controlling: bool = True
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._events = events
        self._gatherer: Gatherer = gatherer_of(hub)
        self._tasks: set[asyncio.Task[None]] = set()
        self._bridge: RelayBridge | None = None
        self._remote_count = 0
        self._gathering = 0
        self.candidates: list[str] = []
        """Values of a=candidate that were gathered so far."""
        self.ufrag = "".join(secrets.choice(_UFRAG_CHARACTERS) for _ in range(12))
        self.password = "".join(secrets.choice(_UFRAG_CHARACTERS) for _ in range(24))
        self.agent = IceAgent(
            self,
            self.ufrag,
            self.password,
            timing=settings.timing,
            controlling=controlling,
            relay_only=settings.relay_only,
        )

    @property
    def complete(self) -> bool:
        """No more candidates will come."""
        return self._gathering == 0

    @property
    def relayed(self) -> bool:
        """What is sent goes through a TURN server."""
        selected = self.agent.selected
        return selected is not None and isinstance(selected[0].port, RelayPort)

    def gather(self) -> None:
        """Gather: the host's candidates at once, those of servers in the background."""
        if not self._settings.relay_only:
            for base in self._gatherer.bases():
                self._attach(base)
            self.candidates += [c.to_sdp() for c in self._gatherer.hosts()]
        for server in self._settings.servers:
            if self._settings.relay_only and server.url.startswith("stun"):
                continue
            self._gathering += 1
            self._spawn(self._gather_from(server))

    async def wait_gathered(self) -> None:
        """Until every server has answered or failed."""
        if tasks := list(self._tasks):
            await asyncio.wait(tasks)

    def transport(self, fingerprints: tuple[Fingerprint, ...]) -> Transport:
        """Our side for the offer, with the candidates known so far."""
        return Transport(
            ufrag=self.ufrag,
            password=self.password,
            fingerprints=fingerprints,
            candidates=tuple(self.candidates),
            complete=self.complete,
        )

    async def connect(self, remote: Transport) -> None:
        """Find a way. ConnectionError when there is none in time."""
        self.agent.remote_username = remote.ufrag
        self.agent.remote_password = remote.password
        self.agent.remote_is_lite = remote.ice_lite
        for candidate in remote.candidates:
            await self.add_candidate(candidate)
        await self.agent.connect()

    async def add_candidate(self, line: str) -> None:
        """A candidate of the viewer: the value of a=candidate, or "" for the last.

        SdpError when it is malformed. What cannot be used here (TCP, other components, names,
        addresses that are no host's) is ignored.
        """
        value = line.strip().removeprefix("a=").removeprefix("candidate:")
        if not value or self.agent.closing:
            return
        candidate = _read_candidate(value)
        if candidate is None:
            return
        self._remote_count += 1
        if self._remote_count > MAX_REMOTE_CANDIDATES:
            return
        if is_mdns_hostname(candidate.host):
            self._spawn(self._resolve(candidate))
        else:
            await self.agent.add_remote_candidate(candidate)

    async def close(self) -> None:
        """Stop checking, detach from the hub. Closing twice is fine."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.agent.close()
        self._close_bridge()

    # What the agent says ----------------------------------------------------------------------

    def pair_selected(self, port: DatagramPort, address: SockAddr) -> None:
        self._close_bridge()
        if isinstance(port, SocketPort):
            self._events.on_path(port.index, port.native_address(address), 0)
        elif isinstance(port, RelayPort) and port.server is not None:
            # A check came back through it: its channel is bound.
            channel = port.channel_of(address)
            assert channel is not None
            server = port.socket.native_address(port.server)
            self._events.on_path(port.socket.index, server, channel)
        elif isinstance(port, RelayPort):
            self._spawn(self._open_bridge(port, address))

    def consent_changed(self, fresh: bool) -> None:
        self._events.on_consent(fresh)

    def consent_expired(self) -> None:
        self._events.on_expired()

    # ------------------------------------------------------------------------------------------

    def _attach(self, local: LocalCandidate) -> None:
        assert local.port is not None
        endpoint = StunEndpoint(self.agent, local.port)
        endpoint.connection_made(local.port.attach(self.ufrag, endpoint))
        self.agent.add_endpoint(endpoint, local.candidate)

    async def _gather_from(self, server: IceServer) -> None:
        found: list[LocalCandidate] = []
        try:
            found = await self._gatherer.server(server, self._settings.gather_timeout)
        except (OSError, stun.TransactionError) as error:  # TimeoutError is an OSError
            why = str(error) or "no answer in time"
            logger.warning("%s gives no candidate: %s", server.url, why)
        self._gathering -= 1
        for local in found:
            if local.port is not None:
                self._attach(local)
            line = local.candidate.to_sdp()
            if line not in self.candidates:
                self.candidates.append(line)
                self._events.on_candidate(line)
        if self.complete:
            self._events.on_candidate("")

    async def _resolve(self, candidate: Candidate) -> None:
        try:
            await self.agent.add_remote_candidate(candidate)
        except OSError as error:  # multicast DNS is not to be had here
            logger.info("cannot resolve %s: %s", candidate.host, error)

    async def _open_bridge(self, port: RelayPort, address: SockAddr) -> None:
        try:
            bridge = await RelayBridge.open(port, address)
        except OSError as error:
            logger.warning("no bridge to the TURN server: %s", error)
            return
        selected = self.agent.selected
        if selected is None or (selected[0].port, selected[1]) != (port, address):
            bridge.close()
            return
        self._bridge = bridge
        self._events.on_path(port.socket.index, bridge.address, 0)

    def _close_bridge(self) -> None:
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read_candidate(value: str) -> Candidate | None:
    """A candidate that checks can go to; None for one of another kind."""
    try:
        candidate = Candidate.from_sdp(value)
    except ValueError as error:
        raise SdpError(f"the candidate is malformed: {error}") from error
    if not 0 <= candidate.port <= 65535 or not 0 <= candidate.priority < 2**32:
        raise SdpError("the candidate is malformed: a number is out of range")
    if candidate.component != 1 or candidate.transport.lower() != "udp" or candidate.port == 0:
        return None
    if is_mdns_hostname(candidate.host):
        return candidate
    try:
        ip = ipaddress.ip_address(candidate.host)
    except ValueError:
        return None
    if ip.is_unspecified or ip.is_multicast or "%" in candidate.host:
        return None
    return candidate
