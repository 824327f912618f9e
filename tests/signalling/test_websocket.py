"""The WebSocket's frames, made and read by another implementation; its flow control; the real thing
is in test_server.py."""

import asyncio
import random

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from signalling.websocket import (
    FRAMES_PER_TURN,
    HIGH_WATER_BYTES,
    MAX_FRAGMENTS,
    Reactor,
    WebSocket,
)

LIMIT = 1000


class Transport:
    """Keeps what is written; is told when to be full."""

    def __init__(self):
        self.written = b""
        self.writes = 0
        self.held = 0
        self.reading = True
        self.closing = self.aborted = False

    def write(self, data):
        assert not self.aborted
        self.written += data
        self.writes += 1

    def get_write_buffer_size(self):
        return self.held

    def set_write_buffer_limits(self, high):
        pass

    def set_protocol(self, protocol):
        pass

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.closing

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.closing = True

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True

    def frames(self):
        """What was written, as another implementation reads it."""
        reader = StreamReader()
        reader.feed_data(self.written)
        found = []
        while reader.buffer:
            steps = Frame.parse(reader.read_exact, mask=False)
            try:
                next(steps)
            except StopIteration as end:
                found.append(end.value)
            else:
                raise AssertionError("a frame is cut short")
        return found


class Client:
    """A WebSocket under test, and who hears of what it gets."""

    def __init__(self, *, outbox_bytes=10_000_000):
        self.reactor = Reactor(
            max_message_bytes=LIMIT, outbox_bytes=outbox_bytes, close_timeout_s=0.01
        )
        self.transport = Transport()
        self.socket = WebSocket(self.reactor, self.transport)
        self.messages, self.pongs, self.answers_pings, self.code = [], [], True, None
        self.words_of_overlong = None
        self.socket.open(self, b"")

    def received(self, message, is_text):
        self.messages.append((message, is_text))

    def overlong(self):
        if self.words_of_overlong is not None:
            self.socket.close(4413, self.words_of_overlong)

    def pinged(self):
        return self.answers_pings

    def ponged(self, payload):
        self.pongs.append(payload)

    def closed(self, code):
        assert self.code is None
        self.code = code

    def feed(self, *frames, step=None):
        """Bring these to the socket, ``step`` bytes at a time."""
        data = b"".join(raw(frame) for frame in frames)
        step = step or len(self.reactor.buffer)
        for at in range(0, len(data), step):
            part = data[at : at + step]
            self.reactor.buffer[: len(part)] = part
            self.socket.buffer_updated(len(part))

    async def sent(self):
        """What has been written by the end of this turn of the event loop."""
        await asyncio.sleep(0)
        return self.transport.frames()


def raw(frame):
    return frame if isinstance(frame, bytes) else frame.serialize(mask=True, extensions=[])


def text(payload, fin=True, opcode=Opcode.TEXT):
    return Frame(opcode, payload, fin)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 999, 1000])
@pytest.mark.parametrize("step", [None, 1, 7])
async def test_messages_of_every_length_come_whole_however_they_come(size, step):
    client = Client()
    payload = random.Random(size).randbytes(size)
    client.feed(text(payload), text(b"next"), step=step)
    assert client.messages == [(payload, True), (b"next", True)]
    assert client.socket._rest is None  # nothing is kept of what is done with


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
async def test_what_is_sent_another_implementation_reads(size):
    client = Client()
    payload = b"x" * size
    assert client.socket.send(payload)
    assert await client.sent() == [Frame(Opcode.TEXT, payload, True)]


async def test_what_is_sent_within_a_turn_leaves_in_one_write():
    client = Client()
    for number in range(50):
        client.socket.send(b"%d" % number)
    assert client.transport.writes == 0
    assert [int(frame.data) for frame in await client.sent()] == list(range(50))
    assert client.transport.writes == 1


async def test_fragments_are_put_together_and_control_frames_pass_between_them():
    client = Client()
    client.feed(
        text(b"one ", fin=False),
        Frame(Opcode.PING, b"p", True),
        text(b"two ", fin=False, opcode=Opcode.CONT),
        Frame(Opcode.PONG, b"q", True),
        text(b"three", opcode=Opcode.CONT),
        Frame(Opcode.BINARY, b"raw", True),
        step=3,
    )
    assert client.messages == [(b"one two three", True), (b"raw", False)]
    assert client.pongs == [b"q"]
    assert await client.sent() == [Frame(Opcode.PONG, b"p", True)]


