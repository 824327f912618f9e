"""The messages on the wire: what goes through unchanged, and what is refused."""

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalling.messages import (
    CLOSE_CODES,
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    MAX_SERVER_MESSAGE_BYTES,
    MEANINGS,
    Bye,
    ErrorCode,
    IceServer,
    MessageError,
    MessageTooLarge,
    Offer,
    PeerJoined,
    Relayed,
    Request,
    RoomMessage,
    RoomRequest,
    Welcome,
    decode_client,
    decode_server,
    encode,
)

from .messages import CLIENT_KINDS, FROM_CLIENT, FROM_SERVER, SERVER_KINDS, arbitrary


def test_there_is_an_example_of_every_message_that_sets_every_field():
    assert {type(message) for message in FROM_CLIENT} == set(CLIENT_KINDS)
    assert {type(message) for message in FROM_SERVER} == set(SERVER_KINDS)
    for message in (*FROM_CLIENT, *FROM_SERVER):
        defaults = {field.name: field.default for field in msgspec.structs.fields(message)}
        for name, value in msgspec.structs.asdict(message).items():
            assert value != defaults[name], f"{type(message).__name__}.{name} is as it is anyway"


def test_names_on_the_wire_are_taken_once():
    kinds = {*CLIENT_KINDS, *SERVER_KINDS}
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def test_what_the_room_answers_has_an_id_and_what_it_says_a_number():
    assert all(issubclass(kind, Request) for kind in get_args(RoomRequest))
    assert all(issubclass(kind, RoomMessage) for kind in get_args(Relayed))


@pytest.mark.parametrize("message", FROM_CLIENT, ids=lambda m: type(m).__name__)
def test_what_a_client_encodes_the_server_decodes(message):
    assert decode_client(encode(message)) == message
    assert decode_client(encode(message).encode()) == message


@pytest.mark.parametrize("message", FROM_SERVER, ids=lambda m: type(m).__name__)
def test_what_the_server_encodes_a_client_decodes(message):
    assert decode_server(encode(message)) == message


@pytest.mark.parametrize("kind", CLIENT_KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(data=st.data())
def test_whatever_a_client_may_say_arrives(kind, data):
    message = data.draw(arbitrary(kind))
    assert decode_client(encode(message)) == message


@pytest.mark.parametrize("kind", SERVER_KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(data=st.data())
def test_whatever_the_server_may_say_arrives(kind, data):
    message = data.draw(arbitrary(kind))
    assert decode_server(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [message for message in FROM_SERVER if type(message) not in CLIENT_KINDS],
    ids=lambda m: type(m).__name__,
)
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
        ('{"type":"hello","token":"","room":"a","role":"host","traceparent":"00-1-2-01"}', "trace"),
        ('{"type":"hello","token":"","room":"a","role":"host","resume":{"peer":"p"}}', "secret"),
        ('{"type":"chat","text":""}', "text"),
        ('{"type":"chat","text":"' + "c" * 501 + '"}', "text"),
        ('{"type":"control-request","control":"pad:0"}', "control"),
        ('{"type":"control-request","control":"pad:9"}', "control"),
        ('{"type":"control-request","control":"moderate"}', "control"),
        ('{"type":"control-grant","control":"mouse","peer":"p","for_s":0}', "for_s"),
        ('{"type":"ban","peer":"p","for_s":1e9}', "for_s"),
        ('{"type":"configure","turn_s":null}', "turn_s"),
        ('{"type":"configure","pads":9}', "pads"),
        ('{"type":"configure","colour":"red"}', "colour"),
        ('{"type":"grant","peer":"p","capability":"fly"}', "capability"),
        ('{"type":"kick","peer":"p","id":"' + "i" * 33 + '"}', "id"),
        ('{"type":"trace","spans":[{"name":"A","start_ms":1,"duration_ms":1}]}', "name"),
        (
            '{"type":"trace","spans":['
            + ",".join(['{"name":"a","start_ms":1,"duration_ms":1}'] * 17)
            + "]}",
            "spans",
        ),
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


def test_the_server_may_say_more_at_once_than_a_client():
    members = [PeerJoined(f"peer{number}", "viewer", "x" * 60) for number in range(2000)]
    welcome = Welcome("p", "r", "host", True, members=members)
    assert MAX_MESSAGE_BYTES < len(encode(welcome)) < MAX_SERVER_MESSAGE_BYTES
    assert decode_server(encode(welcome)) == welcome
    frame = '{"type":"bye"' + " " * MAX_SERVER_MESSAGE_BYTES + "}"
    with pytest.raises(MessageTooLarge):
        decode_server(frame)


def test_many_shallow_objects_are_not_deep():
    servers = [IceServer(["stun:192.0.2.1"])] * 40
    welcome = Welcome("p", "r", "host", True, [], servers)
    assert decode_server(encode(welcome)) == welcome


def test_every_error_has_a_meaning_and_a_close_code_that_may_be_sent():
    assert set(get_args(ErrorCode)) == set(CLOSE_CODES) == set(MEANINGS)
    assert all(code in (1011, 1012) or 4000 <= code <= 4999 for code in CLOSE_CODES.values())
