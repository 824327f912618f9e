"""The only module that touches private parts of aiortc and aioice; each says why.

aioice owns its sockets, its pace and its give-up rules; aiortc owns the SRTP keys. Here the
sockets and the keys belong to the hub, checks are paced for fast joining, and a connection lives
on while a viewer changes networks. `tests/peer/test_aiortc_contract.py` pins every private name
used below, so that an upgrade of either library fails there and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Protocol, cast

from aioice import Candidate, Connection, TransportPolicy, stun, turn
from aioice.ice import (
    ICE_COMPLETED,
    ICE_FAILED,
    CandidatePair,
    StunProtocol,
    candidate_pair_priority,
)
from aiortc import RTCCertificate, RTCIceTransport, RTCRtpSender
from aiortc.rtcdtlstransport import (
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
)
from OpenSSL import SSL

from peer.hub import DatagramPort, ServerTransport, SockAddr, SocketPort

logger = logging.getLogger(__name__)

MAX_PAIRS = 100
"""Candidate pairs of one connection (RFC 8445 section 6.1.2.5)."""

ALLOCATION_MISMATCH = 437
"""TURN: this client address has an allocation already (RFC 8656 section 7.2)."""

MISMATCH_PAUSE = 0.25
"""Seconds between attempts to replace such an allocation. Servers keep it for a moment."""

MAX_RELAY_BACKLOG = 256 * 1024
"""Bytes that may wait in a TCP connection to a TURN server before media is dropped."""

_COMPONENT = 1
_UNCHECKED = (CandidatePair.State.WAITING, CandidatePair.State.FROZEN)


@dataclass(frozen=True, slots=True)
class IceTiming:
    """Paces and patience of ICE, in seconds."""

    pace: float = 0.005
    """Between two new checks: the least that RFC 8445 section 14.2 allows (its default is 50 ms,
    aioice's 20 ms)."""
    connect: float = 30.0
    """Until a connection that never came about is given up (RFC 8863 asks for patience)."""
    consent: float = 5.0
    """Between two consent checks (RFC 7675 section 5.1), varied by 20 %."""
    consent_retry: float = 0.5
    """Before the next one when one was not answered."""
    consent_expiry: float = 30.0
    """Without any answer for so long, sending stops."""


class IceObserver(Protocol):
    """What an :class:`IceAgent` tells its owner."""

    def pair_selected(self, port: DatagramPort, address: SockAddr) -> None:
        """Send there from now on. Again on every change."""

    def consent_changed(self, fresh: bool) -> None:
        """The other side stopped answering consent checks, or answers again."""

    def consent_expired(self) -> None:
        """Nothing may be sent any more (RFC 7675 section 5.1)."""


class StunEndpoint(StunProtocol):
    """aioice's protocol of one local candidate, fed by a port of the hub."""

    def __init__(self, agent: IceAgent, port: DatagramPort) -> None:
        super().__init__(agent)
        self.port = port
        self._agent = agent

    def request_received(self, message: stun.Message, address: SockAddr) -> None:
        self._agent.request_received(message, address, self)

    def dtls_received(self, data: bytes) -> None:
        self._agent.data_received(data, _COMPONENT)

    def send_stun(self, message: stun.Message, addr: SockAddr) -> None:
        # aioice answers a request with success only after its integrity check, and this is the
        # only place that tells: the address is proven, DTLS from there is this connection's.
        if message.message_class == stun.Class.RESPONSE:
            self.port.learn(addr, self)
        super().send_stun(message, addr)

    async def request(
        self,
        request: stun.Message,
        addr: SockAddr,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[stun.Message, SockAddr]:
        self.port.expect(request.transaction_id, self._response_received)
        try:
            return await super().request(request, addr, integrity_key, retransmissions)
        finally:
            self.port.forget(request.transaction_id)

    def _response_received(self, message: stun.Message, address: SockAddr) -> None:
        if transaction := self.transactions.get(message.transaction_id):
            transaction.response_received(message, address)


class IceAgent(Connection):
    """aioice's connection on ports of the hub, always controlling at first."""

    def __init__(
        self,
        observer: IceObserver,
        ufrag: str,
        password: str,
        *,
        timing: IceTiming,
        relay_only: bool = False,
    ) -> None:
        super().__init__(
            ice_controlling=True,
            local_username=ufrag,
            local_password=password,
            transport_policy=TransportPolicy.RELAY if relay_only else TransportPolicy.ALL,
        )
        self._observer = observer
        self._timing = timing
        self._wake = asyncio.Event()
        self._fresh = True
        # aioice binds sockets of its own in gather_candidates(); the hub has bound them already.
        self._local_candidates_start = True
        self._local_candidates_end = True

    @property
    def closing(self) -> bool:
        """True from the beginning of `close()`."""
        return self._closing

    @property
    def selected(self) -> tuple[StunEndpoint, SockAddr] | None:
        """The endpoint and the remote address that data is sent by."""
        pair = self._nominated.get(_COMPONENT)
        return None if pair is None else (cast(StunEndpoint, pair.protocol), pair.remote_addr)

    def add_endpoint(self, endpoint: StunEndpoint, candidate: Candidate) -> None:
        """Check from that endpoint too, also for remote candidates that are known already."""
        endpoint.local_candidate = candidate
        # Only aioice's own gathering fills these lists.
        self._protocols.append(endpoint)
        for remote in self._remote_candidates:
            self._pair_remote_candidate(remote)
        self.sort_check_list()

    async def connect(self) -> None:
        """Check candidate pairs until one is nominated. ConnectionError after `timing.connect`.

        Instead of aioice's, which polls every 20 ms, for candidates and for its own success.
        """
        if self.remote_username is None or self.remote_password is None:
            raise ConnectionError("the remote ICE parameters are missing")
        for remote in self._remote_candidates:
            self._pair_remote_candidate(remote)
        self.sort_check_list()
        self._early_checks_done = True
        for early_check in self._early_checks:
            self.check_incoming(*early_check)
        self._early_checks.clear()

        pacing = asyncio.create_task(self._pace_checks())
        try:
            verdict = await asyncio.wait_for(self._check_list_state.get(), self._timing.connect)
        except TimeoutError:
            verdict = ICE_FAILED
        finally:
            pacing.cancel()
            await asyncio.wait([pacing])
        # Checks in progress go on: a better pair may still come (RFC 8445 section 8.1.1).
        if verdict != ICE_COMPLETED or self._closing:
            raise ConnectionError("no candidate pair works")
        self._query_consent_task = asyncio.create_task(self.query_consent())

    async def _pace_checks(self) -> None:
        while True:
            # With one component and one data stream nothing needs to be frozen.
            pair = next((p for p in self._check_list if p.state in _UNCHECKED and not p.task), None)
            if pair is None:
                self._wake.clear()
                await self._wake.wait()
            else:
                self.check_start_task(pair)
                await asyncio.sleep(self._timing.pace)

    def sort_check_list(self) -> None:
        super().sort_check_list()
        excess = len(self._check_list) - MAX_PAIRS
        if excess > 0:
            idle = [p for p in self._check_list if p.state in _UNCHECKED and p.task is None]
            for pair in idle[-excess:]:
                self._check_list.remove(pair)
        self._wake.set()

    def check_incoming(self, message: stun.Message, addr: SockAddr, protocol: StunProtocol) -> None:
        known = any(p.remote_addr == addr and p.protocol is protocol for p in self._check_list)
        # A viewer must not grow our lists by sending from ever new ports.
        if known or len(self._check_list) < MAX_PAIRS:
            super().check_incoming(message, addr, protocol)

    def check_complete(self, pair: CandidatePair) -> None:
        before = self._nominated.get(_COMPONENT)
        super().check_complete(pair)
        # aioice keeps the pair that was nominated last, not the best one.
        after = self._nominated.get(_COMPONENT)
        if (
            before is not None
            and after is not None
            and self._fresh
            and self._rank(before) > self._rank(after)
        ):
            self._nominated[_COMPONENT] = before
        if self._nominated.get(_COMPONENT) is not before:
            self._announce_selected()

    def protocol_lost(self, protocol: StunProtocol) -> None:
        # Losing a relay is for the consent checks to notice: another pair may work.
        pass

    def _check_list_maybe_fail(self) -> None:
        # Not before time is up: a viewer whose candidates are all hidden or unreachable still
        # reaches us with checks of its own (RFC 8863).
        pass

    def _rank(self, pair: CandidatePair) -> int:
        return candidate_pair_priority(
            pair.local_candidate, pair.remote_candidate, self.ice_controlling
        )

    def _announce_selected(self) -> None:
        selected = self.selected
        if selected is not None:
            endpoint, address = selected
            endpoint.port.learn(address, endpoint)
            self._observer.pair_selected(endpoint.port, address)

    async def query_consent(self) -> None:
        """Check consent for as long as the connection lives (RFC 7675).

        Instead of aioice's, which tells nobody before it closes the connection, and never tries
        another pair.
        """
        loop = asyncio.get_running_loop()
        fresh_at = loop.time()
        misses = 0
        while True:
            period = self._timing.consent * random.uniform(0.8, 1.2)
            await asyncio.sleep(period if misses == 0 else self._timing.consent_retry)
            pair = self._nominated[_COMPONENT]
            if await self._answers(pair) or (misses > 0 and await self._fail_over(pair)):
                fresh_at, misses = loop.time(), 0
                self._set_fresh(True)
                continue
            misses += 1
            if misses > 1:
                self._set_fresh(False)
            if loop.time() - fresh_at >= self._timing.consent_expiry:
                self._observer.consent_expired()
                return

    def _set_fresh(self, fresh: bool) -> None:
        if fresh != self._fresh:
            self._fresh = fresh
            self._observer.consent_changed(fresh)

    async def _answers(self, pair: CandidatePair) -> bool:
        assert self.remote_password is not None
        request = self.build_request(pair, nominate=self.ice_controlling)
        try:
            await pair.protocol.request(
                request,
                pair.remote_addr,
                integrity_key=self.remote_password.encode(),
                retransmissions=1,
            )
        except stun.TransactionError:
            return False
        return True

    async def _fail_over(self, dead: CandidatePair) -> bool:
        """Use the best other pair that worked before and answers now."""
        others = [
            p
            for p in self._check_list
            if p is not dead and p.state is CandidatePair.State.SUCCEEDED
        ]
        answers = await asyncio.gather(*(self._answers(pair) for pair in others))
        alive = [pair for pair, answered in zip(others, answers, strict=True) if answered]
        if alive:
            self._nominated[_COMPONENT] = max(alive, key=self._rank)
            self._announce_selected()
        return bool(alive)


# TURN -------------------------------------------------------------------------------------------


class RelayPort(DatagramPort, asyncio.DatagramProtocol):
    """An allocation on a TURN server, as a port: made by `open_relay` and `open_stream_relay`."""

    def __init__(self, socket: SocketPort) -> None:
        super().__init__(socket.stats)
        self.socket = socket
        """The hub's socket whose media goes through this relay."""
        self.server: SockAddr | None = None
        """The TURN server's address, when media can go there straight from the hub."""
        self.lost = False
        self.media: dict[SockAddr, Callable[[bytes], None]] = {}
        """Takes what comes from a viewer as media; only where the hub cannot see it."""
        self._client: turn.TurnClientMixin | None = None
        self._relay: turn.TurnTransport | None = None

    @property
    def relayed_address(self) -> SockAddr:
        """What viewers send to."""
        assert self._client is not None
        assert self._client.relayed_address is not None
        return self._client.relayed_address

    @property
    def mapped_address(self) -> SockAddr:
        """Our address as the server sees it."""
        assert self._client is not None
        assert self._client.mapped_address is not None
        return self._client.mapped_address

    def channel_of(self, address: SockAddr) -> int | None:
        """The channel bound to a viewer's address; None before the first datagram got through."""
        return None if self._client is None else self._client.peer_to_channel.get(address)

    def send(self, data: bytes, address: SockAddr) -> None:
        if self._relay is not None:
            self._relay.sendto(data, address)

    def send_media(self, data: bytes, address: SockAddr) -> bool:
        """Send through the bound channel at once. False: dropped, no channel or TCP is stuck.

        `TurnTransport.sendto` starts a task for every datagram and never drops.
        """
        channel = self.channel_of(address)
        client = self._client
        if channel is None or client is None:
            return False
        transport = cast(Any, client).transport
        if transport.is_closing() or transport.get_write_buffer_size() > MAX_RELAY_BACKLOG:
            return False
        client._send(struct.pack("!HH", channel, len(data)) + data)
        return True

    async def close(self) -> None:
        """Give the allocation back; ends when the server knows, or stays silent."""
        assert self._relay is not None
        self._relay.close()
        # TurnTransport has no way to wait for the end of its closing.
        await asyncio.wait([cast(Any, self._relay)._TurnTransport__close_task])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        address = (addr[0], addr[1])
        take_media = self.media.get(address) if data and 128 <= data[0] < 192 else None
        if take_media is None:
            self.dispatch(data, address)
        else:
            take_media(data)

    def error_received(self, exc: Exception) -> None:
        self.stats.send_failed += 1
        logger.debug("the TURN server refuses to relay: %s", exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.lose(exc)


async def open_relay(
    socket: SocketPort, server: SockAddr, username: str, password: str
) -> RelayPort:
    """Allocate at a TURN server over UDP, through a socket of the hub.

    ConnectionError or stun.TransactionError when the server refuses or stays silent. It may take
    as long as the caller lets it.
    """
    deleted = False
    while True:
        port = RelayPort(socket)
        client = turn.TurnClientUdpProtocol(
            server,
            username=username,
            password=password,
            lifetime=turn.DEFAULT_ALLOCATION_LIFETIME,
            channel_refresh_time=turn.DEFAULT_CHANNEL_REFRESH_TIME,
        )
        transport: ServerTransport = socket.serve(server, client)
        client.connection_made(transport)
        relay = turn.TurnTransport(client)
        try:
            # create_turn_endpoint() insists on a socket of its own.
            await relay._connect(port)
        except BaseException as error:
            mismatch = _is_mismatch(error)
            if mismatch and not deleted:
                # Ours, from a process that held this port and did not end cleanly. Once: coturn
                # keeps what is deleted for a second, and counts anew with each deletion.
                deleted = True
                await _delete_allocation(client)
            transport.close()
            if not mismatch:
                raise
            await asyncio.sleep(MISMATCH_PAUSE)
        else:
            port.server = server
            port._client, port._relay = client, relay
            return port


def _is_mismatch(error: BaseException) -> bool:
    return (
        isinstance(error, stun.TransactionFailed)
        and error.response.error_code == ALLOCATION_MISMATCH
    )


async def _delete_allocation(client: turn.TurnClientUdpProtocol) -> None:
    request = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
    request.attributes["LIFETIME"] = 0
    try:
        await client.request_with_retry(request)
    except stun.TransactionFailed as error:
        if not _is_mismatch(error):  # it is gone already
            raise


async def open_stream_relay(
    socket: SocketPort,
    server: tuple[str, int],
    username: str,
    password: str,
    *,
    tls: SSLContext | bool,
) -> RelayPort:
    """Allocate at a TURN server over TCP or TLS. OSError when the server cannot be reached."""
    relay, port = await turn.create_turn_endpoint(
        lambda: RelayPort(socket),
        server_addr=server,
        username=username,
        password=password,
        ssl=tls or None,
        transport="tcp",
    )
    port._relay = relay
    # The client knows the channels; TurnTransport keeps it to itself.
    port._client = cast(turn.TurnClientMixin, cast(Any, relay)._TurnTransport__inner_protocol)
    return port


# DTLS -------------------------------------------------------------------------------------------


class _AgentLink:
    """An agent as aiortc's DTLS wants its ICE transport: it reads these three names and no more."""

    def __init__(self, agent: IceAgent) -> None:
        self._agent = agent
        self._recv = agent.recv
        self._send = agent.send

    @property
    def role(self) -> str:
        return "controlling" if self._agent.ice_controlling else "controlled"


class DtlsSession(RTCDtlsTransport):
    """aiortc's DTLS that hands its SRTP keys out instead of keeping libsrtp sessions."""

    def __init__(
        self,
        agent: IceAgent,
        certificate: RTCCertificate,
        on_keys: Callable[[SRTPProtectionProfile, bytes, bytes], None],
    ) -> None:
        super().__init__(cast(RTCIceTransport, _AgentLink(agent)), [certificate])
        self._on_keys = on_keys
        self.failure = ""
        """Why the handshake failed, in words."""

    def configure(self, server: bool, profiles: Sequence[SRTPProtectionProfile]) -> None:
        """Be the DTLS server or client, with these SRTP profiles in order of preference.

        Left alone, aiortc decides by the ICE role, and takes every profile that libsrtp has.
        """
        self._set_role("server" if server else "client")
        self._srtp_profiles = list(profiles)

    async def start(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        """Shake hands. ConnectionError says in words why it failed."""
        self.failure = "the DTLS handshake failed"
        try:
            await super().start(remoteParameters)
        except (ValueError, SSL.Error) as error:  # a certificate that cannot be read
            raise ConnectionError(f"{self.failure}: {error}") from error
        if self._state is not State.CONNECTED:
            raise ConnectionError(self.failure)

    async def stop(self) -> None:
        """Send close_notify and end the reading task."""
        # aiortc cancels its task and forgets it.
        task = self._task
        await super().stop()
        if task is not None:
            await asyncio.wait([task])

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        self.failure = "the viewer's certificate is not the one its answer announced"
        super()._validate_peer_identity(remoteParameters)

    def _setup_srtp(self) -> None:
        # aiortc would make libsrtp sessions of the keys; here the hub protects all media.
        self.failure = "the viewer accepts none of the offered SRTP profiles"
        assert self._ssl is not None
        chosen = self._ssl.get_selected_srtp_profile()
        profile = next((p for p in self._srtp_profiles if p.openssl_profile == chosen), None)
        if profile is None:
            self._set_state(State.FAILED)
            return
        size = 2 * (profile.key_length + profile.salt_length)
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        # RFC 5764 section 4.2: the client's write key comes first.
        client, server = (profile.get_key_and_salt(material, i) for i in (0, 1))
        if self._role == "server":
            self._on_keys(profile, server, client)
        else:
            self._on_keys(profile, client, server)

    async def _recv_next(self) -> None:
        try:
            await super()._recv_next()
        except (AssertionError, IndexError, KeyError, ValueError, struct.error, SSL.Error) as error:
            # aiortc asserts what an SCTP or data channel peer sends; a violation would end its
            # task with a traceback. RFC 9260 lets the association end.
            logger.warning("the viewer violates DTLS, SCTP or its data channels: %r", error)
            raise ConnectionError("protocol violation") from error


# Plain aiortc -----------------------------------------------------------------------------------


def on_keyframe_request(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call back when the remote asks a plain aiortc sender for a keyframe (PLI, FIR).

    aiortc keeps the request for an encoder of its own; a track that hands over packets, encoded
    elsewhere, never hears of it.
    """
    remember = sender._send_keyframe

    def asked() -> None:
        remember()
        callback()

    cast(Any, sender)._send_keyframe = asked
