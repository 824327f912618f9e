"""The private parts of aiortc and aioice that `peer._aiortc` relies on, each pinned.

When one of these fails after an upgrade, look at `peer/_aiortc/` and nowhere else.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import struct
from pathlib import Path
from typing import Any

import aiortc.rtcdtlstransport as dtls
import pytest
from aioice import Candidate, Connection, stun, turn
from aioice.ice import ICE_COMPLETED, ICE_FAILED, CandidatePair, StunProtocol
from aiortc import RTCCertificate, RTCSctpTransport
from OpenSSL import SSL

import peer._aiortc as private

PRIVATE = Path(private.__file__).parent
SOURCES = PRIVATE.parent


async def test_ice_connection_attributes() -> None:
    connection = Connection(ice_controlling=True)
    for name, kind in {
        "_check_list": list,
        "_check_list_state": asyncio.Queue,
        "_closing": bool,
        "_early_checks_done": bool,
        "_local_candidates_end": bool,
        "_local_candidates_start": bool,
        "_nominated": dict,
        "_protocols": list,
        "_remote_candidates": list,
    }.items():
        assert isinstance(getattr(connection, name), kind), name
    assert list(connection._early_checks) == []
    assert connection._query_consent_task is None
    await connection.close()


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Connection, "_pair_remote_candidate", ["self", "remote_candidate"]),
        (Connection, "_check_list_maybe_fail", ["self"]),
        (Connection, "build_request", ["self", "pair", "nominate"]),
        (Connection, "check_complete", ["self", "pair"]),
        (Connection, "check_incoming", ["self", "message", "addr", "protocol"]),
        (Connection, "check_start_task", ["self", "pair"]),
        (Connection, "data_received", ["self", "data", "component"]),
        (Connection, "protocol_lost", ["self", "protocol"]),
        (Connection, "query_consent", ["self"]),
        (Connection, "request_received", ["self", "message", "addr", "protocol"]),
        (Connection, "sort_check_list", ["self"]),
        (StunProtocol, "send_stun", ["self", "message", "addr"]),
        (
            StunProtocol,
            "request",
            ["self", "request", "addr", "integrity_key", "retransmissions"],
        ),
        (turn.TurnTransport, "_connect", ["self", "protocol"]),
        (turn.TurnClientUdpProtocol, "_send", ["self", "data"]),
        (turn.TurnClientTcpProtocol, "_send", ["self", "data"]),
        (dtls.RTCDtlsTransport, "_recv_next", ["self"]),
        (dtls.RTCDtlsTransport, "_set_role", ["self", "role"]),
        (dtls.RTCDtlsTransport, "_set_state", ["self", "state"]),
        (dtls.RTCDtlsTransport, "_setup_srtp", ["self"]),
        (dtls.RTCDtlsTransport, "_validate_peer_identity", ["self", "remoteParameters"]),
    ],
)
def test_methods_take_what_we_pass(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_check_list_verdicts() -> None:
    assert ICE_COMPLETED != ICE_FAILED
    assert {s.name for s in CandidatePair.State} == {
        "FROZEN",
        "WAITING",
        "IN_PROGRESS",
        "SUCCEEDED",
        "FAILED",
    }


class _Transport:
    """A datagram transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, addr: object = None) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


async def test_success_is_answered_after_the_integrity_check_only() -> None:
    """`StunEndpoint.send_stun` learns addresses from that."""
    connection = Connection(ice_controlling=True)
    endpoint = StunProtocol(connection)
    transport = _Transport()
    endpoint.connection_made(transport)  # type: ignore[arg-type]
    for password, expected in ((b"wrong" * 5, stun.Class.ERROR), (None, stun.Class.RESPONSE)):
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{connection.local_username}:x"
        request.attributes["PRIORITY"] = 1
        request.add_message_integrity(password or connection.local_password.encode())
        connection.request_received(request, ("127.0.0.1", 9), endpoint)
        assert stun.parse_message(transport.sent[-1]).message_class == expected
    assert len(connection._early_checks) == 1
    await connection.close()


