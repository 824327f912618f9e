"""The message decoder under mutated and random frames: a message, or MessageError, nothing else."""

import os
import random

from signalling.messages import (
    MAX_MESSAGE_BYTES,
    Answer,
    Candidate,
    Hello,
    IceServer,
    MessageError,
    Ping,
    Welcome,
    decode_client,
    decode_server,
    encode,
)

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "20"))
SEEDS = [
    encode(Hello("head.body.tail", "doom", "viewer", name="Zoë")).encode(),
    encode(Answer("p1", 'v=0\r\n"\\{[')).encode(),
    encode(Candidate("p1", "candidate:1 1 udp 2 192.0.2.1 9 typ host")).encode(),
    encode(Ping(-1.5e10)).encode(),
    encode(Welcome("p1", "r", "host", True, ["a"], [IceServer(["stun:192.0.2.1"])])).encode(),
]
TOKENS = [
    *(bytes([byte]) for byte in b'{}[]",:\\ \x00\xff\x80'),
    b'"type"',
    b'"bye"',
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
    for _ in range(rng.randint(1, 4)):
        at, until = sorted(rng.randint(0, len(frame)) for _ in range(2))
        match rng.randrange(5):
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
    return frame


def check(decode, frame: str | bytes) -> bool:
    try:
        message = decode(frame)
    except MessageError:
        return False
    again = encode(message)
    assert decode(again) == message
    assert len(frame) <= MAX_MESSAGE_BYTES
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


def test_every_cut_of_every_message():
    for frame in SEEDS:
        for length in range(len(frame)):
            for decode in (decode_client, decode_server):
                assert not check(decode, frame[:length])


def test_random_bytes():
    rng = random.Random(SEED + 1)
    for _ in range(ROUNDS):
        assert not check(decode_client, rng.randbytes(rng.randint(0, 64)))


def test_the_largest_hostile_frames_cost_little():
    for token in TOKENS:
        frame = token * (MAX_MESSAGE_BYTES // len(token))
        assert not check(decode_client, frame)
        assert not check(decode_client, b'{"type":"bye","a":"' + frame[:-20])
