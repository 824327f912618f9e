import socket

import pytest

from native import Address


@pytest.mark.parametrize(
    ("host", "family", "text"),
    [
        ("192.0.2.7", 4, "192.0.2.7:5004"),
        ("2001:db8::7", 6, "[2001:db8::7]:5004"),
        ("::ffff:192.0.2.7", 6, "[::ffff:c000:207]:5004"),
    ],
)
def test_an_address_survives_the_way_to_the_core_and_back(host: str, family: int, text: str):
    address = Address(host, 5004, scope=3 if family == 6 else 0)
    native = address.to_native()
    assert native.family == family
    assert native.port == 5004
    back = Address.from_native(native)
    assert back == address
    assert hash(back) == hash(address)
    assert back.family == family
    assert str(back) == text


def test_the_same_address_in_other_words_is_equal():
    assert Address("2001:DB8:0::1", 9) == Address("2001:db8::1", 9)


def test_the_bytes_are_in_network_order():
    native = Address("192.0.2.7", 1).to_native()
    assert list(native.ip)[:4] == [192, 0, 2, 7]


def test_a_zone_is_an_interface():
    name = socket.if_indextoname(1)
    assert Address.parse(f"fe80::1%{name}", 9) == Address("fe80::1", 9, scope=1)
    assert Address.parse("fe80::1%1", 9) == Address("fe80::1", 9, scope=1)
    with pytest.raises(OSError, match="no"):
        Address.parse("fe80::1%no-such-if", 9)


@pytest.mark.parametrize("host", ["", "localhost", "1.2.3", "1.2.3.4.5", "fe80::1%1", "::g"])
def test_what_is_no_ip_address_is_refused(host: str):
    with pytest.raises(ValueError, match=r"address|zone"):
        Address(host, 1)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_has_sixteen_bits(port: int):
    with pytest.raises(ValueError, match=r"port takes 0\.\.65535"):
        Address("127.0.0.1", port)
