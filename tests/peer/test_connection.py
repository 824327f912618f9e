"""Whole connections: real native hub, plain aiortc on the other side, loopback between them."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator

import aioice
import pytest
from aiortc import RTCDataChannel

from native import Codec, Source, SrtpProfile, Stream, StreamSettings
from peer.connection import (
    MAX_REMOTE_CHANNELS,
    Connection,
    ConnectionEvents,
    ConnectionSettings,
    ConnectionState,
    InvalidState,
)
from peer.dtls import Certificate
from peer.hub import HubSettings, MediaHub
from peer.ice import IceSettings, IceTiming
from peer.sdp import SdpError, VideoOffer
from peer.sdp_lines import read_sections

from .viewer import Viewer, use_loopback

CERTIFICATE = Certificate()


class Watcher(ConnectionEvents):
    """Remembers what a connection tells."""

    def __init__(self) -> None:
        self.states: list[ConnectionState] = []
        self.candidates: list[str] = []
        self.channels: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
        self._waiting: set[asyncio.Future[None]] = set()

    def state_changed(self, connection: Connection, state: ConnectionState) -> None:
        self.states.append(state)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def candidate(self, connection: Connection, candidate: str) -> None:
        self.candidates.append(candidate)

    def data_channel(self, connection: Connection, channel: RTCDataChannel) -> None:
        self.channels.put_nowait(channel)

    async def until(self, state: ConnectionState, timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while state not in self.states:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.add(future)
                await future
                self._waiting.discard(future)


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loopback(monkeypatch)


@pytest.fixture
async def hub() -> AsyncIterator[MediaHub]:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    yield hub
    await hub.close()
    # An aiortc.RTCPeerConnection that is closed while it connects leaves tasks behind.
    theirs = ("RTCPeerConnection", " coro=<Connection.query_consent")
    others = [t for t in asyncio.all_tasks() if not any(name in repr(t) for name in theirs)]
    assert others == [asyncio.current_task()], "tasks were left behind"


@pytest.fixture
async def stream(hub: MediaHub) -> AsyncIterator[Stream]:
    settings = StreamSettings(fps=30, bitrate=1_000_000, idr_interval_ms=50)
    stream = Stream(Source.pattern(320, 180), settings, hub.native)
    yield stream
    stream.close()


def settings(**changes: object) -> ConnectionSettings:
    video = changes.pop("video", None) or VideoOffer(width=320, height=180, fps=30)
    return ConnectionSettings(video=video, **changes)  # type: ignore[arg-type]


async def connect(connection: Connection, viewer: Viewer) -> None:
    await connection.accept_answer(await viewer.answer(await connection.create_offer()))


async def test_viewer_decodes_the_stream_and_leaves_cleanly(hub: MediaHub, stream: Stream) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    connection.send_stream(stream)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        await viewer.until_frames(20)
        assert (viewer.frames[0].width, viewer.frames[0].height) == (320, 180)
        stats = connection.stats()
        assert stats.state is ConnectionState.CONNECTED
        assert stats.srtp_profile is SrtpProfile.AEAD_AES_128_GCM
        assert not stats.relayed
        assert stats.media is not None
        assert stats.media.frames >= 20
        await connection.close()
        await connection.close()
        await asyncio.wait_for(viewer.closed.wait(), 10)
    assert watcher.states == [
        ConnectionState.GATHERING,
        ConnectionState.OFFERED,
        ConnectionState.CONNECTING,
        ConnectionState.CONNECTED,
        ConnectionState.CLOSED,
    ]
    assert connection.stats().media is None


async def test_two_viewers_share_one_port(hub: MediaHub, stream: Stream) -> None:
    first, second = (Connection(hub, None, settings(), CERTIFICATE) for _ in range(2))
    for connection in (first, second):
        connection.send_stream(stream)
    async with Viewer() as one, Viewer() as two:
        await asyncio.gather(connect(first, one), connect(second, two))
        await asyncio.gather(one.until_frames(10), two.until_frames(10))
        assert first.stats().path != second.stats().path
        await second.close()
        await one.until_frames(len(one.frames) + 10)
        await first.close()
    assert hub.stats.unknown_user == 0


async def test_a_viewer_without_h264_gets_vp8(hub: MediaHub) -> None:
    offered = VideoOffer(width=320, height=180, fps=30, codecs=(Codec.VP8,))
    connection = Connection(hub, None, settings(video=offered), CERTIFICATE)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        assert connection.answer is not None
        assert connection.answer.video is not None
        assert connection.answer.video.codec is Codec.VP8
        await connection.close()


async def test_data_channels_both_ways(hub: MediaHub) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    ours = connection.create_data_channel("input", ordered=False, max_retransmits=0)
    received: asyncio.Queue[object] = asyncio.Queue()
    ours.on("message", received.put_nowait)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        theirs = await asyncio.wait_for(viewer.channels.get(), 10)
        assert (theirs.label, theirs.ordered, theirs.maxRetransmits) == ("input", False, 0)
        theirs.send(b"\x00\x01")
        assert await asyncio.wait_for(received.get(), 10) == b"\x00\x01"
        viewer.pc.createDataChannel("chat")
        opened = await asyncio.wait_for(watcher.channels.get(), 10)
        assert opened.label == "chat"
        await connection.close()


async def test_a_viewer_may_not_open_channels_without_end(hub: MediaHub) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        channels = [viewer.pc.createDataChannel(str(i)) for i in range(MAX_REMOTE_CHANNELS + 1)]
        closed = asyncio.Event()
        channels[-1].on("close", closed.set)
        await asyncio.wait_for(closed.wait(), 10)
        assert watcher.channels.qsize() == MAX_REMOTE_CHANNELS
        await connection.close()


async def test_a_viewer_that_leaves_closes_the_connection(hub: MediaHub, stream: Stream) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    connection.send_stream(stream)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        await viewer.until_frames(1)
    await watcher.until(ConnectionState.CLOSED)
    await connection.close()
    assert connection.failure == ""


async def test_a_viewer_that_vanishes_is_given_up(
    hub: MediaHub, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.02)
    timing = IceTiming(consent=0.05, consent_retry=0.01, silence=0.05, consent_expiry=0.4)
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(ice=IceSettings(timing=timing)), CERTIFICATE)
    connection.send_stream(stream)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        await viewer.until_frames(1)
        # Deaf from here on, without a farewell.
        ice = viewer.pc.getTransceivers()[0].receiver.transport.transport
        for protocol in ice._connection._protocols:
            monkeypatch.setattr(protocol, "datagram_received", lambda data, addr: None)
        await watcher.until(ConnectionState.FAILED)
        assert ConnectionState.DISCONNECTED in watcher.states
        assert connection.failure == "the viewer stopped answering"
        assert connection.stats().media is None
        await connection.close()


async def test_a_bad_answer_leaves_room_for_a_good_one(hub: MediaHub) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    async with Viewer() as viewer:
        answer = await viewer.answer(await connection.create_offer())
        with pytest.raises(SdpError, match="a=setup:actpass"):
            await connection.accept_answer(answer.replace("a=setup:active", "a=setup:actpass"))
        await connection.accept_answer(answer)
        await watcher.until(ConnectionState.CONNECTED)
        await connection.close()


async def test_another_certificate_than_announced_fails(hub: MediaHub) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    async with Viewer() as viewer:
        lines = (await viewer.answer(await connection.create_offer())).splitlines()
        forged = [
            f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}" if "sha-256" in line else line
            for line in lines
        ]
        await connection.accept_answer("\r\n".join(forged) + "\r\n")
        await watcher.until(ConnectionState.FAILED)
        expected = "the other side's certificate is not the one its description announced"
        assert connection.failure == expected
        await connection.close()


async def test_nobody_there_fails_in_time(hub: MediaHub) -> None:
    watcher = Watcher()
    ice = IceSettings(timing=IceTiming(connect=0.05))
    connection = Connection(hub, watcher, settings(ice=ice), CERTIFICATE)
    async with Viewer() as viewer:
        answer = await viewer.answer(await connection.create_offer())
    await connection.accept_answer(answer)
    await watcher.until(ConnectionState.FAILED)
    assert connection.failure == "no candidate pair works"
    await connection.close()


async def test_late_candidates_connect(hub: MediaHub) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    async with Viewer() as viewer:
        # Without the host's candidates the viewer cannot begin, without its own the host cannot.
        offer = await connection.create_offer()
        bare = "".join(line for line in offer.splitlines(keepends=True) if "candidate" not in line)
        answer = (await viewer.answer(bare)).splitlines()
        candidates = [line for line in answer if line.startswith("a=candidate:")]
        assert candidates
        await connection.accept_answer(
            "\r\n".join(line for line in answer if "candidate" not in line) + "\r\n"
        )
        with pytest.raises(SdpError, match="candidate is malformed"):
            await connection.add_candidate("candidate:1 1 udp many 127.0.0.1 1 typ host")
        await connection.add_candidate(candidates[0].removeprefix("a="))
        await connection.add_candidate("")
        await watcher.until(ConnectionState.CONNECTED)
        await connection.close()


def lines_of(sdp: str, *names: str) -> list[str]:
    """Its lines of these attributes (or types), in order."""
    return [line for line in sdp.splitlines() if line.startswith(tuple(names))]


async def moved(offer: str, answer: str) -> tuple[aioice.Connection, str]:
    """The ICE of a viewer that answers a restart from another socket, and its answer."""
    transport = read_sections(offer)[1][0]
    ice = aioice.Connection(ice_controlling=False)
    await ice.gather_candidates()
    [ufrag, password] = [transport.first(name) for name in ("ice-ufrag", "ice-pwd")]
    assert ufrag is not None
    assert password is not None
    ice.remote_username, ice.remote_password = ufrag.value, password.value
    for line in transport.all("candidate"):
        await ice.add_remote_candidate(aioice.Candidate.from_sdp(line.value))
    await ice.add_remote_candidate(None)
    lines = []
    for line in answer.splitlines():
        name = line.partition(":")[0]
        changed = {
            "a=ice-ufrag": [f"a=ice-ufrag:{ice.local_username}"],
            "a=ice-pwd": [f"a=ice-pwd:{ice.local_password}"],
            "a=candidate": [],
        }
        lines += changed.get(name, [line])
    lines += [f"a=candidate:{c.to_sdp()}" for c in ice.local_candidates]
    return ice, "\r\n".join(lines) + "\r\n"


async def test_a_restart_offers_the_same_session_and_moves_the_media(
    hub: MediaHub, stream: Stream
) -> None:
    watcher = Watcher()
    video = VideoOffer(width=320, height=180, fps=30)
    connection = Connection(hub, watcher, settings(video=video), CERTIFICATE)
    connection.send_stream(stream)
    async with Viewer() as viewer:
        offer = await connection.create_offer()
        answer = await viewer.answer(offer)
        await connection.accept_answer(answer)
        await viewer.until_frames(5)
        again = connection.restart_ice()
        session, version = lines_of(again, "o=")[0].split()[1:3]
        assert (session, version) == (lines_of(offer, "o=")[0].split()[1], "2")
        for kept in ("a=fingerprint", "a=ssrc", "a=rtpmap", "a=extmap", "a=mid", "a=candidate"):
            assert lines_of(again, kept) == lines_of(offer, kept)
        assert lines_of(again, "a=ice-ufrag") != lines_of(offer, "a=ice-ufrag")
        assert lines_of(again, "a=ice-pwd") != lines_of(offer, "a=ice-pwd")
        ice, restarted = await moved(again, answer)
        await viewer.until_frames(len(viewer.frames) + 5)  # by the old path, meanwhile
        await connection.accept_answer(restarted)
        await asyncio.wait_for(ice.connect(), 10)
        async with asyncio.timeout(10):
            while (packet := await ice.recv())[1] & 0x7F < 96:  # RTCP
                pass
        assert int.from_bytes(packet[8:12], "big") == video.ssrc
        path = connection.stats().path
        assert path is not None
        assert path.port == ice.local_candidates[0].port
        assert connection.state is ConnectionState.CONNECTED
        assert watcher.states.count(ConnectionState.CONNECTED) == 1
        await connection.close()
        await ice.close()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("a=ice-ufrag:", "a=ice-ufrag:", "keeps its credentials"),
        ("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 AB:", "hexadecimal"),
        ("a=rtpmap:96 H264/90000", "a=rtpmap:96 H265/90000", "another video"),
    ],
)
async def test_an_answer_that_changes_more_than_the_path_is_refused(
    hub: MediaHub, before: str, after: str, words: str
) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    async with Viewer() as viewer:
        answer = await viewer.answer(await connection.create_offer())
        await connection.accept_answer(answer)
        await watcher.until(ConnectionState.CONNECTED)
        connection.restart_ice()
        assert before in answer
        with pytest.raises(SdpError, match=words):
            await connection.accept_answer(answer.replace(before, after))
        assert connection.state is ConnectionState.CONNECTED
        await connection.close()


async def test_another_certificate_is_another_session(hub: MediaHub) -> None:
    watcher = Watcher()
    connection = Connection(hub, watcher, settings(), CERTIFICATE)
    async with Viewer() as viewer, Viewer() as thief:
        await connect(connection, viewer)
        await watcher.until(ConnectionState.CONNECTED)
        stolen = await thief.answer(connection.restart_ice())
        with pytest.raises(SdpError, match="another certificate"):
            await connection.accept_answer(stolen)
        await connection.close()
        with pytest.raises(InvalidState, match="ICE restart is not for"):
            connection.restart_ice()


async def test_ipv6_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loopback(monkeypatch, "::1")
    hub = MediaHub(HubSettings(bind=("127.0.0.1", "::1")))
    stream = Stream(Source.pattern(320, 180), StreamSettings(fps=30), hub.native)
    connection = Connection(hub, None, settings(), CERTIFICATE)
    connection.send_stream(stream)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        await viewer.until_frames(5)
        path = connection.stats().path
        assert path is not None
        assert path.host == "::1"
        await connection.close()
    stream.close()
    await hub.close()


@pytest.fixture
def attacker() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield udp


async def test_a_flood_of_rubbish_disturbs_nobody(
    hub: MediaHub, stream: Stream, attacker: socket.socket
) -> None:
    rng = random.Random(7)
    connection = Connection(hub, None, settings(), CERTIFICATE)
    connection.send_stream(stream)
    async with Viewer() as viewer:
        await connect(connection, viewer)
        await viewer.until_frames(5)
        for i in range(2000):
            first = rng.choice((0, 1, 20, 22, 63, 64, 79, 128, 200, 255))
            body = bytes([first]) + rng.randbytes(rng.randrange(60))
            attacker.sendto(body, ("127.0.0.1", hub.port))
            if i % 50 == 0:
                await asyncio.sleep(0)
        await viewer.until_frames(len(viewer.frames) + 10)
        assert connection.state is ConnectionState.CONNECTED
        assert hub.stats.malformed > 0
        assert hub.stats.unknown_source > 0
        await connection.close()


async def test_methods_in_the_wrong_state_say_so(hub: MediaHub) -> None:
    connection = Connection(hub, None, settings(), CERTIFICATE)
    with pytest.raises(InvalidState, match="accept_answer is not for a connection that is new"):
        await connection.accept_answer("v=0")
    await connection.create_offer()
    with pytest.raises(InvalidState, match="create_offer"):
        await connection.create_offer()
    with pytest.raises(ValueError, match="label takes ASCII"):
        connection.create_data_channel("späße")
    await connection.close()
    with pytest.raises(InvalidState, match="create_data_channel"):
        connection.create_data_channel("late")
    await connection.add_candidate("whatever comes after the end")


async def test_closing_at_every_stage_leaves_nothing(hub: MediaHub) -> None:
    for stage in range(4):
        connection = Connection(hub, None, settings(), CERTIFICATE)
        async with Viewer() as viewer:
            if stage > 0:
                offer = await connection.create_offer()
            if stage > 1:
                await connection.accept_answer(await viewer.answer(offer))
            for _ in range(20 * (stage - 2)):
                await asyncio.sleep(0)
            await connection.close()
        assert connection.state is ConnectionState.CLOSED
    assert not hub.ports[0]._by_user
    assert not hub.ports[0]._by_address
    assert not hub.ports[0]._transactions
