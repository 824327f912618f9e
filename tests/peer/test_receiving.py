"""Receiving connections: what our host sends, and what a plain aiortc sends, becomes pictures."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import av
import numpy as np
import pytest
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

from native import Codec, Source, SrtpProfile, Stream, StreamSettings
from peer.connection import Connection, ConnectionSettings, ConnectionState, InvalidState
from peer.dtls import GCM_PROFILES
from peer.hub import HubSettings, MediaHub
from peer.receiving import ReceivingConnection, ReceivingEvents, ReceivingSettings
from peer.sdp import VideoOffer
from peer.sdp_answer import Wanted
from peer.sdp_lines import SdpError

from .viewer import use_loopback

CM80 = SrtpProfile.AES128_CM_SHA1_80


class Watcher(ReceivingEvents):
    """Remembers what a connection tells."""

    def __init__(self) -> None:
        self.states: list[ConnectionState] = []
        self.channels: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
        self.media_ends = 0
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def state_changed(self, connection: ReceivingConnection, state: ConnectionState) -> None:
        self.states.append(state)
        self._wake()

    def data_channel(self, connection: ReceivingConnection, channel: RTCDataChannel) -> None:
        self.channels.put_nowait(channel)

    def media_ended(self, connection: ReceivingConnection) -> None:
        self.media_ends += 1
        self._wake()

    async def until(self, state: ConnectionState, timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: state in self.states)

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.ensure_future(notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loopback(monkeypatch)


@pytest.fixture
async def hub() -> AsyncIterator[MediaHub]:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    yield hub
    await hub.close()


@pytest.fixture
async def host(hub: MediaHub) -> AsyncIterator[Connection]:
    """Our host, of a hub of its own, that sends the pattern at 30 frames a second."""
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    source = Source.pattern(320, 180)
    stream = Stream(
        source, StreamSettings(fps=30, bitrate=1_000_000, idr_interval_ms=50), hub.native
    )
    offer = VideoOffer(width=320, height=180, fps=30)
    profiles = (*GCM_PROFILES, CM80)
    connection = Connection(hub, None, ConnectionSettings(video=offer, srtp_profiles=profiles))
    connection.send_stream(stream)
    yield connection
    await connection.close()
    stream.close()
    await hub.close()


async def connect(host: Connection, viewer: ReceivingConnection) -> None:
    await host.accept_answer(await viewer.accept_offer(await host.create_offer()))


async def pattern_numbers(viewer: ReceivingConnection, count: int) -> list[int]:
    """The numbers of so many pictures."""
    assert viewer.track is not None
    numbers: list[int] = []
    async with asyncio.timeout(20):
        while len(numbers) < count:
            code = (await viewer.track.recv_picture()).frame.pattern
            assert code is not None, "a picture carries no number"
            numbers.append(code.frame)
    return numbers


# ---- Our host ----------------------------------------------------------------------------------


async def test_every_picture_of_our_host_arrives_in_order(hub: MediaHub, host: Connection) -> None:
    watcher = Watcher()
    viewer = ReceivingConnection(hub, watcher, ReceivingSettings(read_pattern=True))
    ours = host.create_data_channel("stats", ordered=False, max_retransmits=0)
    await connect(host, viewer)
    numbers = await pattern_numbers(viewer, 30)
    assert numbers == list(range(numbers[0], numbers[0] + 30))
    channel = await asyncio.wait_for(watcher.channels.get(), 10)
    assert channel.label == ours.label == "stats"
    stats = viewer.stats()
    assert (stats.state, stats.srtp_profile) == (ConnectionState.CONNECTED, GCM_PROFILES[0])
    assert stats.ice_rtt_ms is not None
    assert 0 < stats.ice_rtt_ms < 1000
    assert viewer.reception is not None
    counters = viewer.reception.stats()
    assert (counters.lost, counters.malformed, counters.unknown) == (0, 0, 0)
    assert (counters.width, counters.height) == (320, 180)
    await host.close()
    await watcher.until(ConnectionState.CLOSED)
    assert watcher.media_ends == 1
    assert viewer.track is not None
    assert viewer.track.readyState == "ended"
    await viewer.close()


@pytest.mark.parametrize("codec", list(Codec))
async def test_the_codec_is_the_viewers_choice(
    hub: MediaHub, host: Connection, codec: Codec
) -> None:
    settings = ReceivingSettings(wanted=Wanted(codecs=(codec,)), read_pattern=True)
    viewer = ReceivingConnection(hub, None, settings)
    await connect(host, viewer)
    assert await pattern_numbers(viewer, 5)
    assert host.answer is not None
    assert host.answer.video is not None
    assert host.answer.video.codec is codec
    await viewer.close()


@pytest.mark.parametrize(
    ("profiles", "chosen", "setup"),
    [
        ((*GCM_PROFILES, CM80), GCM_PROFILES[0], "passive"),
        (GCM_PROFILES, GCM_PROFILES[0], "active"),
        ((CM80,), CM80, "active"),
    ],
)
async def test_aes_gcm_is_chosen_where_both_have_it(
    hub: MediaHub,
    host: Connection,
    profiles: tuple[SrtpProfile, ...],
    chosen: SrtpProfile,
    setup: str,
) -> None:
    settings = ReceivingSettings(srtp_profiles=profiles, read_pattern=True)
    viewer = ReceivingConnection(hub, None, settings)
    await connect(host, viewer)
    assert await pattern_numbers(viewer, 3)
    assert viewer.stats().srtp_profile is chosen
    assert host.answer is not None
    assert host.answer.transport.setup == setup
    await viewer.close()


async def test_an_ice_restart_keeps_the_picture(hub: MediaHub, host: Connection) -> None:
    viewer = ReceivingConnection(hub, None, ReceivingSettings(read_pattern=True))
    await connect(host, viewer)
    before = await pattern_numbers(viewer, 3)
    track, offer = viewer.track, viewer.offer
    again = host.restart_ice()
    assert viewer.continues(again)
    answer = await viewer.accept_offer(again)
    assert f"o=- {offer.session_id if offer else 0} 2 " in answer
    await host.accept_answer(answer)
    after = await pattern_numbers(viewer, 30)
    assert viewer.track is track
    numbers = [*before, *after]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    await viewer.close()


async def test_another_hosts_offer_is_no_continuation(hub: MediaHub, host: Connection) -> None:
    viewer = ReceivingConnection(hub, None, ReceivingSettings(read_pattern=True))
    await connect(host, viewer)
    assert await pattern_numbers(viewer, 1)
    other = Connection(hub, None, ConnectionSettings())
    offer = await other.create_offer()
    assert not viewer.continues(offer)
    with pytest.raises(SdpError, match="another session"):
        await viewer.accept_offer(offer)
    assert await pattern_numbers(viewer, 1)
    await other.close()
    await viewer.close()


async def test_a_bad_offer_leaves_it_waiting_for_a_better_one(
    hub: MediaHub, host: Connection
) -> None:
    viewer = ReceivingConnection(hub, None, ReceivingSettings(read_pattern=True))
    with pytest.raises(SdpError):
        await viewer.accept_offer("v=0\r\n")
    await connect(host, viewer)
    assert await pattern_numbers(viewer, 1)
    await viewer.close()
    with pytest.raises(InvalidState):
        viewer.create_data_channel("late")


# ---- Plain aiortc ------------------------------------------------------------------------------


class Bands(VideoStreamTrack):
    """Bands of red, green and blue."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        pixels = np.zeros((180, 320, 3), np.uint8)
        for band in range(3):
            pixels[60 * band : 60 * band + 60, :, band] = 200
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_plain_aiortc_sender_is_seen(hub: MediaHub, codec: Codec) -> None:
    """Its audio is rejected, its picture and its data channel are taken."""
    watcher = Watcher()
    viewer = ReceivingConnection(hub, watcher, ReceivingSettings(wanted=Wanted(codecs=(codec,))))
    sender = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender.addTrack(AudioStreamTrack())
    sender.addTrack(Bands())
    sender.createDataChannel("chat")
    await sender.setLocalDescription(await sender.createOffer())
    answer = await viewer.accept_offer(sender.localDescription.sdp)
    await sender.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert viewer.track is not None
    times: list[int] = []
    async with asyncio.timeout(20):
        for _ in range(10):
            frame = await viewer.track.recv()
            assert frame.pts is not None
            times.append(frame.pts)
        assert (await watcher.channels.get()).label == "chat"
    pixels = frame.to_ndarray(format="rgb24").astype(int)
    for band in range(3):
        red, green, blue = pixels[60 * band + 20 : 60 * band + 40].mean(axis=(0, 1))
        assert np.argmax((red, green, blue)) == band
        assert (red, green, blue)[band] > 150
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(2999 <= step <= 3001 for step in steps), steps  # its frames are 30 a second
    await sender.close()
    await viewer.close()
