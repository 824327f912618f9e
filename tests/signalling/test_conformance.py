"""RFC 6455 over a real socket, case by case: the cases of the Autobahn test suite by their numbers
(1 to 7 and 10), told from the bytes alone.

What is binary comes back as text here, in hexadecimal: the server sends text alone.
"""

import asyncio
import struct

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from signalling.messages import CLOSE_CODES
from signalling.websocket import MAX_FRAGMENTS
from tests.signalling.echo import MAX_MESSAGE_BYTES, echo_site
from tests.signalling.test_server import start, web_root  # noqa: F401
from tests.signalling.wire import ISSUER

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DEADLINE_S = 5
MASK = b"\x37\xfa\x21\x3d"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=True, length=None):
    """One frame of a client; ``length``: the bytes that say how long it is."""
    if length is None:
        size = len(payload)
        if size < 126:
            length = bytes((size,))
        elif size < 65536:
            length = b"\x7e" + struct.pack("!H", size)
        else:
            length = b"\x7f" + struct.pack("!Q", size)
    head = bytes((fin << 7 | rsv << 4 | opcode, masked << 7 | length[0])) + length[1:]
    if not masked:
        return head + payload
    repeated = MASK * (len(payload) // 4 + 1)
    mixed = bytes(a ^ b for a, b in zip(payload, repeated, strict=False))
    return head + MASK + mixed


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


BYE = close(1000)
NORMAL = (Opcode.CLOSE, struct.pack("!H", 1000))


def said(payload):
    return (Opcode.TEXT, payload)


def ponged(payload):
    return (Opcode.PONG, payload)


async def exchange(port, sent, chop=0, handshake=HANDSHAKE):
    """What a server answers to ``sent``, up to the end that it makes of the connection."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        try:
            for at in range(0, len(sent), chop or len(sent)):
                writer.write(sent[at : at + (chop or len(sent))])
                await writer.drain()
                if chop:
                    await asyncio.sleep(0)
            data = await reader.read()
        finally:
            writer.close()
    return frames(data)


def frames(data):
    stream = StreamReader()
    stream.feed_data(data)
    found = []
    while stream.buffer:
        steps = Frame.parse(stream.read_exact, mask=False)
        try:
            next(steps)
        except StopIteration as end:
            found.append(end.value)
        else:
            raise AssertionError("a frame is cut short")
    assert all(each.fin and not (each.rsv1 or each.rsv2 or each.rsv3) for each in found)
    return [(each.opcode, bytes(each.data)) for each in found]


def lengths(opcode, sizes):
    for size in sizes:
        payload = b"*" * size
        again = payload if opcode == TEXT else payload.hex().encode()
        yield frame(opcode, payload) + BYE, [said(again), NORMAL]


def valid():
    """What is answered in full: the case, what is sent, and what comes back."""
    sizes = (0, 125, 126, 127, 128, 65535, 65536)
    for number, (sent, answer) in enumerate(lengths(TEXT, sizes), 1):
        yield f"1.1.{number}", sent, answer
    for number, (sent, answer) in enumerate(lengths(BINARY, sizes), 1):
        yield f"1.2.{number}", sent, answer
    for case, payload in (
        ("2.1", b""),
        ("2.2", b"Hello, world!"),
        ("2.3", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        ("2.4", b"\xfe" * 125),
    ):
        yield case, frame(PING, payload) + BYE, [ponged(payload), NORMAL]
    yield "2.7", frame(PONG) + BYE, [NORMAL]
    yield "2.8", frame(PONG, b"unasked") + BYE, [NORMAL]
    yield "2.9", frame(PONG, b"unasked") + frame(PING, b"p") + BYE, [ponged(b"p"), NORMAL]
    pings = [b"payload-%d" % number for number in range(10)]
    many = b"".join(frame(PING, payload) for payload in pings)
    yield "2.10", many + BYE, [*map(ponged, pings), NORMAL]
    one, two = frame(TEXT, b"one", fin=False), frame(CONT, b"two")
    yield "5.3", one + two + BYE, [said(b"onetwo"), NORMAL]
    yield "5.6", one + frame(PING, b"p") + two + BYE, [ponged(b"p"), said(b"onetwo"), NORMAL]
    five = [frame(TEXT if not n else CONT, b"%d" % n, fin=n == 4) for n in range(5)]
    between = b"".join(part + frame(PING, b"p%d" % n) for n, part in enumerate(five[:4]))
    ponged_between = [ponged(b"p%d" % n) for n in range(4)]
    yield "5.19", between + five[4] + BYE, [*ponged_between, said(b"01234"), NORMAL]
    yield "6.1.1", frame(TEXT) + BYE, [said(b""), NORMAL]
    empty = frame(TEXT, fin=False) + frame(CONT, fin=False) + frame(CONT)
    yield "6.1.2", empty + BYE, [said(b""), NORMAL]
    middle = frame(TEXT, fin=False) + frame(CONT, b"middle", fin=False) + frame(CONT)
    yield "6.1.3", middle + BYE, [said(b"middle"), NORMAL]
    word = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield "6.2.1", frame(TEXT, word) + BYE, [said(word), NORMAL]
    halves = frame(TEXT, word[:8], fin=False) + frame(CONT, word[8:])  # within a character
    yield "6.2.2", halves + BYE, [said(word), NORMAL]
    short = "κόσμε".encode()
    octets = [
        frame(TEXT if not n else CONT, short[n : n + 1], fin=n == len(short) - 1)
        for n in range(len(short))
    ]
    yield "6.2.4", b"".join(octets) + BYE, [said(short), NORMAL]
    yield "7.1.1", frame(TEXT, b"Hello") + BYE, [said(b"Hello"), NORMAL]
    yield "7.1.2", BYE + BYE, [NORMAL]
    yield "7.1.3", BYE + frame(PING, b"p"), [NORMAL]
    yield "7.1.4", BYE + frame(TEXT, b"late"), [NORMAL]
    yield "7.1.5", frame(TEXT, b"half", fin=False) + BYE + frame(CONT, b"late"), [NORMAL]
    yield "7.3.1", close(), [(Opcode.CLOSE, b"")]
    yield "7.3.3", BYE, [NORMAL]
    yield "7.3.4", close(1000, b"Hello"), [NORMAL]
    yield "7.3.5", close(1000, b"*" * 123), [NORMAL]
    codes = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for number, code in enumerate(codes, 1):
        yield f"7.7.{number}", close(code), [(Opcode.CLOSE, struct.pack("!H", code))]
    # What comes in one segment with a text that fits the limit, and fills it.
    most = b"x" * MAX_MESSAGE_BYTES
    yield "10.1.1", frame(TEXT, most) + BYE, [said(most), NORMAL]


VALID = list(valid())


def invalid():
    """What ends the connection: the case, what is sent, what is still answered, the close code."""
    hello, again = frame(TEXT, b"Hello"), [said(b"Hello")]
    yield "2.5", frame(PING, b"\xfe" * 126), [], 1002
    yield "3.1", frame(TEXT, b"Hello", rsv=1), [], 1002
    yield "3.2", hello + frame(TEXT, b"Hello", rsv=2) + frame(PING), again, 1002
    yield "3.3", hello + frame(TEXT, b"Hello", rsv=3) + frame(PING), again, 1002
    yield "3.4", hello + frame(TEXT, b"Hello", rsv=4) + frame(PING), again, 1002
    yield "3.5", frame(BINARY, b"\x00\xff", rsv=5), [], 1002
    yield "3.6", frame(PING, b"Hello", rsv=6), [], 1002
    yield "3.7", frame(CLOSE, struct.pack("!H", 1000), rsv=7), [], 1002
    for number, opcode in enumerate((3, 4, 5, 6, 7), 1):
        yield f"4.1.{number}", hello + frame(opcode, b"x") + frame(PING), again, 1002
    for number, opcode in enumerate((11, 12, 13, 14, 15), 1):
        yield f"4.2.{number}", hello + frame(opcode, b"x") + frame(PING), again, 1002
    yield "5.1", frame(PING, b"one", fin=False) + frame(CONT, b"two"), [], 1002
    yield "5.2", frame(PONG, b"one", fin=False) + frame(CONT, b"two"), [], 1002
    yield "5.9", frame(CONT, b"x") + hello, [], 1002
    yield "5.12", frame(CONT, b"x", fin=False) + hello, [], 1002
    yield (
        "5.15",
        (
            frame(TEXT, b"one", fin=False)
            + frame(CONT, b"two")
            + frame(CONT, b"x", fin=False)
            + hello
        ),
        [said(b"onetwo")],
        1002,
    )
    yield "5.18", frame(TEXT, b"one", fin=False) + frame(TEXT, b"two"), [], 1002
    yield "5.18 binary", frame(TEXT, b"one", fin=False) + frame(BINARY, b"two"), [], 1002
    yield "7.3.2", frame(CLOSE, b"\x03"), [], 1002
    yield "7.3.6", frame(CLOSE, b"\x03\xe8" + b"*" * 124), [], 1002
    yield "7.5.1", close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited"), [], 1002
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999), 1):
        yield f"7.9.{number}", close(code), [], 1002
    yield "7.13.1", close(5000), [], 1002
    yield "7.13.2", close(65535), [], 1002
    # RFC 6455 sections 5.1 and 5.2, which the suite does not go into.
    yield "unmasked", frame(TEXT, b"Hello", masked=False), [], 1002
    yield "unmasked, long", frame(TEXT, b"x" * 300, masked=False), [], 1002
    yield "16 bits for 125", frame(TEXT, b"x" * 125, length=b"\x7e\x00\x7d"), [], 1002
    yield "64 bits for 65535", frame(TEXT, length=b"\x7f" + struct.pack("!Q", 65535)), [], 1002
    yield "64 bits, the first set", frame(TEXT, length=b"\x7f" + b"\xff" * 8), [], 1009
    too_long = frame(TEXT, length=b"\x7f" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1))
    yield "too long", too_long, [], 1009
    yield "a close that is long", frame(CLOSE, length=b"\x7e\xff\xff"), [], 1002
    parts = b"x" * (MAX_MESSAGE_BYTES // 2 + 1)
    yield "too long in parts", frame(TEXT, parts, fin=False) + frame(CONT, parts), [], 1009
    crumbs = frame(TEXT, fin=False) + frame(CONT, fin=False) * MAX_FRAGMENTS
    yield "too many parts", crumbs, [], 1008


INVALID = list(invalid())


@pytest.mark.parametrize("chop", [0, 1, 5])
async def test_what_is_in_order_is_answered_in_full(chop):
    async with echo_site() as site:
        for case, sent, answer in VALID:
            # Behind a close nothing is read: its sender may find the connection gone.
            if chop and (len(sent) > 2000 or case.startswith("7.1.")):
                continue
            assert await exchange(site.port, sent, chop) == answer, case


@pytest.mark.parametrize("chop", [0, 1])
async def test_what_breaks_the_protocol_fails_the_connection_and_nothing_after_it_counts(chop):
    async with echo_site() as site:
        for case, sent, answer, code in INVALID:
            if chop and len(sent) > 2000:
                continue
            *before, (opcode, payload) = await exchange(site.port, sent, chop)
            assert before == answer, case
            assert (opcode, payload[:2]) == (Opcode.CLOSE, struct.pack("!H", code)), case


NOT_UTF8 = {
    "6.3.1": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    "6.4.1": b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    "6.6.1": b"\xce",
    "6.6.4": b"\xce\xba\xe1",
    "6.8.1": b"\xf8\x88\x80\x80\x80",
    "6.8.2": b"\xfc\x84\x80\x80\x80\x80",
    "6.10.1": b"\xf7\xbf\xbf\xbf",
    "6.11.5": b"\xf4\x90\x80\x80",
    "6.12.1": b"\x80",
    "6.13.1": b"\xc0 \xc1 \xc2 ",
    "6.14.1": b"\xc0",
    "6.16.1": b"\xfe",
    "6.16.2": b"\xff",
    "6.17.1": b"\xc0\xaf",  # an overlong slash
    "6.17.2": b"\xe0\x80\xaf",
    "6.18.1": b"\xc1\xbf",
    "6.19.1": b"\xc0\x80",  # an overlong NUL
    "6.20.1": b"\xed\xa0\x80",  # a surrogate
    "6.21.1": b"\xed\xa0\x80\xed\xb0\x80",
}


async def test_text_that_is_not_utf_8_ends_the_connection(start):  # noqa: F811
    """The messages' reader sees to it, not the frames': with the room's close code."""
    server = await start(close_timeout_s=0.05)  # nobody answers its close here
    token = ISSUER.mint("some-host", "doom", "host").encode()
    hello = b'{"type":"hello","version":2,"token":"%s","room":"doom","role":"host"}' % token
    for case, octets in NOT_UTF8.items():
        wrong = b'{"type":"chat","text":"%s"}' % octets
        sent = frame(TEXT, hello) + frame(TEXT, wrong)
        *before, last = await exchange(server.port, sent)
        code = struct.pack("!H", CLOSE_CODES["bad-message"])
        assert last == (Opcode.CLOSE, code + b"bad-message"), case
        assert b"bad-message" in before[-1][1], case
        assert not any(b'"type":"chat' in payload for _, payload in before), case


async def test_who_still_sends_gets_the_reason_why_it_is_refused():
    """With something unread, closing at once would have reset the connection."""
    async with echo_site() as site, asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(TEXT, length=b"\x7f" + struct.pack("!Q", 2**40)) + b"x" * 500_000)
        await writer.drain()
        writer.write(b"x" * 500_000)
        await writer.drain()
        assert frames(await reader.read()) == [(Opcode.CLOSE, struct.pack("!H", 1009))]
        writer.write(b"x")
        await writer.drain()  # nobody has reset it
        writer.close()
        await writer.wait_closed()
        assert await site.codes.get() == 1009
