import errno
import select
import socket

import pytest

from native import (
    Address,
    Datagram,
    HandleClosed,
    Hub,
    InvalidArgument,
    NativeError,
    Source,
    Stream,
)

BINDING_REQUEST = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12))


def wait_for_event(hub: Hub):
    readable, _, _ = select.select([hub], [], [], 5)
    assert readable, "no event within 5 s"
    return hub.next_event()


@pytest.fixture
def hub():
    with Hub(["127.0.0.1"]) as hub:
        yield hub


@pytest.fixture
def other():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        yield other


def test_all_sockets_share_one_port():
    with Hub(["127.0.0.1", "127.0.0.2"]) as hub:
        first, second = hub.addresses
        assert (first.host, second.host) == ("127.0.0.1", "127.0.0.2")
        assert first.port == second.port != 0


def test_a_busy_port_is_named(hub: Hub):
    port = hub.addresses[0].port
    with pytest.raises(NativeError, match=str(port)) as caught:
        Hub(["127.0.0.1"], port)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("bind", [[], ["127.0.0.1"] * 17])
def test_a_hub_binds_one_to_sixteen_addresses(bind: list[str]):
    with pytest.raises(InvalidArgument, match="1 to 16 addresses"):
        Hub(bind)


def test_a_name_is_no_address_to_bind():
    with pytest.raises(ValueError, match="localhost"):
        Hub(["localhost"])


def test_stun_comes_up_as_it_was_sent(hub: Hub, other: socket.socket):
    other.sendto(BINDING_REQUEST, hub.addresses[0].sockaddr)
    event = wait_for_event(hub)
    assert event == Datagram(0, Address(*other.getsockname()), BINDING_REQUEST)
    assert hub.next_event() is None
    assert select.select([hub], [], [], 0)[0] == []
    assert hub.stats().received_packets == 1


def test_a_datagram_leaves_from_the_hubs_port(hub: Hub, other: socket.socket):
    assert hub.send(0, Address(*other.getsockname()), BINDING_REQUEST) is True
    assert other.recvfrom(2048) == (BINDING_REQUEST, hub.addresses[0].sockaddr)


def test_a_socket_that_is_not_there_is_named(hub: Hub):
    with pytest.raises(InvalidArgument, match="no number 1"):
        hub.send(1, Address("127.0.0.1", 9), b"x")


def test_closing_the_hub_closes_its_streams_first():
    hub = Hub(["127.0.0.1"])
    stream = Stream(Source.pattern(320, 180), hub=hub)
    hub.close()
    assert stream.closed
    stream.close()
    with pytest.raises(HandleClosed, match="this hub is closed"):
        hub.stats()


def test_a_handler_may_close_the_hub_between_events(hub: Hub, other: socket.socket):
    for _ in range(2):
        other.sendto(BINDING_REQUEST, hub.addresses[0].sockaddr)
    select.select([hub], [], [], 5)
    events = hub.events()
    assert isinstance(next(events), Datagram)
    hub.close()
    assert list(events) == []
