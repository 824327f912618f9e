"""ICE (RFC 8445) of one connection, on the hub's sockets: gather, check, stay connected.

Who offers controls. The hub's own candidates are ready at once and go into the description; what
STUN and TURN servers add is trickled (RFC 8838). Whenever the pair that is sent by is chosen or
changes, `on_path` hears where the hub has to send from then on.

A viewer that moves is followed in two ways. Within a generation: a check from an address nobody
announced (RFC 8445 section 7.3.1.3), as after a NAT has given it another port, adds a pair, which
is taken as soon as the old one does not answer. By a restart: new descriptions on both sides, when
the viewer's browser has to look for new addresses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import string
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
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
    """One connection's ICE, and the link that its DTLS goes by.

    It lives through *generations*, one after each restart (RFC 8445 section 9): new credentials,
    candidates gathered again. What is sent goes on by the last one's pair until the new one has
    found a pair; then the old one ends. DTLS, and the keys that came of it, notice nothing.
    """

    def __init__(
        self, hub: MediaHub, settings: IceSettings, events: IceEvents, *, controlling: bool = True
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._events = events
        self._controlling = controlling
        self._gatherer: Gatherer = gatherer_of(hub)
        self._tasks: set[asyncio.Task[None]] = set()
        self._bridge: RelayBridge | None = None
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False
        self._newest = self._live = _Generation(self)

    @property
    def agent(self) -> IceAgent:
        """The agent whose pair is sent by."""
        return self._live.agent

    @property
    def ufrag(self) -> str:
        """Our user name of the newest generation."""
        return self._newest.ufrag

    @property
    def password(self) -> str:
        """Our password of the newest generation."""
        return self._newest.password

    @property
    def candidates(self) -> list[str]:
        """Values of a=candidate that the newest generation has gathered so far."""
        return self._newest.candidates

    @property
    def complete(self) -> bool:
        """No more candidates will come."""
        return self._newest.gathering == 0

    @property
    def relayed(self) -> bool:
        """What is sent goes through a TURN server."""
        selected = self.agent.selected
        return selected is not None and isinstance(selected[0].port, RelayPort)

    @property
    def role(self) -> str:
        """Our ICE role, in the words of `DtlsLink`."""
        return "controlling" if self.agent.ice_controlling else "controlled"

    def gather(self) -> None:
        """Gather: the host's candidates at once, those of servers in the background."""
        generation = self._newest
        if not self._settings.relay_only:
            for base in self._gatherer.bases():
                generation.attach(base)
            generation.candidates += [c.to_sdp() for c in self._gatherer.hosts()]
        for server in self._settings.servers:
            if self._settings.relay_only and server.url.startswith("stun"):
                continue
            generation.gathering += 1
            self._spawn(self._gather_from(server, generation))

    async def wait_gathered(self) -> None:
        """Until every server has answered or failed."""
        if tasks := list(self._tasks):
            await asyncio.wait(tasks)

    def transport(self, fingerprints: tuple[Fingerprint, ...]) -> Transport:
        """Our side for the description, with the candidates known so far."""
        return Transport(
            ufrag=self.ufrag,
            password=self.password,
            fingerprints=fingerprints,
            candidates=tuple(self.candidates),
            complete=self.complete,
        )

    async def connect(self, remote: Transport) -> None:
        """Find a way for the newest generation. ConnectionError when there is none in time, or
        another restart came in between."""
        generation = self._newest
        agent = generation.agent
        agent.remote_username = remote.ufrag
        agent.remote_password = remote.password
        agent.remote_is_lite = remote.ice_lite
        for candidate in remote.candidates:
            try:
                await self.add_candidate(candidate)
            except SdpError as error:  # the others may do
                logger.warning("left out of a description: %s", error)
        await agent.connect()

    def restart(self) -> None:
        """Begin a new generation and gather for it: to be described, answered and connected."""
        if self._newest is not self._live:
            self._spawn(self._newest.agent.close())  # nobody answered it
        self._newest = _Generation(self)
        self.gather()

    def doubt(self) -> None:
        """Find out now whether the other side still answers."""
        self.agent.doubt()

    async def add_candidate(self, line: str) -> None:
        """A candidate of the other side: the value of a=candidate, or "" for the last.

        SdpError when it is malformed. What cannot be used here (TCP, other components, names,
        addresses that are no host's) is ignored.
        """
        value = line.strip().removeprefix("a=").removeprefix("candidate:")
        if not value or self._closed:
            return
        candidate = _read_candidate(value)
        if candidate is None:
            return
        generation = self._generation_of(value)
        generation.remote_count += 1
        if generation.remote_count > MAX_REMOTE_CANDIDATES:
            return
        if is_mdns_hostname(candidate.host):
            self._spawn(_resolve(generation.agent, candidate))
        else:
            await generation.agent.add_remote_candidate(candidate)

    async def recv(self) -> bytes:
        """The next DTLS datagram, whichever generation it came to. ConnectionError once closed."""
        data = await self._received.get()
        if data is None:
            raise ConnectionError("the connection is closed")
        return data

    async def send(self, data: bytes) -> None:
        """Send a DTLS datagram. ConnectionError when no way was ever found."""
        await self.agent.send(data)

    async def close(self) -> None:
        """Stop checking, detach from the hub. Closing twice is fine."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for generation in {self._live, self._newest}:
            await generation.agent.close()
        self._close_bridge()
        self._received.put_nowait(None)

    # What generations say -----------------------------------------------------------------------

    def selected(self, generation: _Generation, port: DatagramPort, address: SockAddr) -> None:
        """A generation sends that way from now on."""
        if generation is self._newest and generation is not self._live:
            before, self._live = self._live, generation
            self._spawn(self._replace(before, generation))
            self._set_path(port, address)
            self._events.on_consent(True)
        elif generation is self._live:
            self._set_path(port, address)

    def consent_changed(self, generation: _Generation, fresh: bool) -> None:
        """A generation's other side stopped answering, or answers again."""
        if generation is self._live:
            self._events.on_consent(fresh)

    def consent_expired(self, generation: _Generation) -> None:
        """A generation may not send any more."""
        if generation is self._live:
            self._events.on_expired()

    def dtls_arrived(self, data: bytes) -> None:
        """A DTLS datagram, from an address that a generation has proven."""
        self._received.put_nowait(data)

    # --------------------------------------------------------------------------------------------

    def make_agent(self, generation: _Generation) -> IceAgent:
        """The agent of a generation that begins."""
        return IceAgent(
            generation,
            generation.ufrag,
            generation.password,
            timing=self._settings.timing,
            controlling=self._controlling,
            relay_only=self._settings.relay_only,
        )

    async def _replace(self, before: _Generation, now: _Generation) -> None:
        await before.agent.close()
        # Both may have sent by the same address, which the one that closed has forgotten.
        now.agent.claim()

    def _generation_of(self, candidate: str) -> _Generation:
        """Whose remote candidate this is, by its "ufrag" (RFC 8839 section 5.1 extensions)."""
        words = candidate.split()
        ufrags = [b for a, b in pairwise(words) if a == "ufrag"]
        if ufrags and ufrags[0] == self._live.agent.remote_username:
            return self._live
        return self._newest

    def _set_path(self, port: DatagramPort, address: SockAddr) -> None:
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

    async def _gather_from(self, server: IceServer, generation: _Generation) -> None:
        found: list[LocalCandidate] = []
        try:
            found = await self._gatherer.server(server, self._settings.gather_timeout)
        except (OSError, stun.TransactionError) as error:  # TimeoutError is an OSError
            why = str(error) or "no answer in time"
            logger.warning("%s gives no candidate: %s", server.url, why)
        generation.gathering -= 1
        if generation.agent.closing:
            return
        for local in found:
            if local.port is not None:
                generation.attach(local)
            line = local.candidate.to_sdp()
            if line not in generation.candidates:
                generation.candidates.append(line)
                self._tell_candidate(generation, line)
        if generation.gathering == 0:
            self._tell_candidate(generation, "")

    def _tell_candidate(self, generation: _Generation, line: str) -> None:
        if generation is self._newest:
            self._events.on_candidate(line)

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


