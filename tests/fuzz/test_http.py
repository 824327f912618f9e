"""The HTTP side under garbage, cut and slow requests, and half-broken WebSockets over a raw socket.

The oracle: each connection is answered with one of HTTP's own status lines, or closed, in good
time; the server logs no mistake of its own, leaks no connection, and serves the next client.
"""

import asyncio
import logging
import os
import random

import pytest

from signalling.http11 import MAX_HEAD_BYTES
from signalling.messages import Hello, encode
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from tests.signalling.wire import ISSUER, until

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "2000")) // 4
SEED = int(os.environ.get("FUZZ_SEED", "20"))
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n" + KEY + b"\r\n"
)
SEEDS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /app.js HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n",
    b"GET /rooms HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    b"GET http://x:1/rooms?a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /metrics HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4, ::1\r\nAuthorization: Bearer x\r\n\r\n",
    UPGRADE,
    UPGRADE + b"\x81\x85\0\0\0\0hello",
    UPGRADE + b"\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",
]
TOKENS = [
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\0", b" ", b":", b"\xff", b"\x80" * 8),
    b"Host: y\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 0\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n",
    b"%2e%2e%2f",
    KEY,
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    b"A" * 5000,
    b"X: y\r\n" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS ClientHello
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.fixture
async def server(caplog):
    caplog.set_level(logging.ERROR)
    settings = SignallingSettings(
        verifier=ISSUER.verifier(),
        port=0,
        hello_timeout_s=0.5,
        close_timeout_s=0.5,
        write_timeout_s=1.0,
    )
    async with SignallingServer(settings) as server:
        yield server
        assert await get(server, b"/healthz") == b"200"
        await until(lambda: server._site.open_connections == 0)
        assert not server._site.requesting
        assert not server._site._addresses
    assert caplog.records == []


async def get(server, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer[9:12]


def mutate(rng, data):
    for _ in range(rng.randint(0, 4)):
        at, until = sorted(rng.randint(0, len(data)) for _ in range(2))
        match rng.randrange(6):
            case 0 | 1:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + data[until:]
            case 3:
                data = data[:at]
            case 4:
                data = data[:until] + data[at:]
            case 5:
                data = data[:at] + rng.randbytes(1) + data[at + 1 :]
    return data


async def exchange(server, rng, data):
    """Send it in some pieces; everything that comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.randrange(3)))
        for at, until in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[at:until])
            await asyncio.sleep(0)
        match rng.randrange(3):
            case 0:
                writer.write_eof()
            case 1 if rng.random() < 0.2:
                writer.transport.abort()
                return b""
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_whatever_comes_is_answered_or_dropped(server):
    rng = random.Random(SEED)
    statuses = {}

    async def one():
        data = mutate(rng, rng.choice(SEEDS))
        answer = await exchange(server, rng, data)
        assert b"Traceback" not in answer
        assert b"root:" not in answer
        if answer:
            assert answer.startswith(b"HTTP/1.1 ")
            status = int(answer[9:12])
            statuses[status] = statuses.get(status, 0) + 1

    for _ in range(ROUNDS // 50):
        await asyncio.gather(*(one() for _ in range(50)))
    assert set(statuses) <= {101, 200, 304, 400, 403, 404, 405, 408, 413, 414, 426, 431, 501, 505}
    # Or the mutations are too coarse, or too fine, to reach what they are for.
    assert {101, 200, 400, 426} <= set(statuses)


async def test_a_request_that_never_ends_is_ended(server):
    """Slowloris: a byte now and then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def drip():
        while True:
            writer.write(b"X")
            await asyncio.sleep(0.02)

    writer.write(b"GET / HTTP/1.1\r\nHost: ")
    dripping = asyncio.create_task(drip())
    answer = await asyncio.wait_for(reader.read(), 3)
    dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_head_without_end_is_refused_before_it_is_all_there(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * (2 * MAX_HEAD_BYTES))
    answer = await asyncio.wait_for(reader.read(), 3)
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_who_does_not_read_the_answers_is_not_given_more(server):
    """Requests are many times smaller than what they ask for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    reader._transport.pause_reading()
    request = b"GET /app.js HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(request * 20_000)
    await until(lambda: server._site.requesting)
    (connection,) = server._site.requesting
    await until(lambda: connection._blocked)
    assert connection._transport.get_write_buffer_size() < 400_000
    assert len(connection._head) <= MAX_HEAD_BYTES + 65_536
    await until(lambda: not server._site.requesting)  # it is given up
    writer.transport.abort()


async def test_one_connection_serves_one_request_after_the_other(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    writer.write(b"GET /rooms HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nignored")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.count(b"\r\n\r\nok\n") == 2
    assert answer.count(b'{"rooms":[]}') == 1
    assert answer.endswith(b"\r\n\r\n")
    writer.close()


async def test_a_websocket_may_speak_before_it_is_answered(server):
    """Its first message comes with the handshake, in one segment or cut anywhere."""
    message = encode(Hello("nonsense", "doom", "viewer")).encode()
    data = UPGRADE + b"\x81\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message
    for cut in range(0, len(data), 7):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(data[:cut])
        await asyncio.sleep(0)
        writer.write(data[cut:])
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
        assert b" 101 " in answer
        assert b'"bad-token"' in answer or b'"rate-limited"' in answer
        writer.transport.abort()
        server._services.backoff._until.clear()
        server._services.backoff._failures.clear()
