"""ICE on the hub's sockets, against plain aioice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aioice import Candidate, Connection, stun
from aioice.ice import CandidatePair, ConnectionClosed

from native import Address
from peer._aiortc.agent import MAX_PAIRS
from peer.hub import HubSettings, MediaHub
from peer.ice import MAX_REMOTE_CANDIDATES, IceSettings, IceTiming, IceTransport
from peer.sdp import SdpError, Transport

from .viewer import use_loopback

QUICK = IceTiming(consent=0.05, consent_retry=0.01, silence=0.05, consent_expiry=0.5, connect=10)


class Events:
    """Remembers what an IceTransport tells."""

    def __init__(self) -> None:
        self.paths: asyncio.Queue[tuple[int, Address, int]] = asyncio.Queue()
        self.candidates: list[str] = []
        self.consent: asyncio.Queue[bool] = asyncio.Queue()
        self.expired = asyncio.Event()

    def on_path(self, socket: int, to: Address, channel: int) -> None:
        self.paths.put_nowait((socket, to, channel))

    def on_candidate(self, candidate: str) -> None:
        self.candidates.append(candidate)

    def on_consent(self, fresh: bool) -> None:
        self.consent.put_nowait(fresh)

    def on_expired(self) -> None:
        self.expired.set()


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loopback(monkeypatch)
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.05)


@pytest.fixture
async def hub() -> AsyncIterator[MediaHub]:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    yield hub
    await hub.close()


@pytest.fixture
async def remote() -> AsyncIterator[Connection]:
    connection = Connection(ice_controlling=False)
    yield connection
    await connection.close()


async def meet(ice: IceTransport, remote: Connection, *, tell_candidates: bool = True) -> Transport:
    """Gather on both sides, tell the remote about us; returns what we are told about it."""
    ice.gather()
    await remote.gather_candidates()
    remote.remote_username, remote.remote_password = ice.ufrag, ice.password
    for line in ice.candidates:
        await remote.add_remote_candidate(Candidate.from_sdp(line))
    await remote.add_remote_candidate(None)
    candidates = [c.to_sdp() for c in remote.local_candidates] if tell_candidates else []
    return Transport(
        ufrag=remote.local_username,
        password=remote.local_password,
        fingerprints=(),
        setup="active",
        candidates=tuple(candidates),
    )


async def connect(ice: IceTransport, remote: Connection, parameters: Transport) -> None:
    async with asyncio.timeout(10):
        await asyncio.gather(ice.connect(parameters), remote.connect())


async def test_connects_and_says_where_to_send(hub: MediaHub, remote: Connection) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(), events)
    await connect(ice, remote, await meet(ice, remote))
    port = remote.local_candidates[0].port
    assert events.paths.get_nowait() == (0, Address("127.0.0.1", port), 0)
    assert not ice.relayed
    await ice.send(b"\x16 there")
    assert await remote.recv() == b"\x16 there"
    await remote.send(b"\x16 and back again")
    assert await ice.recv() == b"\x16 and back again"
    await ice.close()
    await ice.close()


async def test_a_malformed_candidate_spoils_no_description(
    hub: MediaHub, remote: Connection
) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(), events)
    parameters = await meet(ice, remote)
    spoilt = ("1 1 udp", *parameters.candidates)
    await connect(ice, remote, replace(parameters, candidates=spoilt))
    assert events.paths.get_nowait()[1].port == remote.local_candidates[0].port
    await ice.close()


async def test_the_remotes_checks_suffice(hub: MediaHub, remote: Connection) -> None:
    """As with a browser that hides its addresses: it is found as peer reflexive."""
    events = Events()
    ice = IceTransport(hub, IceSettings(), events)
    await connect(ice, remote, await meet(ice, remote, tell_candidates=False))
    assert events.paths.get_nowait()[1].port == remote.local_candidates[0].port
    await ice.close()


async def test_checks_before_the_answer_are_not_lost(
    hub: MediaHub, remote: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ice = IceTransport(hub, IceSettings(), Events())
    parameters = await meet(ice, remote, tell_candidates=False)
    connecting = asyncio.create_task(remote.connect())
    checked = asyncio.Event()
    received = ice.agent.request_received
    monkeypatch.setattr(
        ice.agent, "request_received", lambda *call: (received(*call), checked.set())
    )
    await asyncio.wait_for(checked.wait(), 5)
    assert ice.agent._early_checks
    async with asyncio.timeout(10):
        await asyncio.gather(ice.connect(parameters), connecting)
    await ice.close()


async def test_candidates_may_come_late(hub: MediaHub, remote: Connection) -> None:
    ice = IceTransport(hub, IceSettings(), Events())
    parameters = await meet(ice, remote, tell_candidates=False)
    # The remote answers checks and makes none: nothing can be learned from it.
    connecting = asyncio.create_task(ice.connect(parameters))
    for _ in range(10):  # the checks have begun, and found nothing to check
        await asyncio.sleep(0)
    await ice.add_candidate("candidate:" + remote.local_candidates[0].to_sdp())
    async with asyncio.timeout(10):
        await connecting
    await ice.close()


async def test_dead_candidates_do_not_hold_up_the_living(
    hub: MediaHub, remote: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.5)
    ice = IceTransport(hub, IceSettings(), Events())
    parameters = await meet(ice, remote)
    dead = [f"{i} 1 udp {2**31 - i} 127.0.0.1 {i} typ host" for i in range(1, 21)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connect(
        ice,
        remote,
        Transport(
            parameters.ufrag,
            parameters.password,
            (),
            candidates=(*dead, *parameters.candidates),
        ),
    )
    # Far from the first retransmission: no check waited for another one's answer.
    assert loop.time() - began < 0.45
    await ice.close()


async def test_wrong_password_never_connects(hub: MediaHub, remote: Connection) -> None:
    ice = IceTransport(hub, IceSettings(timing=IceTiming(connect=0.2)), Events())
    parameters = await meet(ice, remote)
    remote.remote_password = "x" * 24
    connecting = asyncio.create_task(remote.connect())
    wrong = Transport(parameters.ufrag, "y" * 24, (), candidates=parameters.candidates)
    with pytest.raises(ConnectionError, match="no candidate pair works"):
        await ice.connect(wrong)
    assert not hub.ports[0]._by_address, "an address was learned without proof"
    await ice.close()
    await remote.close()
    with pytest.raises(ConnectionError):
        await connecting


async def test_silence_is_noticed_and_then_final(hub: MediaHub, remote: Connection) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=QUICK), events)
    await connect(ice, remote, await meet(ice, remote))
    protocol = remote._protocols[0]
    hear = protocol.datagram_received
    protocol.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        assert await events.consent.get() is False
        protocol.datagram_received = hear  # type: ignore[method-assign]
        assert await events.consent.get() is True
        assert not events.expired.is_set()
        protocol.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
        assert await events.consent.get() is False
        await events.expired.wait()
    await ice.close()


async def test_a_viewer_that_moves_is_followed(hub: MediaHub, remote: Connection) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=QUICK), events)
    await connect(ice, remote, await meet(ice, remote))
    events.paths.get_nowait()
    # The old address falls silent; the same viewer checks from a new one.
    old = remote._protocols[0]
    old.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
    moved = Connection(
        ice_controlling=False,
        local_username=remote.local_username,
        local_password=remote.local_password,
    )
    await moved.gather_candidates()
    moved.remote_username, moved.remote_password = ice.ufrag, ice.password
    await moved.add_remote_candidate(Candidate.from_sdp(ice.candidates[0]))
    await moved.add_remote_candidate(None)
    async with asyncio.timeout(10):
        await moved.connect()
        _, address, _ = await events.paths.get()
    assert address.port == moved.local_candidates[0].port
    assert not events.expired.is_set()
    await ice.close()
    await moved.close()


async def test_the_better_pair_is_kept(hub: MediaHub, remote: Connection) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(), events)
    await connect(ice, remote, await meet(ice, remote))
    chosen = ice.agent.selected
    worse = CandidatePair(
        ice.agent._protocols[0], Candidate("9", 1, "udp", 1, "127.0.0.1", 9, "host")
    )
    worse.state, worse.nominated = CandidatePair.State.SUCCEEDED, True
    ice.agent.check_complete(worse)
    assert ice.agent.selected == chosen
    assert events.paths.qsize() == 1
    await ice.close()


async def test_a_viewer_cannot_grow_the_check_list(hub: MediaHub) -> None:
    ice = IceTransport(hub, IceSettings(), Events())
    ice.gather()
    ice.agent.remote_username, ice.agent.remote_password = "abcd", "x" * 24
    connecting = asyncio.create_task(ice.agent.connect())
    await asyncio.sleep(0)
    for port in range(1, 3 * MAX_PAIRS):
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{ice.ufrag}:abcd"
        message.attributes["PRIORITY"] = 1
        message.add_message_integrity(ice.password.encode())
        hub.ports[0].dispatch(bytes(message), ("127.0.0.1", port))
    assert len(ice.agent._check_list) == MAX_PAIRS
    for i in range(3 * MAX_REMOTE_CANDIDATES):
        await ice.add_candidate(f"{i} 1 udp {i} 127.0.0.2 {i + 1} typ host")
    assert len(ice.agent._check_list) <= MAX_PAIRS
    assert len(ice.agent.remote_candidates) <= MAX_PAIRS + MAX_REMOTE_CANDIDATES
    await ice.close()
    with pytest.raises(ConnectionError):
        await connecting


@pytest.mark.parametrize(
    "line",
    [
        "candidate:1 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
        "candidate:1 2 udp 1 127.0.0.1 9 typ host",
        "candidate:1 1 udp 1 example.com 9 typ host",
        "candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "candidate:1 1 udp 1 224.0.0.1 9 typ host",
        "candidate:1 1 udp 1 fe80::1%eth0 9 typ host",
        "candidate:1 1 udp 1 127.0.0.1 0 typ host",
        "candidate:1 1 udp 1 127.0.0.1 9 typ wishful",
        "",
    ],
)
async def test_candidates_of_no_use_are_ignored(hub: MediaHub, line: str) -> None:
    ice = IceTransport(hub, IceSettings(), Events())
    ice.gather()
    await ice.add_candidate(line)
    assert ice.agent.remote_candidates == []
    await ice.close()


@pytest.mark.parametrize(
    "line",
    [
        "candidate:1 1 udp",
        "candidate:1 x udp 1 127.0.0.1 9 typ host",
        "candidate:1 1 udp 1 127.0.0.1 99999 typ host",
        "candidate:1 1 udp -1 127.0.0.1 9 typ host",
        "candidate:1 1 udp 1 127.0.0.1 9 typ host rport x",
    ],
)
async def test_malformed_candidates_are_refused(hub: MediaHub, line: str) -> None:
    ice = IceTransport(hub, IceSettings(), Events())
    with pytest.raises(SdpError, match="candidate is malformed"):
        await ice.add_candidate(line)
    await ice.close()


# A viewer that moves ----------------------------------------------------------------------------


class Nat(asyncio.DatagramProtocol):
    """Stands between a viewer and the hub; the hub sees one port of ours, then another."""

    def __init__(self, hub: tuple[str, int]) -> None:
        self._hub = hub
        self._viewer: tuple[str, int] | None = None
        self._inside: asyncio.DatagramTransport
        self._outside: asyncio.DatagramTransport
        self.forwarded = 0

    @classmethod
    async def open(cls, hub: tuple[str, int]) -> Nat:
        nat = cls(hub)
        loop = asyncio.get_running_loop()
        nat._inside, _ = await loop.create_datagram_endpoint(
            lambda: nat, local_addr=("127.0.0.1", 0)
        )
        await nat.rebind()
        return nat

    @property
    def address(self) -> tuple[str, int]:
        """What the viewer takes for the hub."""
        host, port = self._inside.get_extra_info("sockname")
        return host, port

    @property
    def port(self) -> int:
        """Where the hub sees the viewer now."""
        return int(self._outside.get_extra_info("sockname")[1])

    async def rebind(self) -> None:
        """Forget the binding: another port, and what goes to the old one gets nowhere."""
        old = getattr(self, "_outside", None)
        loop = asyncio.get_running_loop()
        self._outside, _ = await loop.create_datagram_endpoint(
            lambda: _Outside(self), local_addr=("127.0.0.1", 0)
        )
        if old is not None:
            old.close()

    def close(self) -> None:
        self._inside.close()
        self._outside.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._viewer = addr
        self._outside.sendto(data, self._hub)

    def inward(self, data: bytes) -> None:
        if self._viewer is not None:
            self.forwarded += 1
            self._inside.sendto(data, self._viewer)


class _Outside(asyncio.DatagramProtocol):
    def __init__(self, nat: Nat) -> None:
        self._nat = nat

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._nat.inward(data)


async def behind_nat(ice: IceTransport, remote: Connection, nat: Nat) -> None:
    """Connect a viewer whose candidates are all of its own network."""
    ice.gather()
    await remote.gather_candidates()
    remote.remote_username, remote.remote_password = ice.ufrag, ice.password
    await remote.add_remote_candidate(
        Candidate("1", 1, "udp", 2**31 - 1, *nat.address, type="host")
    )
    await remote.add_remote_candidate(None)
    # As a STUN server told it, and better than what is found out by a check.
    mapped = f"1 1 udp 2130706431 127.0.0.1 {nat.port} typ host"
    parameters = Transport(
        remote.local_username, remote.local_password, (), setup="active", candidates=(mapped,)
    )
    await connect(ice, remote, parameters)


async def test_a_new_port_of_a_nat_is_followed(hub: MediaHub, remote: Connection) -> None:
    """No restart, no signalling: an authentic check from the new port is enough."""
    slow = IceTiming(consent=3600, consent_retry=0.01, silence=3600)  # no check of ours is due
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=slow), events)
    nat = await Nat.open(("127.0.0.1", hub.port))
    await behind_nat(ice, remote, nat)
    assert (await events.paths.get())[1].port == nat.port
    await nat.rebind()
    # What a viewer's stack does every few seconds.
    [pair] = [p for p in remote._check_list if p.nominated]
    request = remote.build_request(pair, nominate=False)
    key = ice.password.encode()
    await asyncio.wait_for(pair.protocol.request(request, pair.remote_addr, key), 5)
    async with asyncio.timeout(5):
        assert (await events.paths.get())[1].port == nat.port
    await ice.send(b"\x16 there")
    assert await asyncio.wait_for(remote.recv(), 5) == b"\x16 there"
    await remote.send(b"\x16 and back again")
    assert await asyncio.wait_for(ice.recv(), 5) == b"\x16 and back again"
    assert events.consent.empty(), "nobody had to notice"
    await ice.close()
    nat.close()


async def test_a_check_with_a_wrong_password_moves_nobody(
    hub: MediaHub, remote: Connection
) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=QUICK), events)
    await connect(ice, remote, await meet(ice, remote))
    await events.paths.get()
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{ice.ufrag}:{remote.local_username}"
    message.attributes["PRIORITY"] = 1
    message.add_message_integrity(b"guessed" * 4)
    hub.ports[0].dispatch(bytes(message), ("127.0.0.1", 9))
    for _ in range(3):
        ice.doubt()
        await asyncio.sleep(QUICK.consent)
    assert events.paths.empty()
    assert events.consent.empty()
    await ice.close()


async def test_silence_that_is_suspected_is_noticed_at_once(
    hub: MediaHub, remote: Connection
) -> None:
    timing = IceTiming(consent=3600, consent_retry=0.01, silence=0.05, consent_expiry=3600)
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=timing), events)
    await connect(ice, remote, await meet(ice, remote))
    protocol = remote._protocols[0]
    hear = protocol.datagram_received
    ice.doubt()  # without reason
    protocol.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        ice.doubt()
        assert await events.consent.get() is False
        protocol.datagram_received = hear  # type: ignore[method-assign]
        assert await events.consent.get() is True
    assert events.consent.empty()
    await ice.close()


async def _closed(agent: Connection) -> None:
    assert isinstance(await agent.get_event(), ConnectionClosed)


# Restarts ---------------------------------------------------------------------------------------


async def restarted(ice: IceTransport) -> tuple[Connection, Transport]:
    """Restart; returns the viewer's side of the new generation, gathered."""
    before = (ice.ufrag, ice.password)
    ice.restart()
    assert ice.ufrag != before[0]
    assert ice.password != before[1]
    remote = Connection(ice_controlling=False)
    await remote.gather_candidates()
    remote.remote_username, remote.remote_password = ice.ufrag, ice.password
    for line in ice.candidates:
        await remote.add_remote_candidate(Candidate.from_sdp(line))
    await remote.add_remote_candidate(None)
    lines = tuple(c.to_sdp() for c in remote.local_candidates)
    return remote, Transport(remote.local_username, remote.local_password, (), candidates=lines)


