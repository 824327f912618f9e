"""What a connection is in either direction: ICE, DTLS, data channels, and its states.

:class:`.Connection` offers and sends, :class:`.ReceivingConnection` answers and receives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities

from native import Address, Peer, PeerStats, SrtpProfile
from peer.dtls import GCM_PROFILES, Certificate, DtlsTransport
from peer.hub import MediaHub, PeerEvent
from peer.ice import IceSettings, IceTransport
from peer.sdp_parts import Channels, Transport

__all__ = [
    "ConnectionState",
    "ConnectionStats",
    "InvalidState",
    "PeerConnection",
    "TransportSettings",
]

logger = logging.getLogger(__name__)

MAX_REMOTE_CHANNELS = 16
"""Data channels that the other side may open; more are closed at once."""


class ConnectionState(Enum):
    """Where a connection is in its life; `_NEXT` says what may follow."""

    NEW = "new"
    GATHERING = "gathering"
    OFFERED = "offered"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """The other side stopped answering; it may come back."""
    FAILED = "failed"
    """Given up: `PeerConnection.failure` says why. Only `close()` is left."""
    CLOSED = "closed"


_S = ConnectionState
_ENDS = {_S.FAILED, _S.CLOSED}
_NEXT: dict[ConnectionState, set[ConnectionState]] = {
    _S.NEW: {_S.GATHERING, *_ENDS},
    _S.GATHERING: {_S.OFFERED, _S.CONNECTING, *_ENDS},
    _S.OFFERED: {_S.CONNECTING, *_ENDS},
    _S.CONNECTING: {_S.CONNECTED, *_ENDS},
    _S.CONNECTED: {_S.DISCONNECTED, *_ENDS},
    _S.DISCONNECTED: {_S.CONNECTED, *_ENDS},
    _S.FAILED: {_S.CLOSED},
    _S.CLOSED: set(),
}


class InvalidState(RuntimeError):
    """A method was called in a state that it is not for. The text names both."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How a connection finds its way, and how it is protected."""

    ice: IceSettings = field(default_factory=IceSettings)
    """Servers, and paces."""
    srtp_profiles: tuple[SrtpProfile, ...] = GCM_PROFILES
    """SRTP protection profiles, in order of preference."""
    gather_wait: float = 0.0
    """Seconds that our description waits for STUN and TURN servers; 0 = their candidates are
    trickled."""
    handshake_timeout: float = 15.0
    """Seconds that DTLS may take."""


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """A connection now."""

    state: ConnectionState
    path: Address | None
    """Where the hub sends to: the other side, or its TURN server."""
    relayed: bool
    ice_rtt_ms: float | None
    """Round trip of the last check that was answered; None = none was. For senders `media` knows
    better."""
    connect_ms: float | None
    """From the answer to the keys."""
    srtp_profile: SrtpProfile | None
    media: PeerStats | None
    """The hub's counters; None once the peer is gone."""


