"""The message decoder under hostile frames: a message, or MessageError, and nothing else.

What is accepted has every key once, whoever reads it, and goes through unchanged when it is said
again.
"""

import json
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalling.messages import (
    MAX_MESSAGE_BYTES,
    MAX_SERVER_MESSAGE_BYTES,
    MessageError,
    decode_client,
    decode_server,
    encode,
)
from tests.signalling.messages import FROM_CLIENT, FROM_SERVER

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "20"))
CORPUS = {path.name: path.read_bytes() for path in Path(__file__).parent.glob("corpus/messages/*")}
SEEDS = [*(encode(message).encode() for message in (*FROM_CLIENT, *FROM_SERVER)), *CORPUS.values()]
LIMITS = {decode_client: MAX_MESSAGE_BYTES, decode_server: MAX_SERVER_MESSAGE_BYTES}
ACCEPTED = {
    "brackets_in_string",
    "key_in_string",
    "line_separators",
    "negative_zero",
    "tag_of_the_server",
}
TOKENS = [
    *(bytes([byte]) for byte in b'{}[]",:\\ \x00\xff\x80'),
    b'"type"',
    b'"bye"',
    b'"id":"r1"',
    b'"seq":1',
    b"null",
    b"1e999",
    b"-0",
    b"\\ud800",
    b"\\u0000",
    "é".encode(),
    b"[" * 2000,
    b'{"a":' * 2000,
    b'\\"' * 2000,
    b"9" * 5000,
]


def mutate(rng: random.Random, frame: bytes) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at, until = sorted(rng.randint(0, len(frame)) for _ in range(2))
        match rng.randrange(6):
            case 0:
                frame = frame[:at] + rng.choice(TOKENS) + frame[at:]
            case 1:
                frame = frame[:at] + frame[until:]
            case 2:
                frame = frame[:at]
            case 3:
                frame = frame[:until] + frame[at:]
            case 4:
                frame = frame[:at] + rng.randbytes(1) + frame[at + 1 :]
            case 5:
                frame = frame[:at] + rng.choice(SEEDS)[at:until] + frame[until:]
    return frame


def refuse_equal_keys(pairs):
    assert len(dict(pairs)) == len(pairs), "an accepted frame has a key twice"
    return dict(pairs)


def check(decode, frame: str | bytes) -> bool:
    try:
        message = decode(frame)
    except MessageError as error:
        message, words = None, str(error)
    if message is None:
        assert words.isprintable()
        assert 0 < len(words) <= 200
        return False
    assert len(frame) <= LIMITS[decode]
    json.loads(frame, object_pairs_hook=refuse_equal_keys)
    assert decode(encode(message)) == message
    return True


def test_a_frame_is_a_message_or_a_message_error():
    rng = random.Random(SEED)
    accepted = 0
    for _ in range(ROUNDS):
        frame = mutate(rng, rng.choice(SEEDS))
        decode = rng.choice((decode_client, decode_server))
        accepted += check(decode, frame)
        check(decode, frame.decode(errors="surrogateescape"))
    assert accepted > ROUNDS // 100  # or the mutations are too coarse to reach the decoder


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_frames_that_are_hostile_each_in_its_way(name: str):
    frame = CORPUS[name]
    accepted = [check(decode, frame) for decode in (decode_client, decode_server)]
    assert any(accepted) is (name in ACCEPTED)
    for length in range(min(len(frame), 300)):
        for decode in (decode_client, decode_server):
            check(decode, frame[:length])


def test_every_cut_of_every_message():
    for message in (*FROM_CLIENT, *FROM_SERVER):
        frame = encode(message)
        for length in range(len(frame)):
            for decode in (decode_client, decode_server):
                assert not check(decode, frame[:length])


def test_random_bytes():
    rng = random.Random(SEED + 1)
    for _ in range(ROUNDS):
        assert not check(decode_client, rng.randbytes(rng.randint(0, 64)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    message=st.sampled_from([*FROM_CLIENT, *FROM_SERVER]), changes=st.dictionaries(st.text(), JSON)
)
def test_fields_of_any_kind(message, changes):
    """Well-formed JSON with the right type, and values that are none of the protocol's."""
    fields = json.loads(encode(message))
    names = list(fields)
    for number, value in enumerate(changes.values()):
        fields[names[number % len(names)]] = value
    for candidate in ({**fields, **changes}, fields):
        frame = json.dumps(candidate)
        for decode in (decode_client, decode_server):
            check(decode, frame)


def test_the_largest_hostile_frames_cost_little():
    begun = time.process_time()
    for token in TOKENS:
        frame = token * (MAX_MESSAGE_BYTES // len(token))
        assert not check(decode_client, frame)
        assert not check(decode_client, b'{"type":"bye","a":"' + frame[:-20])
    assert time.process_time() - begun < 0.1 * 2 * len(TOKENS)
