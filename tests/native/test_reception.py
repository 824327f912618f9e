"""A stream of one hub, received by another one over loopback."""

from __future__ import annotations

import errno
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import av
import numpy as np
import pytest

from native import (
    Address,
    Codec,
    Hub,
    InvalidArgument,
    MediaSettings,
    NativeError,
    Peer,
    PeerBye,
    Picture,
    ReceiveSettings,
    Reception,
    Source,
    SrtpProfile,
    Stream,
    StreamEnded,
    StreamSettings,
    read_pattern,
)

MEDIA = MediaSettings(
    Codec.H264,
    payload_type=96,
    ssrc=0x1234,
    rtx_payload_type=97,
    rtx_ssrc=0x5678,
    transport_cc_id=3,
    abs_send_time_id=4,
)
RECEIVE = ReceiveSettings(
    Codec.H264,
    payload_type=96,
    rtx_payload_type=97,
    transport_cc_id=3,
    abs_send_time_id=4,
    picture_depth=16,
    read_pattern=True,
    cname="here",
)
KEY_BYTES = {
    SrtpProfile.AES128_CM_SHA1_80: 30,
    SrtpProfile.AEAD_AES_128_GCM: 28,
    SrtpProfile.AEAD_AES_256_GCM: 44,
}
Lost = Callable[[bytes], bool]


class Link:
    """Carries datagrams between two hubs, and loses those to the receiver that `lost` names."""

    def __init__(self, sender: Address, receiver: Address, lost: Lost) -> None:
        self._to = {}
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end in self._sockets:
            end.bind(("127.0.0.1", 0))
        self.near, self.far = (Address(*end.getsockname()) for end in self._sockets)
        self._to = {self._sockets[0]: receiver.sockaddr, self._sockets[1]: sender.sockaddr}
        self._lost = lost
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        near, far = self._sockets
        while True:
            ready, _, _ = select.select([near, far, self._woken], [], [])
            if self._woken in ready:
                return
            for end in ready:
                data = end.recv(2048)
                if end is far or not self._lost(data):
                    (far if end is near else near).sendto(data, self._to[end])

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join()
        for end in [*self._sockets, self._wake, self._woken]:
            end.close()


@dataclass
class Pair:
    """Two hubs, and a peer of each for the other one; with keys, and with paths."""

    sender: Hub
    receiver: Hub
    to_receiver: Peer
    to_sender: Peer


def give_keys(pair: Pair, profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM) -> None:
    key = bytes(range(KEY_BYTES[profile]))
    pair.to_receiver.set_keys(profile, key, key[::-1])
    pair.to_sender.set_keys(profile, key[::-1], key)


@contextmanager
def two_hubs(lost: Lost | None = None) -> Iterator[Pair]:
    """Without keys yet."""
    with Hub(["127.0.0.1"]) as sender, Hub(["127.0.0.1"]) as receiver:
        link = Link(sender.addresses[0], receiver.addresses[0], lost) if lost else None
        pair = Pair(sender, receiver, sender.open_peer(), receiver.open_peer())
        pair.to_receiver.set_path(0, link.near if link else receiver.addresses[0])
        pair.to_sender.set_path(0, link.far if link else sender.addresses[0])
        try:
            yield pair
        finally:
            if link:
                link.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with two_hubs() as pair:
        give_keys(pair)
        yield pair


def start_stream(
    hub: Hub, width: int = 640, height: int = 360, bitrate: int = 3_000_000, fps: int = 30
) -> Stream:
    settings = StreamSettings(fps=fps, bitrate=bitrate, idr_interval_ms=1)
    return Stream(Source.pattern(width, height), settings, hub)


def next_picture(reception: Reception) -> Picture:
    while (picture := reception.read_picture()) is None:
        assert select.select([reception], [], [], 10)[0], f"no picture: {reception.stats()}"
    return picture


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def numbers_of(reception: Reception, count: int) -> list[int]:
    """The pattern's numbers of the next pictures, which all must have one."""
    numbers = []
    while len(numbers) < count:
        pattern = next_picture(reception).frame.pattern
        assert pattern is not None
        numbers.append(pattern.frame)
    return numbers


def is_media(data: bytes) -> bool:
    return data[1] & 0x7F == MEDIA.payload_type


@pytest.mark.parametrize("profile", KEY_BYTES)
@pytest.mark.parametrize("codec", Codec)
def test_every_picture_arrives(codec: Codec, profile: SrtpProfile):
    with two_hubs() as pair, start_stream(pair.sender) as stream:
        give_keys(pair, profile)
        with Reception(pair.to_sender, replace(RECEIVE, codec=codec)) as reception:
            pair.to_receiver.send(stream, replace(MEDIA, codec=codec))
            numbers = numbers_of(reception, 40)
            stats = reception.stats()
    assert numbers == list(range(numbers[0], numbers[0] + 40))
    assert (stats.width, stats.height) == (640, 360)
    assert stats.pictures >= 40
    assert (stats.lost, stats.nacks, stats.plis, stats.decode_errors) == (0, 0, 0, 0)
    assert stats.feedback_packets > 0
    assert stats.reports > 0


