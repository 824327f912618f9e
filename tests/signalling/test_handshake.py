"""WebSocket's opening handshake: the RFC's example, and what is none."""

import pytest

from signalling.handshake import accept_key
from signalling.http11 import parse_request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",  # as Firefox writes it
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def handshake(method="GET", **changes):
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{method} /ws HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return parse_request("\r\n".join(lines).encode())


def test_the_handshakes_answer_is_the_rfcs():
    assert accept_key(handshake()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # section 1.3


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "HEAD"},
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": "dGhl"},
        {"Sec_WebSocket_Key": "not base64!"},
        {"Sec_WebSocket_Key": f"{KEY}\u00e9"},
    ],
)
def test_what_is_no_opening_handshake_has_no_answer(changes):
    assert accept_key(handshake(**changes)) is None