class PeerConnection:
    """The parts that both directions share. Of no use after `close`.

    The caller keeps the hub open for as long as the connection lives.
    """

    _other: ClassVar[str]
    """What error texts call the other side."""

    def __init__(
        self,
        hub: MediaHub,
        transport: TransportSettings,
        certificate: Certificate | None,
        *,
        controlling: bool,
    ) -> None:
        self.failure = ""
        """Why the state is `FAILED`, in words."""
        self._hub = hub
        self._transport = transport
        self._state = ConnectionState.NEW
        self._described = False
        self._path: tuple[Address, int] | None = None
        self._keyed: SrtpProfile | None = None
        self._answered_at = 0.0
        self._connect_ms: float | None = None
        self._remote_channels = 0
        self._run_task: asyncio.Task[None] | None = None
        self._restart_task: asyncio.Task[None] | None = None
        self._close_task: asyncio.Task[None] | None = None
        self._certificate = certificate or Certificate()
        self._ice = IceTransport(hub, transport.ice, self, controlling=controlling)
        self._dtls = DtlsTransport(
            self._ice,
            self._certificate,
            profiles=transport.srtp_profiles,
            on_closed=self._closed_by_other,
        )
        self._sctp = RTCSctpTransport(self._dtls.session)
        self._sctp.on("datachannel", self._channel_opened)
        self._peer: Peer = hub.open_peer(self._peer_event)

    @property
    def state(self) -> ConnectionState:
        """Where it is in its life."""
        return self._state

    async def add_candidate(self, line: str) -> None:
        """A candidate of the other side, at any time (the value of a=candidate; "" = the last).

        SdpError when it is malformed.
        """
        if self._state not in _ENDS:
            await self._ice.add_candidate(line)

    def create_data_channel(
        self,
        label: str,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        protocol: str = "",
    ) -> RTCDataChannel:
        """A data channel to the other side; it opens once the connection is there.

        ValueError: `label` and `protocol` take ASCII.
        """
        self._require_open("create_data_channel")
        for name, text in (("label", label), ("protocol", protocol)):
            if not text.isascii():  # aiortc counts characters where RFC 8832 wants bytes
                raise ValueError(f"{name} takes ASCII, not {text!r}")
        return RTCDataChannel(
            self._sctp,
            RTCDataChannelParameters(
                label=label, ordered=ordered, maxRetransmits=max_retransmits, protocol=protocol
            ),
        )

    def stats(self) -> ConnectionStats:
        """The connection now."""
        return ConnectionStats(
            state=self._state,
            path=self._path[0] if self._path else None,
            relayed=self._ice.relayed,
            ice_rtt_ms=None if (rtt := self._ice.agent.rtt) is None else 1000 * rtt,
            connect_ms=self._connect_ms,
            srtp_profile=self._keyed,
            media=None if self._peer.closed else self._peer.stats(),
        )

    def check_path(self) -> None:
        """Find out now whether the other side still answers. The state tells."""
        if self._state is ConnectionState.CONNECTED:
            self._ice.doubt()

    async def close(self) -> None:
        """Say BYE and close_notify, end every task, forget the peer. Closing twice is fine."""
        if self._close_task is None:
            self._close_task = asyncio.create_task(self._close())
        await asyncio.shield(self._close_task)

    # What the direction adds --------------------------------------------------------------------

    def _path_found(self) -> None:
        """ICE has a path: the handshake begins."""

    def _keys_arrived(self) -> None:
        """The hub has path and keys: media may begin."""
        raise NotImplementedError

    def _came_back(self) -> None:
        """The other side was silent, and answers again."""

    def _peer_event(self, event: PeerEvent) -> None:
        """What the hub reports of the peer."""
        raise NotImplementedError

    def _tell_state(self, state: ConnectionState) -> None:
        raise NotImplementedError

    def _tell_candidate(self, candidate: str) -> None:
        raise NotImplementedError

    def _tell_channel(self, channel: RTCDataChannel) -> None:
        raise NotImplementedError

    # What ICE says ------------------------------------------------------------------------------

    def on_path(self, socket: int, to: Address, channel: int) -> None:
        if not self._peer.closed:
            self._path = (to, channel)
            self._peer.set_path(socket, to, channel)

    def on_candidate(self, candidate: str) -> None:
        # Before our description is made they go into it.
        if self._described and self._state not in _ENDS:
            self._tell_candidate(candidate)

    def on_consent(self, fresh: bool) -> None:
        if fresh and self._state is ConnectionState.DISCONNECTED:
            self._came_back()
            self._set_state(ConnectionState.CONNECTED)
        elif not fresh and self._state is ConnectionState.CONNECTED:
            self._set_state(ConnectionState.DISCONNECTED)

    def on_expired(self) -> None:
        self._fail(f"the {self._other} stopped answering")

    # --------------------------------------------------------------------------------------------

    async def _gather(self) -> Transport:
        """Our side, with the candidates that the settings wait for; those to come are trickled."""
        self._set_state(ConnectionState.GATHERING)
        self._ice.gather()
        if self._transport.gather_wait > 0:
            try:
                await asyncio.wait_for(self._ice.wait_gathered(), self._transport.gather_wait)
            except TimeoutError:
                logger.info("some candidates are not gathered yet: they will be trickled")
        self._described = True
        return self._ice.transport(self._certificate.fingerprints)

    def _connect(self, remote: Transport, *, server: bool, channels: Channels | None) -> None:
        """Connect in the background, as the DTLS server or client.

        `channels`: how the other side takes data channels; None = it does not.
        """
        self._answered_at = time.monotonic()
        self._set_state(ConnectionState.CONNECTING)
        self._run_task = asyncio.create_task(self._run(remote, server, channels))

    async def _run(self, remote: Transport, server: bool, channels: Channels | None) -> None:
        try:
            await self._ice.connect(remote)
            self._path_found()
            keys = await self._dtls.start(
                remote.fingerprints, server=server, timeout=self._transport.handshake_timeout
            )
            self._peer.set_keys(keys.profile, keys.send, keys.receive)
            self._keyed = keys.profile
            self._connect_ms = (time.monotonic() - self._answered_at) * 1000
            self._keys_arrived()
            self._set_state(ConnectionState.CONNECTED)
            if channels is not None:
                await self._sctp.start(
                    RTCSctpCapabilities(maxMessageSize=channels.max_message_size),
                    channels.sctp_port,
                )
        except ConnectionError as error:
            self._fail(str(error))

    def _restart(self) -> Transport:
        """Our side with new ICE credentials (RFC 8445 section 9). The old path stays in use until
        `_reconnect` has found another."""
        if self._state not in (ConnectionState.CONNECTED, ConnectionState.DISCONNECTED):
            raise InvalidState(
                f"an ICE restart is not for a connection that is {self._state.value}"
            )
        self._ice.restart()
        return self._ice.transport(self._certificate.fingerprints)

    def _reconnect(self, remote: Transport) -> None:
        """Find a path to the other side's new credentials, in the background."""
        if self._restart_task is not None:
            self._restart_task.cancel()
        self._restart_task = asyncio.create_task(self._find_path(remote))

    async def _find_path(self, remote: Transport) -> None:
        try:
            await self._ice.connect(remote)
        except ConnectionError as error:
            # The old path may work all the same; if not, its consent runs out.
            logger.info("connection %s: the ICE restart led nowhere: %s", self._peer.id, error)

    def _fail(self, reason: str) -> None:
        if self._state in _ENDS:
            return
        self.failure = reason
        # Nothing may be sent without consent (RFC 7675 section 5.1).
        self._hub.close_peer(self._peer)
        self._set_state(ConnectionState.FAILED)

    def _closed_by_other(self) -> None:
        if self._close_task is None:
            self._close_task = asyncio.create_task(self._close())

    async def _close(self) -> None:
        for task in (self._run_task, self._restart_task):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._hub.close_peer(self._peer)
        await self._sctp.stop()
        await self._dtls.stop()
        await self._ice.close()
        self._set_state(ConnectionState.CLOSED)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._remote_channels += 1
        if self._remote_channels > MAX_REMOTE_CHANNELS:
            channel.close()
        else:
            self._tell_channel(channel)

    def _require(self, method: str, state: ConnectionState) -> None:
        if self._state is not state:
            raise InvalidState(f"{method} is not for a connection that is {self._state.value}")

    def _require_open(self, method: str) -> None:
        if self._state in _ENDS:
            raise InvalidState(f"{method} is not for a connection that is {self._state.value}")

    def _set_state(self, state: ConnectionState) -> None:
        assert state in _NEXT[self._state], f"{self._state} -> {state}"
        logger.debug("connection %s: %s -> %s", self._peer.id, self._state.value, state.value)
        self._state = state
        self._tell_state(state)
