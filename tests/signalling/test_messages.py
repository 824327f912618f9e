import json

import msgspec
import pytest

from signalling.messages import (
    CLOSE_CODES,
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    Answer,
    Bye,
    Candidate,
    Error,
    FreshToken,
    Hello,
    IceServer,
    MessageError,
    MessageTooLarge,
    Offer,
    PeerJoined,
    PeerLeft,
    Ping,
    Pong,
    Refused,
    Restart,
    TokenAccepted,
    TokenExpiring,
    Welcome,
    decode_client,
    decode_server,
    encode,
)

FROM_CLIENT = [
    Hello("a.b.c", "doom", "viewer", name="Zoë"),
    Hello("a.b.c", "doom", "viewer", seat="0-_aZ"),
    FreshToken("a.b.c"),
    Bye(),
    Offer("p1", "v=0\r\n"),
    Offer("p1", "v=0\r\n", "0-_aZ"),
    Restart("p1"),
    Refused("p1", "The host takes no more viewers."),
    Answer("p1", "v=0\r\n"),
    Candidate("p1", "candidate:1 1 udp 1 192.0.2.1 9 typ host", "0"),
    Candidate("p1", ""),
    Ping(12.5),
    Pong(12.5),
]
FROM_SERVER = [
    Welcome("p1", "doom", "host", True, ["p2"], [IceServer(["stun:192.0.2.1"], "u", "c")]),
    PeerJoined("p1", "viewer", "Zoë"),
    PeerJoined("p1", "viewer", "Zoë", "0-_aZ"),
    PeerLeft("p1", "viewer", "lost"),
    TokenExpiring(19.5),
    TokenAccepted(60.0),
    Error("room-taken", "taken", retry=True),
]


@pytest.mark.parametrize("message", FROM_CLIENT)
def test_what_a_client_encodes_the_server_decodes(message):
    assert decode_client(encode(message)) == message
    assert decode_client(encode(message).encode()) == message


@pytest.mark.parametrize("message", FROM_SERVER)
def test_what_the_server_encodes_a_client_decodes(message):
    assert decode_server(encode(message)) == message


@pytest.mark.parametrize("message", FROM_SERVER)
def test_the_server_takes_no_messages_of_its_own(message):
    with pytest.raises(MessageError):
        decode_client(encode(message))


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("", "truncated"),
        ("nonsense", "malformed"),
        ("null", "object"),
        ("[]", "object"),
        ("{}", "type"),
        ('{"type":"nope"}', "type"),
        ('{"type":1}', "type"),
        ('{"type":"bye"} ', None),
        ('{"type":"bye"}}', "trailing"),
        ('{"type":"bye","extra":1}', "extra"),
        ('{"type":"ping"}', "at"),
        ('{"type":"ping","at":"1"}', "at"),
        ('{"type":"ping","at":true}', "at"),
        ('{"type":"ping","at":NaN}', "malformed"),
        ('{"type":"ping","at":1e999}', "at"),
        ('{"type":"ping","at":' + "9" * 5000 + "}", "at"),
        ('{"type":"ping","at":1,"at":1}', "twice"),
        ('{"type":"ping","at":1,"\\u0061t":1}', "twice"),
        ('{"type":"bye","type":"bye"}', "twice"),
        ('{"type":"candidate","peer":"p","candidate":"a","candidate":"b"}', "twice"),
        ('{"type":"candidate","type":"candidate","peer":"p","candidate":"a"}', "twice"),
        ('{"type":"candidate","peer":"p","candidate":"{","peer" :"q"}', "twice"),
        (
            '{"type":"trace","spans":[{"name":"a","start_ms":1,"duration_ms":1,"name":"b"}]}',
            "twice",
        ),
        ('{"type":"answer","peer":"a b","sdp":"v"}', "peer"),
        ('{"type":"answer","peer":"a\\n","sdp":"v"}', "peer"),
        ('{"type":"answer","peer":"","sdp":"v"}', "peer"),
        ('{"type":"answer","peer":"' + "p" * 65 + '","sdp":"v"}', "peer"),
        ('{"type":"answer","peer":"p","sdp":""}', "sdp"),
        ('{"type":"offer","peer":"p","sdp":"v","seat":"a b"}', "seat"),
        ('{"type":"refused","peer":"p","message":"' + "m" * 201 + '"}', "message"),
        ('{"type":"answer","peer":"p","sdp":"' + "v" * 32769 + '"}', "sdp"),
        ('{"type":"answer","peer":"p","sdp":"\\ud800"}', "truncated"),
        ('{"type":"answer","peer":"p","sdp":"\ud800"}', "Unicode"),
        ('{"type":"hello","token":"","room":"../etc","role":"host"}', "room"),
        ('{"type":"hello","token":"","room":"a","role":"king"}', "role"),
        ('{"type":"hello","token":"","room":"a","role":"host","version":0}', "version"),
        (b'{"type":"ping","at":1,"a\xff":1}', "UTF-8"),
        (b'{"type":"answer","peer":"p","sdp":"\xff"}', "UTF-8"),
        (b"\xff\xfe{\x00}\x00", "malformed"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(frame, says):
    if says is None:
        assert decode_client(frame) == Bye()
        return
    with pytest.raises(MessageError, match=says):
        decode_client(frame)


def test_an_error_quotes_little_and_nothing_that_moves_a_terminal():
    with pytest.raises(MessageError) as caught:
        decode_client(json.dumps({"type": "\x1b[2J" + "x" * 10_000}))
    assert len(str(caught.value)) <= 200
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", [str, bytes])
def test_the_size_limit_counts_bytes_and_is_exact(kind):
    def frame(size):
        # Padding outside the message proper: white space is legal JSON.
        text = '{"type":"bye"}'
        text += " " * (size - len(text))
        return text if kind is str else text.encode()

    assert decode_client(frame(MAX_MESSAGE_BYTES)) == Bye()
    with pytest.raises(MessageTooLarge):
        decode_client(frame(MAX_MESSAGE_BYTES + 1))
    wide = '{"type":"bye"' + "\u3000" * (MAX_MESSAGE_BYTES // 3) + "}"
    assert len(wide) < MAX_MESSAGE_BYTES
    with pytest.raises(MessageTooLarge):
        decode_client(wide)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
@pytest.mark.parametrize("prefix", ["", '{"type":"bye","a":', '{"type":"welcome","peers":'])
def test_depth_is_refused_before_the_decoder_sees_it(bracket, prefix):
    for depth in (MAX_DEPTH + 1, 5000):
        with pytest.raises(MessageError, match="nested deeper"):
            decode_server(prefix + bracket * depth)


def test_brackets_inside_strings_are_no_depth():
    sdp = 'v=0 {[{[{[{[{[{[ \\" {[{[{[ \\'
    assert decode_client(encode(Offer("p", sdp))).sdp == sdp
    with pytest.raises(MessageError, match="nested deeper"):
        decode_client('{"type":"\\"{","a":' + "[" * MAX_DEPTH)


def test_many_shallow_objects_are_not_deep():
    servers = [IceServer(["stun:192.0.2.1"])] * 40
    welcome = Welcome("p", "r", "host", True, [], servers)
    assert decode_server(encode(welcome)) == welcome


def test_every_error_has_a_close_code_that_may_be_sent():
    codes = msgspec.json.schema(Error)["$defs"]["Error"]["properties"]["code"]["enum"]
    assert set(codes) == set(CLOSE_CODES)
    assert all(code in (1011, 1012) or 4000 <= code <= 4999 for code in CLOSE_CODES.values())
