"""The core's SRTP against libsrtp, in both directions."""

import random

import pytest
from pylibsrtp import Error, Policy, Session

from native.binding import check, ffi, lib

PROFILES = {
    lib.PC_SRTP_AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    lib.PC_SRTP_AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    lib.PC_SRTP_AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
SSRC = 0x01020304
HEADER_BYTES = 12
EXTENDED_HEADER_BYTES = 24


class Pair:
    """A context of the core, and libsrtp sessions with the same keys."""

    def __init__(self, profile: int) -> None:
        self.random = random.Random(profile)
        key = self.random.randbytes(
            lib.pc_srtp_key_bytes(profile) + lib.pc_srtp_salt_bytes(profile)
        )
        out = ffi.new("struct pc_srtp **")
        check(lib.pc_srtp_create(profile, key, len(key), out))
        self.core = ffi.gc(out[0], lib.pc_srtp_destroy)
        self.sender, self.receiver = (
            Session(Policy(key=key, ssrc_type=direction, srtp_profile=PROFILES[profile]))
            for direction in (Policy.SSRC_ANY_OUTBOUND, Policy.SSRC_ANY_INBOUND)
        )

    def packet(self, index: int, payload_bytes: int, extended: bool = False) -> bytes:
        fixed = bytes([0x90 if extended else 0x80, 96]) + (index & 0xFFFF).to_bytes(2, "big")
        extension = b"\xbe\xde\x00\x02" + b"\x22abc" + b"\x30x\x00\x00" if extended else b""
        return (
            fixed
            + self.random.randbytes(4)
            + SSRC.to_bytes(4, "big")
            + extension
            + self.random.randbytes(payload_bytes)
        )

    def protect(self, packet: bytes, index: int, header_bytes: int = HEADER_BYTES) -> bytes:
        """Protect with the core, the payload in two pieces."""
        buffer = ffi.new("uint8_t[]", packet[:header_bytes] + bytes(len(packet) + 16))
        first = ffi.new("uint8_t[]", packet[header_bytes : header_bytes + 5])
        second = ffi.new("uint8_t[]", packet[header_bytes + 5 :])
        first_size = len(packet[header_bytes : header_bytes + 5])
        pieces = ffi.new(
            "struct pc_piece[2]",
            [(first, first_size), (second, len(packet) - header_bytes - first_size)],
        )
        size = check(lib.pc_srtp_protect(self.core, index, buffer, header_bytes, pieces, 2))
        return bytes(ffi.buffer(buffer, size))

    def unprotect(self, packet: bytes) -> bytes:
        buffer = ffi.new("uint8_t[]", packet)
        return bytes(
            ffi.buffer(buffer, check(lib.pc_srtp_unprotect(self.core, buffer, len(packet))))
        )

    def rtcp(self, body_bytes: int) -> bytes:
        return b"\x80\xc9\x00\x00" + SSRC.to_bytes(4, "big") + self.random.randbytes(body_bytes)

    def protect_rtcp(self, packet: bytes) -> bytes:
        buffer = ffi.new("uint8_t[]", packet + bytes(20))
        return bytes(
            ffi.buffer(buffer, check(lib.pc_srtp_protect_rtcp(self.core, buffer, len(packet))))
        )

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        buffer = ffi.new("uint8_t[]", packet)
        return bytes(
            ffi.buffer(buffer, check(lib.pc_srtp_unprotect_rtcp(self.core, buffer, len(packet))))
        )


@pytest.fixture(params=PROFILES, ids=["cm_sha1_80", "gcm_128", "gcm_256"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


def test_libsrtp_reads_what_the_core_protects(pair: Pair):
    for index in range(65_400, 65_700):  # over a rollover
        extended = index % 2 == 0
        header_bytes = EXTENDED_HEADER_BYTES if extended else HEADER_BYTES
        packet = pair.packet(index, payload_bytes=index % 1200, extended=extended)
        assert pair.receiver.unprotect(pair.protect(packet, index, header_bytes)) == packet


def test_the_core_reads_what_libsrtp_protects(pair: Pair):
    for index in range(65_400, 65_700):
        packet = pair.packet(index, payload_bytes=index % 1200, extended=index % 3 == 0)
        assert pair.unprotect(pair.sender.protect(packet)) == packet


def test_rtcp_both_ways(pair: Pair):
    for body_bytes in range(0, 400, 4):
        packet = pair.rtcp(body_bytes)
        assert pair.receiver.unprotect_rtcp(pair.protect_rtcp(packet)) == packet
        assert pair.unprotect_rtcp(pair.sender.protect_rtcp(packet)) == packet


def test_libsrtp_refuses_what_the_core_protects_with_another_index(pair: Pair):
    packet = pair.packet(index=7, payload_bytes=100)
    with pytest.raises(Error):
        pair.receiver.unprotect(pair.protect(packet, (1 << 16) + 7))