async def test_who_sends_much_at_once_lets_others_have_their_turn():
    client = Client()
    texts = [b"%d" % n for n in range(3 * FRAMES_PER_TURN + 1)]
    client.feed(*map(text, texts[:-1]))
    assert len(client.messages) == FRAMES_PER_TURN
    assert not client.transport.reading
    client.socket.pause_reading()
    client.feed(text(texts[-1]))  # had been read already
    for turn in (2, 3):
        await asyncio.sleep(0)
        assert len(client.messages) == turn * FRAMES_PER_TURN
    await asyncio.sleep(0)
    assert client.messages == [(payload, True) for payload in texts]
    assert not client.transport.reading  # its receiver has not enough
    client.socket.resume_reading()
    assert client.transport.reading


async def test_whose_turn_has_ended_is_read_from_again_when_all_is_taken_in():
    client = Client()
    client.feed(*[text(b"x")] * (FRAMES_PER_TURN + 1), raw(text(b"whole"))[:-1])
    client.socket.resume_reading()
    assert not client.transport.reading
    await asyncio.sleep(0)
    assert client.transport.reading
    client.feed(raw(text(b"whole"))[-1:])
    assert len(client.messages) == FRAMES_PER_TURN + 2


async def test_nothing_is_taken_in_of_who_ended_before_its_turn():
    client = Client()
    client.feed(*[text(b"x")] * (FRAMES_PER_TURN + 1))
    client.socket.connection_lost(None)
    await asyncio.sleep(0)
    assert len(client.messages) == FRAMES_PER_TURN


