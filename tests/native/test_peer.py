import select
import socket
from collections.abc import Iterator

import pylibsrtp
import pytest

from native import (
    Address,
    Codec,
    HandleClosed,
    Hub,
    InvalidArgument,
    MediaSettings,
    NativeError,
    Source,
    SrtpProfile,
    Stream,
    StreamSettings,
)

KEY = bytes(range(30))
MEDIA = MediaSettings(Codec.H264, payload_type=96, ssrc=0x1234, mid="0", mid_id=1, cname="test")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(["127.0.0.1"]) as hub:
        yield hub


@pytest.fixture
def stream(hub: Hub) -> Iterator[Stream]:
    with Stream(Source.pattern(320, 180), StreamSettings(bitrate=1_000_000), hub) as stream:
        yield stream


@pytest.fixture
def viewer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as viewer:
        viewer.bind(("127.0.0.1", 0))
        viewer.settimeout(10)
        yield viewer


def receive(viewer: socket.socket, kind: str) -> bytes:
    """The next RTP or RTCP datagram (RFC 5761 section 4 tells them apart)."""
    while True:
        data = viewer.recv(2048)
        if (64 <= data[1] & 0x7F < 96) == (kind == "rtcp"):
            return data


def test_who_plays_may_change_while_media_runs(hub: Hub, stream: Stream, viewer: socket.socket):
    peer = hub.open_peer()
    peer.set_path(0, Address(*viewer.getsockname()))
    peer.set_keys(SrtpProfile.AES128_CM_SHA1_80, KEY, KEY[::-1])
    peer.send(stream, MEDIA)
    assert not peer.stats().player
    peer.set_player(True)
    assert peer.stats().player
    receive(viewer, "rtp")
    peer.close()
    with pytest.raises(HandleClosed):
        peer.set_player(False)


def test_media_arrives_and_libsrtp_can_read_it(hub: Hub, stream: Stream, viewer: socket.socket):
    peer = hub.open_peer()
    peer.set_path(0, Address(*viewer.getsockname()))
    peer.set_keys(SrtpProfile.AES128_CM_SHA1_80, KEY, KEY[::-1])
    peer.send(stream, MEDIA)

    session = pylibsrtp.Session(
        pylibsrtp.Policy(key=KEY, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND)
    )
    packet = session.unprotect(receive(viewer, "rtp"))
    assert packet[0] >> 6 == 2
    assert packet[1] & 0x7F == 96
    assert packet[8:12] == (0x1234).to_bytes(4, "big")
    stats = peer.stats()
    assert stats.packets >= 1
    assert stats.rtt_ms is None
    assert stream.stats().codecs[Codec.H264].viewers == 1

    peer.close()
    session.unprotect_rtcp(receive(viewer, "rtcp"))
    assert peer.closed
    peer.close()


def test_nothing_is_sent_without_a_path_or_keys(hub: Hub, stream: Stream, viewer: socket.socket):
    peer = hub.open_peer()
    with pytest.raises(InvalidArgument):
        peer.send(stream, MEDIA)
    peer.set_path(0, Address(*viewer.getsockname()))
    with pytest.raises(InvalidArgument):
        peer.send(stream, MEDIA)
    peer.set_keys(SrtpProfile.AES128_CM_SHA1_80, KEY, KEY)
    peer.send(stream, MEDIA)
    assert receive(viewer, "rtp")


def test_keys_have_their_profiles_length(hub: Hub):
    peer = hub.open_peer()
    with pytest.raises(InvalidArgument):
        peer.set_keys(SrtpProfile.AEAD_AES_128_GCM, KEY, KEY)
    with pytest.raises(ValueError, match="same length"):
        peer.set_keys(SrtpProfile.AES128_CM_SHA1_80, KEY, KEY[1:])


def test_texts_that_do_not_fit_are_named(hub: Hub, stream: Stream):
    peer = hub.open_peer()
    with pytest.raises(ValueError, match="mid takes up to 16 bytes"):
        peer.send(stream, MediaSettings(Codec.H264, payload_type=96, ssrc=1, mid="m" * 17))


def test_a_closed_peer_says_so(hub: Hub):
    peer = hub.open_peer()
    peer.close()
    with pytest.raises(HandleClosed, match="this peer is closed"):
        peer.stats()


def test_a_peer_is_gone_with_its_hub():
    hub = Hub(["127.0.0.1"])
    peer = hub.open_peer()
    hub.close()
    assert peer.closed
    with pytest.raises(HandleClosed, match="this hub is closed"):
        peer.stats()
    peer.close()


def test_peers_have_numbers_of_their_own(hub: Hub):
    first, second = hub.open_peer(), hub.open_peer()
    assert 0 < first.id != second.id > 0
    first.close()
    assert second.stats().packets == 0
    assert hub.open_peer().id not in {first.id, second.id}


def test_forged_media_is_counted_and_dropped(hub: Hub, viewer: socket.socket):
    peer = hub.open_peer()
    peer.set_path(0, Address(*viewer.getsockname()))
    peer.set_keys(SrtpProfile.AES128_CM_SHA1_80, KEY, KEY)
    before = hub.stats().dropped_unauthentic
    viewer.sendto(bytes([0x81, 201, 0, 7]) + bytes(64), hub.addresses[0].sockaddr)
    # A STUN datagram behind it on the same socket marks that the forged one was looked at.
    viewer.sendto(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), hub.addresses[0].sockaddr)
    assert select.select([hub], [], [], 5)[0]
    assert hub.stats().dropped_unauthentic == before + 1
    assert peer.stats().rtcp_packets == 0


def test_an_unknown_stream_is_refused(hub: Hub, viewer: socket.socket):
    peer = hub.open_peer()
    peer.set_path(0, Address(*viewer.getsockname()))
    peer.set_keys(SrtpProfile.AES128_CM_SHA1_80, KEY, KEY)
    with Stream(Source.pattern(320, 180)) as stranger, pytest.raises(NativeError, match="hub"):
        peer.send(stranger, MEDIA)