async def test_a_restart_moves_the_path_and_dtls_goes_on(hub: MediaHub, remote: Connection) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=QUICK), events)
    await connect(ice, remote, await meet(ice, remote))
    await events.paths.get()
    gone: asyncio.Task[None] = asyncio.ensure_future(_closed(ice.agent))
    receiving = asyncio.create_task(ice.recv())  # as aiortc's DTLS does all the time
    again, parameters = await restarted(ice)
    await ice.send(b"\x16 by the old path")
    assert await asyncio.wait_for(remote.recv(), 5) == b"\x16 by the old path"
    await connect(ice, again, parameters)
    assert (await events.paths.get())[1].port == again.local_candidates[0].port
    assert events.paths.empty()
    await again.send(b"\x16 to the same reader")
    assert await asyncio.wait_for(receiving, 5) == b"\x16 to the same reader"
    await ice.send(b"\x16 by the new path")
    assert await asyncio.wait_for(again.recv(), 5) == b"\x16 by the new path"
    await asyncio.wait_for(gone, 5)
    assert set(hub.ports[0]._by_user) == {ice.ufrag}
    assert not events.expired.is_set()
    await ice.close()
    await again.close()
    assert not hub.ports[0]._by_user
    assert not hub.ports[0]._by_address


async def test_an_address_of_both_generations_is_the_new_ones(
    hub: MediaHub, remote: Connection
) -> None:
    """A late check of the old generation must not take DTLS away with it when it ends."""
    events = Events()
    ice = IceTransport(hub, IceSettings(), events)
    await connect(ice, remote, await meet(ice, remote))
    await events.paths.get()
    old = ice.agent
    again, parameters = await restarted(ice)
    gone = asyncio.ensure_future(_closed(old))
    told = events.on_path

    def late_check(socket: int, to: Address, channel: int) -> None:
        hub.ports[0].learn((to.host, to.port), old._protocols[0])
        told(socket, to, channel)

    events.on_path = late_check  # type: ignore[method-assign]
    await connect(ice, again, parameters)
    await asyncio.wait_for(gone, 5)
    await again.send(b"\x16 who hears this?")
    assert await asyncio.wait_for(ice.recv(), 5) == b"\x16 who hears this?"
    await ice.close()
    await again.close()


