"""Connections to Redis: answers to their commands, messages to who hears them, ends to all."""

import asyncio
import contextlib

import pytest
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from signalling.redis.pipeline import Access, Listener, NotServed, Pipeline

from . import server as redis_server
from .replica import DEADLINE_S, eventually

ACCESS = Access(timeout_s=5.0)


@contextlib.asynccontextmanager
async def opened(port, pipeline=None, access=ACCESS):
    pipeline = await (pipeline or Pipeline(access.timeout_s)).connect("127.0.0.1", port, access)
    try:
        yield pipeline
    finally:
        pipeline.close()


@contextlib.asynccontextmanager
async def served(handle):
    """The port of a server that is no Redis: ``handle(reader, writer)`` is each connection."""

    async def and_close(reader, writer):
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(and_close, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def saying(*parts):
    """A server that waits for anything, and says this."""

    async def handle(reader, writer):
        await reader.read(1)
        for part in parts:
            writer.write(part)
            await writer.drain()
        await reader.read()

    return handle


async def test_answers_come_to_their_commands(redis):
    async with opened(redis.port) as pipeline:
        answers = [pipeline.send("ECHO", f"{n}") for n in range(1000)]
        assert await asyncio.gather(*answers) == [b"%d" % n for n in range(1000)]


async def test_an_answer_nobody_waits_for_is_not_another_s(redis):
    async with opened(redis.port) as pipeline:
        first, second = pipeline.send("ECHO", "first"), pipeline.send("ECHO", "second")
        first.cancel()
        assert await second == b"second"


async def test_an_answer_in_pieces_is_one(redis):
    reply = b"*2\r\n$5\r\nhello\r\n:42\r\n"
    async with served(saying(*(bytes([byte]) for byte in reply))) as port, opened(port) as pipeline:
        assert await pipeline.send("X") == [b"hello", 42]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("NOSCRIPT No matching script.", NoScriptError),
        ("LOADING Redis is loading the dataset in memory", NotServed),
        ("READONLY You can't write against a read only replica.", NotServed),
        ("MOVED 3999 127.0.0.1:6381", NotServed),
        ("CLUSTERDOWN The cluster is down", NotServed),
        ("ERR max number of clients reached", NotServed),
        ("NOAUTH Authentication required.", AuthenticationError),
        ("WRONGPASS invalid username-password pair", AuthenticationError),
        ("WRONGTYPE Operation against a key", ResponseError),
        ("NOPERM this user has no permissions", ResponseError),
    ],
)
async def test_refusals_have_kinds(said, kind):
    reply = f"-{said}\r\n+OK\r\n".encode()
    async with served(saying(reply)) as port, opened(port) as pipeline:
        refused, next_one = pipeline.send("X"), pipeline.send("Y")
        with pytest.raises(RedisError, match=said.split()[0]) as raised:
            await refused
        assert type(raised.value) is kind
        assert await next_one == b"OK"  # the connection goes on


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n"])
async def test_what_is_no_redis_is_left(reply):
    async with served(saying(reply)) as port, opened(port) as pipeline:
        answer = pipeline.send("X")
        await asyncio.wait_for(pipeline.lost.wait(), DEADLINE_S)
        assert "not an answer of Redis" in str(pipeline.failure)
        with contextlib.suppress(RedisConnectionError):  # the first answer was one, perhaps
            assert await answer == b"OK"
        with pytest.raises(RedisConnectionError, match="not an answer"):
            await pipeline.send("Y")


async def test_silence_ends_the_connection_with_all_that_wait():
    access = Access(timeout_s=0.05)
    async with served(saying()) as port, opened(port, access=access) as pipeline:
        answers = [pipeline.send("X") for _ in range(2)]
        for answer in answers:
            with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
                await answer
        assert pipeline.lost.is_set()


async def test_answers_in_time_do_not_end_it():
    async def handle(reader, writer):
        while await reader.read(100):
            writer.write(b"+OK\r\n")

    async with served(handle) as port, opened(port, access=Access(timeout_s=0.2)) as pipeline:
        until = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < until:
            assert await pipeline.send("X") == b"OK"
        assert not pipeline.lost.is_set()


async def test_silence_after_an_answer_ends_it_too():
    async def slow(reader, writer):
        await reader.read(1)
        await asyncio.sleep(0.02)  # as long as it takes to answer
        writer.write(b"+OK\r\n")
        while await reader.read(100):
            pass

    access = Access(timeout_s=0.1)
    async with served(slow) as port, opened(port, access=access) as pipeline:
        assert await pipeline.send("X") == b"OK"
        with pytest.raises(TimeoutError, match="no answer within"):
            await asyncio.wait_for(pipeline.send("Y"), DEADLINE_S)


async def test_a_redis_that_goes_takes_what_waits_with_it(redis):
    async with opened(redis.port) as pipeline:
        waits = pipeline.send("BLPOP", "nothing", 0)
        with redis.client() as client:
            await eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        redis.kill()
        with pytest.raises((RedisConnectionError, ConnectionResetError)):
            await waits
        with pytest.raises((RedisConnectionError, ConnectionResetError)):
            await pipeline.send("PING")


async def test_nobody_there():
    with pytest.raises(ConnectionRefusedError):
        async with opened(redis_server.free_port()):
            pass


async def test_who_does_not_take_us_in_is_left(tmp_path):
    with redis_server.single(tmp_path / "redis", "requirepass secret") as redis:
        async with opened(redis.port, access=Access(timeout_s=5.0, password="secret")) as pipeline:
            assert await pipeline.send("PING") == b"PONG"
        wrong = Pipeline(5.0)
        with pytest.raises(AuthenticationError):
            async with opened(redis.port, wrong, Access(timeout_s=5.0, password="wrong")):
                pass
        assert wrong.lost.is_set()
        async with opened(redis.port) as nobody:
            with pytest.raises(AuthenticationError):
                await nobody.send("PING")


async def test_the_database_is_chosen(redis):
    async with opened(redis.port, access=Access(timeout_s=5.0, database=3)) as pipeline:
        await pipeline.send("SET", "key", b"\x00\xff")
        assert await pipeline.send("GET", "key") == b"\x00\xff"
    async with opened(redis.port) as pipeline:
        assert await pipeline.send("GET", "key") is None


async def test_channels_are_heard_from_when_subscribe_returns(redis):
    heard = []
    listener = Listener(5.0, lambda *message: heard.append(message))
    async with opened(redis.port, listener), opened(redis.port) as pipeline:
        await listener.subscribe([b"one", b"two"])
        for channel in ("one", "two", "three"):
            await pipeline.send("PUBLISH", channel, b"said")
        await listener.ping()
        assert heard == [(b"one", b"said"), (b"two", b"said")]
        listener.unsubscribe(b"one")
        await listener.ping()
        assert await pipeline.send("PUBLISH", "one", b"unheard") == 0


async def test_a_channel_that_is_refused_ends_the_listener(redis):
    async with opened(redis.port) as admin:
        await admin.send("ACL", "SETUSER", "ear", "on", ">pw", "+@all", "~*", "&mine")
    access = Access(timeout_s=5.0, username="ear", password="pw")
    async with opened(redis.port, Listener(5.0, lambda *_: None), access) as listener:
        await listener.subscribe([b"mine"])
        with pytest.raises(ResponseError, match="NOPERM"):
            await listener.subscribe([b"others"])
        assert listener.lost.is_set()