class _Generation:
    """What one restart changes: credentials, candidates, an agent. Its agent's observer."""

    def __init__(self, owner: IceTransport) -> None:
        self._owner = owner
        self.ufrag = "".join(secrets.choice(_UFRAG_CHARACTERS) for _ in range(12))
        self.password = "".join(secrets.choice(_UFRAG_CHARACTERS) for _ in range(24))
        self.candidates: list[str] = []
        self.gathering = 0
        """Servers that have not answered yet."""
        self.remote_count = 0
        self.agent = owner.make_agent(self)

    def attach(self, local: LocalCandidate) -> None:
        """Check from that candidate's port."""
        assert local.port is not None
        endpoint = StunEndpoint(self.agent, local.port)
        endpoint.connection_made(local.port.attach(self.ufrag, endpoint))
        self.agent.add_endpoint(endpoint, local.candidate)

    def pair_selected(self, port: DatagramPort, address: SockAddr) -> None:
        self._owner.selected(self, port, address)

    def data_arrived(self, data: bytes) -> None:
        self._owner.dtls_arrived(data)

    def consent_changed(self, fresh: bool) -> None:
        self._owner.consent_changed(self, fresh)

    def consent_expired(self) -> None:
        self._owner.consent_expired(self)


async def _resolve(agent: IceAgent, candidate: Candidate) -> None:
    try:
        await agent.add_remote_candidate(candidate)
    except OSError as error:  # multicast DNS is not to be had here
        logger.info("cannot resolve %s: %s", candidate.host, error)


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
