"""The WebSocket beside another implementation, the ``websockets`` library's server without I/O: the
same bytes, valid or not, however they come, are the same messages and the same end.

Known to differ: this server does not look at what text says (whoever reads messages does), refuses
what is too long before it has come, refuses a length in more bytes than it needs, and lets a client
close within a message (Autobahn's 7.1.5).
"""

import random

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN, Side
from websockets.server import ServerProtocol

from tests.signalling.test_conformance import frame
from tests.signalling.test_websocket import LIMIT, Client

ROUNDS = 400
RESERVED = (3, 7, 11, 15)
ENOUGH = bytes(LIMIT + 20)
"""Ends whatever frame has begun, and is none of a client's."""


class Oracle:
    """What the other implementation makes of it."""

    def __init__(self):
        self.protocol = ServerProtocol(state=OPEN, max_size=LIMIT)
        assert self.protocol.side is Side.SERVER

    def feed(self, data, rng):
        for part in chopped(data, rng):
            self.protocol.receive_data(part)

    def messages(self):
        found, parts, is_text = [], [], False
        for event in self.protocol.events_received():
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                parts, is_text = [], event.opcode is Opcode.TEXT
            elif event.opcode is not Opcode.CONT:
                continue
            parts.append(bytes(event.data))
            if event.fin:
                found.append((b"".join(parts), is_text))
        return found

    def close_code(self):
        """What it says to the client at the end, ``None``: it goes on."""
        sent = self.protocol.close_sent
        return None if sent is None else sent.code


def chopped(data, rng):
    at = 0
    longest = rng.choice([1, 3, 20, len(data) + 1])
    while at < len(data):
        size = rng.randint(1, longest)
        yield data[at : at + size]
        at += size


def stream(rng):
    """Frames of a client: mostly in order."""
    opened = False
    for _ in range(rng.randrange(1, 8)):
        what = rng.random()
        payload = rng.choice([b"", b"hello", rng.randbytes(rng.choice([3, 125, 126, 300]))])
        if what < 0.25:
            control = rng.choice([Opcode.PING, Opcode.PONG])
            yield Frame(control, payload[:125], True)
        elif what < 0.32:
            code = rng.choice([1000, 1001, 1003, 1011, 1014, 3000, 4999, 999, 1005, 1015, 2000])
            yield Frame(Opcode.CLOSE, code.to_bytes(2, "big") + b"bye", True)
        elif what < 0.35:
            yield Frame(Opcode.CLOSE, payload[: rng.choice([0, 1])], True)
        else:
            fin = rng.random() < 0.6
            in_order = rng.random() < 0.95
            opcode = Opcode.CONT if opened == in_order else rng.choice([1, 2])
            yield Frame(Opcode(opcode), payload, fin)
            opened = not fin


def on_the_wire(frames, rng):
    return b"".join(
        frame(each.opcode, each.data, fin=each.fin, masked=rng.random() < 0.99) for each in frames
    )


def mutated(data, rng):
    """Bits, bytes, a cut, or a reserved opcode, somewhere."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        where = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[where] ^= 1 << rng.randrange(8)
            case 1:
                data[where] = rng.randrange(256)
            case 2:
                del data[where : where + rng.randrange(1, 4)]
            case 3:
                data[0] = 0x80 | rng.choice(RESERVED)
        if not data:
            return b"\x81\x80"
    return bytes(data)


@pytest.mark.parametrize("mutate", [False, True])
async def test_both_make_the_same_of_the_same_bytes(mutate):
    rng = random.Random(6455 + mutate)
    ended = whole = 0
    for number in range(ROUNDS):
        data = on_the_wire(list(stream(rng)), rng)
        if mutate:
            data = mutated(data, rng) + ENOUGH
        oracle = Oracle()
        oracle.feed(data, rng)
        client = Client()
        for part in chopped(data, rng):
            client.feed(part)
        await client.sent()
        expected = oracle.messages()
        theirs, (ours, reason) = oracle.close_code(), said(client)
        within = "incomplete fragmented message" in str(oracle.protocol.parser_exc)
        if reason == "a frame's length is malformed":  # too many bytes for it: theirs does not mind
            assert client.messages == expected[: len(client.messages)], (number, data)
        elif theirs == 1007 or ours == 1009 or within:
            assert client.messages[: len(expected)] == expected, (number, data)
        else:
            assert client.messages == expected, (number, data)
            assert ours == theirs, (number, data)
        ended += ours is not None
        whole += len(expected)
    assert ended > ROUNDS / 10
    assert whole > ROUNDS / 2


def said(client):
    """The code that the socket closed with, and the reason."""
    closes = [frame for frame in client.transport.frames() if frame.opcode is Opcode.CLOSE]
    assert len(closes) <= 1
    if not closes:
        return None, ""
    end = Close.parse(closes[0].data)
    return end.code, end.reason