async def test_completion_is_put_into_the_queue_that_connect_waits_for() -> None:
    connection = Connection(ice_controlling=True)
    endpoint = StunProtocol(connection)
    candidate = Candidate("1", 1, "udp", 1, "127.0.0.1", 9, "host")
    endpoint.local_candidate = candidate
    pair = CandidatePair(endpoint, candidate)
    pair.state, pair.nominated = CandidatePair.State.SUCCEEDED, True
    connection._check_list.append(pair)
    connection.check_complete(pair)
    assert connection._check_list_state.get_nowait() == ICE_COMPLETED
    assert connection._nominated == {1: pair}
    await connection.close()


async def test_turn_transport_privates() -> None:
    client = turn.TurnClientUdpProtocol(
        ("127.0.0.1", 9), username="u", password="p", lifetime=600, channel_refresh_time=500
    )
    transport = _Transport()
    client.connection_made(transport)  # type: ignore[arg-type]
    relay: Any = turn.TurnTransport(client)
    assert relay._TurnTransport__inner_protocol is client
    assert relay._TurnTransport__close_task is None
    assert client.peer_to_channel == {}
    assert (client.relayed_address, client.mapped_address) == (None, None)
    client._send(struct.pack("!HH", 0x4000, 0))
    assert transport.sent == [b"\x40\x00\x00\x00"]


def test_tcp_turn_has_a_write_buffer_to_look_at() -> None:
    assert hasattr(asyncio.Transport, "get_write_buffer_size")


class _Ice:
    role = "controlling"

    async def _recv(self) -> bytes:
        raise ConnectionError

    async def _send(self, data: bytes) -> None:
        raise ConnectionError


async def test_dtls_transport_attributes_and_what_it_asks_of_ice() -> None:
    session: Any = dtls.RTCDtlsTransport(_Ice(), [RTCCertificate.generateCertificate()])
    assert session._srtp_profiles == dtls.SRTP_PROFILES
    assert session._ssl is None
    assert session._task is None
    assert session._role == "auto"
    assert session._state is dtls.State.NEW
    source = inspect.getsource(dtls.RTCDtlsTransport)
    used = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "transport"
    }
    assert used == {"role", "_recv", "_send"}


def test_dtls_reads_through_the_method_that_guards() -> None:
    for name in ("_do_handshake", "_RTCDtlsTransport__run"):
        assert "self._recv_next()" in inspect.getsource(getattr(dtls.RTCDtlsTransport, name))
    assert "_setup_srtp()" in inspect.getsource(dtls.RTCDtlsTransport.start)
    assert "_validate_peer_identity(" in inspect.getsource(dtls.RTCDtlsTransport.start)


def test_srtp_profiles_cut_keys_as_rfc_5764_says() -> None:
    material = bytes(range(56))
    profile = dtls.SRTP_AEAD_AES_128_GCM
    assert (profile.key_length, profile.salt_length) == (16, 12)
    assert profile.get_key_and_salt(material, 0) == material[0:16] + material[32:44]
    assert profile.get_key_and_salt(material, 1) == material[16:32] + material[44:56]
    names = {
        dtls.SRTP_AEAD_AES_128_GCM.openssl_profile,
        dtls.SRTP_AEAD_AES_256_GCM.openssl_profile,
        dtls.SRTP_AES128_CM_SHA1_80.openssl_profile,
    }
    assert names == {
        b"SRTP_AEAD_AES_128_GCM",
        b"SRTP_AEAD_AES_256_GCM",
        b"SRTP_AES128_CM_SHA1_80",
    }
    assert hasattr(SSL.Connection, "get_selected_srtp_profile")
    assert hasattr(SSL.Connection, "export_keying_material")


def test_sctp_needs_nothing_private() -> None:
    assert {"start", "stop"} <= set(dir(RTCSctpTransport))


def test_no_other_module_touches_their_private_parts() -> None:
    """Names with one leading underscore, read from objects that are not ours: one package."""
    theirs = {
        name
        for cls in (Connection, StunProtocol, turn.TurnTransport, dtls.RTCDtlsTransport)
        for name in dir(cls)
        if name.startswith("_") and not name.startswith("__")
    } | {"_nominated", "_check_list", "_protocols", "_ssl", "_srtp_profiles", "_tx_srtp"}
    paths = [path for path in SOURCES.rglob("*.py") if PRIVATE not in path.parents]
    assert {"hub.py", "ice.py"} <= {path.name for path in paths}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in theirs:
                owner = ast.unparse(node.value)
                assert owner in ("self", "cls", "super()"), (
                    f"{path.name}:{node.lineno} touches {node.attr}"
                )
