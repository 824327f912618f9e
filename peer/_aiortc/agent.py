"""aioice's connection, on ports of the hub: whom to check, when, and what its end means."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, cast

from aioice import Candidate, Connection, TransportPolicy, stun
from aioice.ice import (
    ICE_COMPLETED,
    ICE_FAILED,
    CandidatePair,
    StunProtocol,
    candidate_pair_priority,
)

from peer.hub import DatagramPort, SockAddr

MAX_PAIRS = 100
"""Candidate pairs of one connection (RFC 8445 section 6.1.2.5)."""

FAIL_OVER_PATIENCE = 0.05
"""Seconds that better pairs have to answer too, when the first that answers is not the selected."""

NUDGE_SPACING = 0.05
"""Seconds between two consent checks at least, however often the other side is heard."""

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
    consent_retry: float = 0.25
    """Before the next one while one is not answered."""
    silence: float = 1.5
    """Unanswered for so long, the other side counts as silent."""
    consent_expiry: float = 30.0
    """Without any answer for so long, sending stops (RFC 7675 section 5.1)."""


class IceObserver(Protocol):
    """What an :class:`IceAgent` tells its owner."""

    def pair_selected(self, port: DatagramPort, address: SockAddr) -> None:
        """Send there from now on. Again on every change."""

    def data_arrived(self, data: bytes) -> None:
        """A DTLS datagram."""

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
            self._agent.heard()
        super().send_stun(message, addr)

    async def request(
        self,
        request: stun.Message,
        addr: SockAddr,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[stun.Message, SockAddr]:
        self.port.expect(request.transaction_id, self._response_received)
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        try:
            answer = await super().request(request, addr, integrity_key, retransmissions)
            self._agent.rtt = loop.time() - sent_at
            return answer
        finally:
            self.port.forget(request.transaction_id)

    def _response_received(self, message: stun.Message, address: SockAddr) -> None:
        if transaction := self.transactions.get(message.transaction_id):
            transaction.response_received(message, address)


class IceAgent(Connection):
    """aioice's connection on ports of the hub."""

    def __init__(
        self,
        observer: IceObserver,
        ufrag: str,
        password: str,
        *,
        timing: IceTiming,
        controlling: bool = True,
        relay_only: bool = False,
    ) -> None:
        super().__init__(
            ice_controlling=controlling,
            local_username=ufrag,
            local_password=password,
            transport_policy=TransportPolicy.RELAY if relay_only else TransportPolicy.ALL,
        )
        self.rtt: float | None = None
        """Seconds from the last answered check to its answer, as this event loop saw it."""
        self._observer = observer
        self._timing = timing
        self._wake = asyncio.Event()
        self._doubted = asyncio.Event()
        self._sure = True
        self._next_nudge = 0.0
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

    def doubt(self) -> None:
        """Check consent now: something says that the other side may be gone, or elsewhere."""
        self._doubted.set()

    def heard(self) -> None:
        """An authentic request came in. While consent is in doubt, it is time for another check."""
        if not self._sure and asyncio.get_running_loop().time() >= self._next_nudge:
            self._doubted.set()

    def claim(self) -> None:
        """DTLS from the selected address is this agent's, not an earlier one's."""
        if (selected := self.selected) is not None:
            endpoint, address = selected
            endpoint.port.learn(address, endpoint)

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
            and self._sure
            and self._rank(before) > self._rank(after)
        ):
            self._nominated[_COMPONENT] = before
            if after.remote_candidate.type == "prflx":
                # A NAT may have given the other side a new address (RFC 8445 section 7.3.1.3):
                # then the old one is dead, and nobody will say so.
                self.doubt()
        if self._nominated.get(_COMPONENT) is not before:
            self._announce_selected()

    def data_received(self, data: bytes, component: int) -> None:
        self._observer.data_arrived(data)

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
        if (selected := self.selected) is not None:
            endpoint, address = selected
            self.claim()
            self._observer.pair_selected(endpoint.port, address)

    async def query_consent(self) -> None:
        """Check consent for as long as the connection lives (RFC 7675).

        Instead of aioice's, which tells nobody before it closes the connection, and never tries
        another pair.
        """
        loop = asyncio.get_running_loop()
        fresh_at = loop.time()
        while True:
            period = self._timing.consent * random.uniform(0.8, 1.2)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubted.wait(), period)
            if not await self._regain_consent(fresh_at + self._timing.consent_expiry):
                self._observer.consent_expired()
                return
            fresh_at = loop.time()
            self._set_fresh(True)

    async def _regain_consent(self, deadline: float) -> bool:
        """Check the selected pair, and soon all that ever worked, until one answers.

        What answers is selected. False: nothing has by `deadline`.
        """
        loop = asyncio.get_running_loop()
        silent_at = loop.time() + self._timing.silence
        alive: list[CandidatePair] = []
        checks: set[asyncio.Task[None]] = set()
        try:
            while loop.time() < deadline:
                self._doubted.clear()
                self._next_nudge = loop.time() + NUDGE_SPACING
                for pair in self._worth_checking():
                    checks.add(asyncio.create_task(self._check_consent(pair, alive)))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._doubted.wait(), self._timing.consent_retry)
                if alive:
                    await self._select_among(alive)
                    return True
                self._sure = False
                if loop.time() >= silent_at:
                    self._set_fresh(False)
                checks = {check for check in checks if not check.done()}
            return False
        finally:
            self._sure = bool(alive)
            self._doubted.clear()
            for check in checks:
                check.cancel()

    def _worth_checking(self) -> list[CandidatePair]:
        selected = self._nominated[_COMPONENT]
        if self._sure:
            return [selected]
        state = CandidatePair.State.SUCCEEDED
        return [selected, *(p for p in self._check_list if p is not selected and p.state is state)]

    async def _check_consent(self, pair: CandidatePair, alive: list[CandidatePair]) -> None:
        assert self.remote_password is not None
        request = self.build_request(pair, nominate=self.ice_controlling)
        with suppress(stun.TransactionError):
            await pair.protocol.request(
                request,
                pair.remote_addr,
                integrity_key=self.remote_password.encode(),
                retransmissions=1,
            )
            alive.append(pair)
            self._doubted.set()

    async def _select_among(self, alive: list[CandidatePair]) -> None:
        """Keep the selected pair if it answers, else take the best of those that do."""
        selected = self._nominated[_COMPONENT]
        if selected not in alive:
            await asyncio.sleep(FAIL_OVER_PATIENCE)
        if selected not in alive and selected is self._nominated[_COMPONENT]:
            self._nominated[_COMPONENT] = max(alive, key=self._rank)
            self._announce_selected()

    def _set_fresh(self, fresh: bool) -> None:
        if fresh != self._fresh:
            self._fresh = fresh
            self._observer.consent_changed(fresh)
