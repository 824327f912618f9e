"""The received track: over two hubs, and with plain aiortc as the sender."""

from __future__ import annotations

import asyncio
import fractions
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import aiortc
import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from native import (
    Codec,
    Hub,
    MediaSettings,
    Peer,
    Picture,
    ReceivedFrame,
    ReceiveSettings,
    Reception,
    Source,
    SrtpProfile,
    Stream,
    StreamSettings,
    clock_ns,
    read_pattern,
    write_pattern,
)
from peer.hub import HubSettings, MediaHub
from peer.received_track import ReceivedTrack
from peer.receiving import ReceivingConnection

from .viewer import use_loopback

RECEIVE = ReceiveSettings(Codec.H264, payload_type=96, picture_depth=16, read_pattern=True)
MEDIA = MediaSettings(Codec.H264, payload_type=96, ssrc=1)


@contextmanager
def two_peers() -> Iterator[tuple[Hub, Peer, Peer]]:
    """A hub with a peer that sends to another hub's, and that one."""
    keys = bytes(range(28)), bytes(range(1, 29))
    with Hub(["127.0.0.1"]) as sender, Hub(["127.0.0.1"]) as receiver:
        to_receiver, to_sender = sender.open_peer(), receiver.open_peer()
        to_receiver.set_path(0, receiver.addresses[0])
        to_sender.set_path(0, sender.addresses[0])
        to_receiver.set_keys(SrtpProfile.AEAD_AES_128_GCM, *keys)
        to_sender.set_keys(SrtpProfile.AEAD_AES_128_GCM, *reversed(keys))
        yield sender, to_receiver, to_sender


@asynccontextmanager
async def received_pattern(
    settings: ReceiveSettings = RECEIVE,
) -> AsyncIterator[tuple[ReceivedTrack, Peer]]:
    """A track that the pattern comes out of, and the peer that it belongs to."""
    with two_peers() as (hub, to_receiver, to_sender):
        stream_settings = StreamSettings(fps=60, bitrate=2_000_000)
        with Stream(Source.pattern(320, 180), stream_settings, hub) as stream:
            track = ReceivedTrack(Reception(to_sender, settings))
            to_receiver.send(stream, MEDIA)
            try:
                async with asyncio.timeout(20):
                    yield track, to_sender
            finally:
                track.stop()


async def receive(track: ReceivedTrack, count: int) -> list[av.VideoFrame]:
    return [await track.recv() for _ in range(count)]


async def test_recv_gives_every_frame_of_the_pattern() -> None:
    async with received_pattern() as (track, _):
        assert track.kind == "video"
        frames = await receive(track, 30)
    codes = [read_pattern(frame.to_ndarray(format="gray")) for frame in frames]
    numbers = [code.frame for code in codes if code is not None]
    assert numbers == list(range(numbers[0], numbers[0] + 30))
    assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {
        (320, 180, "yuv420p")
    }
    pts = [frame.pts for frame in frames if frame.pts is not None]
    assert pts[0] == 0
    assert pts == sorted(set(pts))
    assert {frame.time_base for frame in frames} == {fractions.Fraction(1, 90_000)}
    drawn_s = [code.time_us / 1e6 for code in codes if code is not None]
    assert pts[-1] / 90_000 == pytest.approx(drawn_s[-1] - drawn_s[0], abs=0.02)


async def test_pictures_are_arrays_with_their_times() -> None:
    async with received_pattern() as (track, _):
        picture = await track.recv_picture()
        now_ns = clock_ns()
    assert (picture.y.shape, picture.y.dtype) == ((180, 320), np.uint8)
    assert read_pattern(picture.y) == picture.frame.pattern
    assert 0 < picture.frame.first_packet_ns <= picture.frame.decoded_ns < now_ns


async def test_stop_ends_recv_and_closes_the_reception() -> None:
    with two_peers() as (_, _, to_sender):
        track = ReceivedTrack(Reception(to_sender, RECEIVE))
        pending = asyncio.ensure_future(track.recv())
        await asyncio.sleep(0)
        track.stop()
        with pytest.raises(MediaStreamError):
            await pending
        with pytest.raises(MediaStreamError):
            await track.recv_picture()
        assert track.readyState == "ended"
        assert track.reception.closed
        track.stop()
        track.request_keyframe()


async def test_the_track_ends_with_its_peer() -> None:
    ended = asyncio.Event()
    async with received_pattern() as (track, peer):
        track.on("ended", ended.set)
        await track.recv()
        peer.close()
        with pytest.raises(MediaStreamError):
            await receive(track, 1000)
    assert ended.is_set()
    assert track.reception.closed


async def test_a_keyframe_comes_when_asked_for() -> None:
    async with received_pattern() as (track, _):
        assert (await track.recv_picture()).frame.idr
        assert not (await track.recv_picture()).frame.idr
        track.request_keyframe()
        while not (await track.recv_picture()).frame.idr:
            pass


async def test_rtp_time_becomes_a_count_that_does_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [2**32 - 3000, 2**32 - 1500, 0, 1500]
    frame = ReceivedFrame(0, 0, 0, True, False, 0, 0, 1, None)
    pictures = [
        Picture(replace(frame, rtp_time=t), 16, 16, 1, False, np.zeros(384, np.uint8))
        for t in times
    ]
    with two_peers() as (_, _, to_sender):
        reception = Reception(to_sender, RECEIVE)
        monkeypatch.setattr(reception, "read_picture", iter(pictures).__next__)
        track = ReceivedTrack(reception)
        assert [(await track.recv()).pts for _ in times] == [0, 1500, 3000, 4500]
        track.stop()


# Plain aiortc -----------------------------------------------------------------------------------


class Painted(aiortc.VideoStreamTrack):
    """Pictures with a number in their pixels, for aiortc's own encoders."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        bgrx = np.full((360, 640, 4), 90, np.uint8)
        write_pattern(bgrx, next(self._numbers), 0)
        frame = av.VideoFrame.from_ndarray(bgrx[:, :, :3].copy(), format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


@asynccontextmanager
async def from_aiortc(codec: Codec) -> AsyncIterator[ReceivingConnection]:
    """A connection of ours that answered plain aiortc's offer."""
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    sending = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    connection = ReceivingConnection(hub)
    try:
        sending.addTrack(Painted())
        offered = aiortc.RTCRtpSender.getCapabilities("video").codecs
        wanted = {f"video/{codec.name}".lower(), "video/rtx"}
        sending.getTransceivers()[0].setCodecPreferences(
            [c for c in offered if c.mimeType.lower() in wanted]
        )
        await sending.setLocalDescription(await sending.createOffer())
        answer = await connection.accept_offer(sending.localDescription.sdp)
        await sending.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(30):
            yield connection
    finally:
        await connection.close()
        await sending.close()
        await hub.close()


@pytest.mark.parametrize("codec", Codec)
async def test_plain_aiortc_sends_to_the_track(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loopback(monkeypatch)
    async with from_aiortc(codec) as connection:
        track = connection.track
        assert track is not None
        numbers = []
        while len(numbers) < 30:
            frame = await track.recv()
            code = read_pattern(frame.to_ndarray(format="gray"))
            assert code is not None
            numbers.append(code.frame)
        stats = track.reception.stats()
    assert numbers == list(range(numbers[0], numbers[0] + 30))
    assert (stats.decode_errors, stats.pictures_passed_over, stats.malformed) == (0, 0, 0)