@pytest.mark.parametrize("codec", Codec)
def test_pictures_are_what_another_decoder_makes_of_the_units(pair: Pair, codec: Codec):
    settings = replace(RECEIVE, codec=codec, keep_units=True)
    decoder = av.CodecContext.create(codec.name.lower(), "r")
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, settings) as reception:
        pair.to_receiver.send(stream, replace(MEDIA, codec=codec))
        pictures = [next_picture(reception) for _ in range(10)]
        units = [reception.read_unit() for _ in range(10)]
    theirs = [frame for unit in units for frame in decoder.decode(av.Packet(unit.data))]
    theirs += decoder.decode(None)
    for ours, frame in zip(pictures, theirs, strict=True):
        assert (ours.y.shape, ours.u.shape, ours.v.shape) == ((360, 640), (180, 320), (180, 320))
        planes = frame.to_ndarray()  # 540 rows of 640
        assert (ours.data.reshape(540, 640) == planes).all()
        assert (ours.to_av().to_ndarray() == planes).all()
        assert (ours.v.ravel() == planes[450:].ravel()).all()
    assert ours.to_ndarray("bgr24").shape == (360, 640, 3)
    assert ours.full_range is False
    if codec is Codec.H264:
        assert ours.matrix == 1


def test_frames_tell_their_way(pair: Pair):
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, RECEIVE) as reception:
        pair.to_receiver.send(stream, MEDIA)
        pictures = [next_picture(reception) for _ in range(20)]
        frames = reception.frames()
        later = reception.frames(since=15)
    for frame in frames:
        assert frame.pattern is not None
        drawn_ns = frame.pattern.time_us * 1000
        assert drawn_ns < frame.first_packet_ns <= frame.complete_ns < frame.decoded_ns
        assert frame.decoded_ns - drawn_ns < 2 * 10**9
    assert [frame.id for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 20
    assert [picture.frame for picture in pictures] == frames[:20]
    assert later[0].id == 15
    assert frames[0].idr
    assert not any(frame.recovered for frame in frames)


def test_lost_packets_are_sent_again():
    dice = random.Random(1)
    with two_hubs(lambda data: is_media(data) and dice.random() < 0.05) as pair:
        give_keys(pair)
        with start_stream(pair.sender) as stream, Reception(pair.to_sender, RECEIVE) as reception:
            pair.to_receiver.send(stream, MEDIA)
            numbers = numbers_of(reception, 100)
            stats = reception.stats()
            frames = reception.frames()
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert stats.recovered_rtx >= 20
    assert stats.recovered_rtx <= stats.lost
    assert stats.nacks > 0
    assert stats.units_dropped == 0
    assert any(frame.recovered for frame in frames)


def test_without_retransmission_an_idr_repairs():
    dice = random.Random(2)
    settings = replace(RECEIVE, rtx_payload_type=0, nack=False, patience_ms=20)
    with two_hubs(lambda data: is_media(data) and dice.random() < 0.01) as pair:
        give_keys(pair)
        with start_stream(pair.sender) as stream, Reception(pair.to_sender, settings) as reception:
            pair.to_receiver.send(stream, replace(MEDIA, rtx_payload_type=0))
            while reception.stats().idrs < 4:
                next_picture(reception)
            stats = reception.stats()
    assert stats.nacks == 0
    assert stats.plis >= 3
    assert stats.decode_errors == 0


def test_an_idr_comes_when_asked_for(pair: Pair):
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, RECEIVE) as reception:
        pair.to_receiver.send(stream, MEDIA)
        assert next_picture(reception).frame.idr
        assert not next_picture(reception).frame.idr
        reception.request_idr()
        assert any(next_picture(reception).frame.idr for _ in range(60))
        assert reception.stats().plis == 1


def test_what_comes_before_the_keys_is_dropped():
    with two_hubs() as pair, start_stream(pair.sender) as stream:
        reception = Reception(pair.to_sender, RECEIVE)
        key = bytes(range(28))
        pair.to_receiver.set_keys(SrtpProfile.AEAD_AES_128_GCM, key, key[::-1])
        pair.to_receiver.send(stream, MEDIA)
        wait_until(lambda: pair.receiver.stats().dropped_unauthentic > 0)
        assert reception.stats().packets == 0
        pair.to_sender.set_keys(SrtpProfile.AEAD_AES_128_GCM, key[::-1], key)
        assert next_picture(reception).frame.idr
        reception.close()


def test_a_new_size_in_mid_stream(pair: Pair):
    with Reception(pair.to_sender, RECEIVE) as reception:
        for width, height in [(640, 360), (320, 180), (1280, 720)]:
            with start_stream(pair.sender, width, height) as stream:
                pair.to_receiver.send(stream, MEDIA)
                while (picture := next_picture(reception)).width != width:
                    pass
                assert picture.y.shape == (height, width)
                assert picture.frame.pattern is not None
        assert reception.stats().decode_errors == 0


