"""ICE on the hub's sockets, against plain aioice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aioice import Candidate, Connection, stun
from aioice.ice import CandidatePair

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