async def test_a_restart_brings_back_who_was_silent(hub: MediaHub, remote: Connection) -> None:
    events = Events()
    timing = IceTiming(consent=0.05, consent_retry=0.01, silence=0.05, connect=10)
    ice = IceTransport(hub, IceSettings(timing=timing), events)
    await connect(ice, remote, await meet(ice, remote))
    remote._protocols[0].datagram_received = lambda data, addr: None  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        assert await events.consent.get() is False
        again, parameters = await restarted(ice)
        await connect(ice, again, parameters)
        assert await events.consent.get() is True
    await ice.close()
    await again.close()


async def test_a_restart_that_nobody_answers_changes_nothing(
    hub: MediaHub, remote: Connection
) -> None:
    events = Events()
    ice = IceTransport(hub, IceSettings(timing=IceTiming(connect=0.2)), events)
    await connect(ice, remote, await meet(ice, remote))
    await events.paths.get()
    unanswered, _ = await restarted(ice)
    unreachable, parameters = await restarted(ice)
    await unreachable.close()
    with pytest.raises(ConnectionError, match="no candidate pair works"):
        await ice.connect(parameters)
    await ice.send(b"\x16 still here")
    assert await asyncio.wait_for(remote.recv(), 5) == b"\x16 still here"
    assert events.paths.empty()
    assert events.consent.empty()
    await ice.close()
    await unanswered.close()
    assert not hub.ports[0]._by_user


async def test_candidates_of_the_old_generation_stay_there(
    hub: MediaHub, remote: Connection
) -> None:
    ice = IceTransport(hub, IceSettings(), Events())
    await connect(ice, remote, await meet(ice, remote))
    old = ice.agent
    again, _ = await restarted(ice)
    line = "1 1 udp 1 127.0.0.2 9 typ host generation 0 ufrag"
    await ice.add_candidate(f"{line} {remote.local_username} network-cost 999")
    assert [c.host for c in old.remote_candidates].count("127.0.0.2") == 1
    await ice.add_candidate(f"{line} {again.local_username} network-cost 999")
    assert [c.host for c in old.remote_candidates].count("127.0.0.2") == 1
    assert [c.host for c in ice._newest.agent.remote_candidates] == ["127.0.0.2"]
    await ice.close()
    await again.close()