def test_units_decode_to_what_was_sent(pair: Pair):
    settings = replace(RECEIVE, decode=False, keep_units=True)
    decoder = av.CodecContext.create("h264", "r")
    codes = []
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, settings) as reception:
        pair.to_receiver.send(stream, MEDIA)
        for i in range(30):
            while (unit := reception.read_unit()) is None:
                assert select.select([reception.unit_fileno()], [], [], 10)[0], "no access unit"
            assert unit.frame.id == i
            assert unit.frame.idr is (i == 0)
            assert unit.frame.bytes == len(unit.data)
            for frame in decoder.decode(av.Packet(unit.data)):
                codes.append(read_pattern(frame.to_ndarray(format="gray")))
        assert reception.read_picture() is None
        frames = reception.frames()
    codes += [read_pattern(f.to_ndarray(format="gray")) for f in decoder.decode(None)]
    numbers = [code.frame for code in codes if code is not None]
    assert numbers == list(range(numbers[0], numbers[0] + 30))
    assert {frame.decoded_ns for frame in frames} == {0}


def test_a_reader_that_is_slow_sees_the_newest(pair: Pair):
    settings = replace(RECEIVE, picture_depth=1)
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, settings) as reception:
        pair.to_receiver.send(stream, MEDIA)
        wait_until(lambda: len(reception.frames()) >= 10)
        picture = next_picture(reception)
        assert picture.frame.id >= 9
        assert reception.stats().pictures_passed_over >= 9


def test_a_jitter_target_holds_frames_back(pair: Pair):
    settings = replace(RECEIVE, jitter_target_ms=100)
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, settings) as reception:
        pair.to_receiver.send(stream, MEDIA)
        for _ in range(20):
            next_picture(reception)
        held = reception.frames()
        reception.set_jitter_target(0)
        while len(at_once := reception.frames(since=held[-1].id + 15)) < 10:
            next_picture(reception)
        with pytest.raises(InvalidArgument, match="0 to 2000"):
            reception.set_jitter_target(2001)
    assert np.median([frame.decoded_ns - frame.complete_ns for frame in held]) > 50e6
    assert np.median([frame.decoded_ns - frame.complete_ns for frame in at_once]) < 50e6


def test_a_peer_has_one_reception_at_a_time(pair: Pair):
    first = Reception(pair.to_sender, RECEIVE)
    with pytest.raises(NativeError, match="a reception already") as caught:
        Reception(pair.to_sender, RECEIVE)
    assert caught.value.errno == errno.EBUSY
    first.close()
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, RECEIVE) as second:
        pair.to_receiver.send(stream, MEDIA)
        assert next_picture(second).frame.id == 0


def test_a_reception_ends_with_its_peer_and_says_bye(pair: Pair):
    with start_stream(pair.sender) as stream, Reception(pair.to_sender, RECEIVE) as reception:
        pair.to_receiver.send(stream, MEDIA)
        next_picture(reception)
        pair.to_sender.close()
        with pytest.raises(StreamEnded):
            numbers_of(reception, 1000)
        assert reception.stats().pictures >= 1
        reception.request_idr()
        reception.set_jitter_target(5)
    events = []
    while PeerBye(pair.to_receiver.id) not in events:
        assert select.select([pair.sender], [], [], 5)[0], events
        events += pair.sender.events()


def test_a_reception_outlives_its_hub():
    hub = Hub(["127.0.0.1"])
    reception = Reception(hub.open_peer(), RECEIVE)
    hub.close()
    assert select.select([reception], [], [], 5)[0]
    with pytest.raises(StreamEnded):
        reception.read_picture()
    reception.close()
    reception.close()


def test_two_peers_are_received_apart():
    with two_hubs() as one, two_hubs() as two:
        receptions = []
        streams = []
        for pair, size in [(one, (320, 180)), (two, (640, 360))]:
            give_keys(pair)
            receptions.append(Reception(pair.to_sender, RECEIVE))
            streams.append(start_stream(pair.sender, *size))
            pair.to_receiver.send(streams[-1], MEDIA)
        widths = [next_picture(reception).width for reception in receptions]
        for handle in [*receptions, *streams]:
            handle.close()
    assert widths == [320, 640]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"payload_type": 128}, "payload type"),
        ({"rtx_payload_type": 96}, "differ"),
        ({"jitter_target_ms": -1}, "jitter_target_ms"),
        ({"patience_ms": 10_001}, "patience_ms"),
        ({"decode_threads": 17}, "decode_threads"),
        ({"picture_depth": 17}, "picture_depth"),
        ({"cname": "x" * 64}, "cname"),
    ],
)
def test_settings_out_of_range_are_named(pair: Pair, change: dict[str, int], named: str):
    with pytest.raises(ValueError, match=named):
        Reception(pair.to_sender, replace(RECEIVE, **change))
    Reception(pair.to_sender, RECEIVE).close()


def test_units_are_read_where_they_are_kept(pair: Pair):
    reception = Reception(pair.to_sender, RECEIVE)
    with reception, pytest.raises(InvalidArgument, match="keep_units"):
        reception.read_unit()