async def test_a_ping_that_is_too_much_is_not_answered():
    client = Client()
    client.answers_pings = False
    client.feed(Frame(Opcode.PING, b"p", True))
    assert await client.sent() == []


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"\x81\x01x"], 1002),  # not masked
        ([b"\xc1\x80\0\0\0\0"], 1002),  # RSV1
        ([b"\x83\x80\0\0\0\0"], 1002),  # opcode 3
        ([b"\x8b\x80\0\0\0\0"], 1002),  # opcode 11
        ([b"\x09\x80\0\0\0\0"], 1002),  # a fragmented ping
        ([b"\x89\xfe\x00\x7e" + bytes(4 + 126)], 1002),  # a long ping
        ([b"\x81\xfe\x00\x7d" + bytes(4 + 125)], 1002),  # 125 written as 16 bits
        ([b"\x81\xff" + (200).to_bytes(8, "big") + bytes(204)], 1002),  # 200 as 64 bits
        ([b"\x81\xff" + (1 << 63).to_bytes(8, "big") + bytes(4)], 1009),
        ([b"\x81\xff" + (1 << 40).to_bytes(8, "big")], 1009),  # known before it comes
        ([text(b"x" * (LIMIT + 1))], 1009),
        ([text(b"x" * LIMIT, fin=False), text(b"x", opcode=Opcode.CONT)], 1009),
        ([text(b"", opcode=Opcode.CONT)], 1002),
        ([text(b"a", fin=False), text(b"b")], 1002),
        ([text(b"a", fin=False), *[text(b"", False, Opcode.CONT)] * MAX_FRAGMENTS], 1008),
        ([b"\x88\x81\0\0\0\0x"], 1002),  # half a close code
        ([Frame(Opcode.CLOSE, (1005).to_bytes(2, "big"), True)], 1002),
        ([Frame(Opcode.CLOSE, (999).to_bytes(2, "big"), True)], 1002),
        ([Frame(Opcode.CLOSE, (1000).to_bytes(2, "big") + b"\xff", True)], 1002),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection(frames, code):
    client = Client()
    client.feed(*frames, text(b"later"))
    for _ in range(len(frames) // FRAMES_PER_TURN):
        await asyncio.sleep(0)
    last = (await client.sent())[-1]
    assert (last.opcode, Close.parse(last.data).code) == (Opcode.CLOSE, code)
    assert (b"later", True) not in client.messages
    assert client.transport.closing
    client.socket.connection_lost(None)
    assert client.code == code


async def test_the_receiver_says_how_long_messages_may_be_and_may_say_it_in_its_words():
    client = Client()
    client.socket.take_up_to(200)
    client.feed(text(b"x" * 200), text(b"y" * 150, fin=False))
    client.socket.take_up_to(300)  # counts for what has begun already
    client.feed(text(b"y" * 150, opcode=Opcode.CONT), text(b"z" * 300))
    assert [len(message) for message, _ in client.messages] == [200, 300, 300]
    client.words_of_overlong = "too long"
    client.feed(text(b"a" * 200, fin=False))
    client.feed(b"\x80\xfe" + (101 + 26).to_bytes(2, "big"))  # in two steps
    client.feed(bytes(4))
    (close,) = await client.sent()
    assert Close.parse(close.data) == Close(4413, "too long")
    assert (client.socket._fragments, client.socket._rest) == (None, None)
    client.socket.connection_lost(None)
    assert client.code == 4413


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8bye", 1000)])
async def test_a_close_is_answered_and_its_code_told(payload, code):
    client = Client()
    client.feed(Frame(Opcode.CLOSE, payload, True), text(b"later"))
    assert await client.sent() == [Frame(Opcode.CLOSE, payload[:2], True)]
    assert client.transport.closing
    client.socket.connection_lost(None)
    assert (client.messages, client.code) == ([], code)


async def test_our_close_goes_out_behind_what_is_queued_and_waits_for_the_answer():
    client = Client()
    client.socket.send(b"last words")
    client.socket.close(4400, "é" * 100)
    client.socket.send(b"too late")
    client.socket.close(1000)
    words, close = await client.sent()
    assert words.data == b"last words"
    assert Close.parse(close.data) == Close(4400, "é" * 61)  # 123 bytes hold no more
    assert not client.transport.closing
    client.feed(Frame(Opcode.CLOSE, close.data[:2], True))
    assert client.transport.closing
    client.socket.connection_lost(None)
    assert client.code == 4400


async def test_who_does_not_answer_our_close_is_cut_off():
    client = Client()
    client.socket.close(1000)
    cut_off = asyncio.Event()
    client.transport.abort = cut_off.set
    async with asyncio.timeout(5):
        await cut_off.wait()


async def test_a_lost_connection_is_abnormal_and_told_once():
    client = Client()
    client.socket.connection_lost(ConnectionResetError())
    assert client.code == 1006
    assert client.socket.send(b"into the void")
    assert await client.sent() == []


async def test_for_a_client_that_does_not_read_a_bounded_amount_is_kept_and_no_more():
    client = Client(outbox_bytes=1000)
    client.socket.send(b"first")
    await client.sent()
    client.socket.pause_writing()
    for _ in range(10):
        assert client.socket.send(b"x" * 100)
    assert not client.socket.send(b"x")
    assert client.socket.send(b"last", limited=False)
    assert [frame.data for frame in await client.sent()] == [b"first"]
    client.socket.resume_writing()
    assert [len(frame.data) for frame in client.transport.frames()] == [5, *[100] * 10, 4]


async def test_what_is_forgotten_is_whole_frames():
    client = Client()
    client.socket.pause_writing()
    client.socket.send(b"never read")
    client.socket.discard()
    client.socket.close(4430)
    client.socket.resume_writing()
    (close,) = client.transport.frames()
    assert Close.parse(close.data).code == 4430


async def test_a_long_outbox_goes_to_the_transport_as_far_as_it_takes():
    client = Client()
    client.socket.pause_writing()
    for _ in range(40):
        client.socket.send(b"x" * 8192)
    write, written = client.transport.write, []

    def full_after_64k(data):
        write(data)
        written.append(len(data))
        if sum(written) > HIGH_WATER_BYTES:
            client.socket.pause_writing()

    client.transport.write = full_after_64k
    client.socket.resume_writing()
    assert len(written) == 8
    client.socket.discard()
    assert len(client.transport.frames()) == 8


async def test_random_bytes_are_frames_or_the_end():
    rng = random.Random(4)
    ended = 0
    for _ in range(3000):
        client = Client()
        frames = [text(rng.randbytes(rng.randrange(40))) for _ in range(rng.randrange(3))]
        data = bytearray(b"".join(map(raw, frames)) + rng.randbytes(rng.randrange(20)))
        for _ in range(rng.randrange(3)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        client.feed(bytes(data), step=rng.choice([None, 1, 5]))
        await client.sent()  # parses
        client.socket.connection_lost(None)
        ended += client.transport.closing
    assert 500 < ended < 2900
