"""The server's own WebSocket and HTTP with clients that others wrote."""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tests.integrations.node_package import node_package
from tests.signalling.echo import MAX_MESSAGE_BYTES, echo_site


@pytest.fixture
async def site():
    async with echo_site() as site:
        yield site


# WebSocket --------------------------------------------------------------------------------------


async def test_the_websockets_library(site):
    async with connect(site.url, subprotocols=["other", "echo"]) as client:
        assert client.subprotocol == "echo"
        await client.send(["one ", "two ", "three"])
        assert await client.recv() == "one two three"
        await (await client.ping(b"are you there"))
        long = "ö" * (MAX_MESSAGE_BYTES // 2)
        await client.send(long)
        assert await client.recv() == long
        await client.send(bytes(range(256)))
        assert await client.recv() == bytes(range(256)).hex()
        await client.close(4001, "enough")
    assert client.close_code == 4001
    assert await site.codes.get() == 4001


async def test_the_websockets_library_when_the_server_closes(site):
    async with connect(site.url) as client:
        await client.send("hello")
        await client.recv()
        (echo,) = site.echoes
        echo.websocket.ping(b"from us")
        echo.websocket.close(4002, "that is all")
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4002, "that is all")
    assert await site.codes.get() == 4002
    assert echo.pongs == [b"from us"]


async def test_the_websockets_library_when_it_says_too_much(site):
    async with connect(site.url) as client:
        with contextlib.suppress(ConnectionClosedError):
            await client.send("x" * 3_000_000)
        await client.wait_closed()
        assert client.close_code == 1009


async def test_picows(site):
    picows = pytest.importorskip("picows")
    texts = asyncio.Queue()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport, frame):
            if frame.msg_type == picows.WSMsgType.TEXT:
                texts.put_nowait(frame.get_payload_as_utf8_text())
            elif frame.msg_type == picows.WSMsgType.PONG:
                texts.put_nowait(frame.get_payload_as_bytes())
            elif frame.msg_type == picows.WSMsgType.CLOSE:
                texts.put_nowait(frame.get_close_code())
                transport.disconnect()

    transport, _ = await picows.ws_connect(Listener, site.url)
    long = b"x" * MAX_MESSAGE_BYTES
    for text in (b"hello", long):
        transport.send(picows.WSMsgType.TEXT, text)
        assert await texts.get() == text.decode()
    transport.send_ping(b"ping")
    assert await texts.get() == b"ping"
    transport.send_close(picows.WSCloseCode.GOING_AWAY)
    assert await texts.get() == 1001
    assert await site.codes.get() == 1001


async def test_node(site):
    script = node_package("ws", "ws@8", Path(__file__).parent / "echo_ws.mjs")
    output = await run("node", str(script), site.url)
    result = json.loads(output)
    own = {"own": "from node itself", "ownClose": [3001, True]} if "own" in result else {}
    assert result == {
        "protocol": "echo",
        "extensions": "",
        "pong": "between",
        "fragments": "one two three",
        "long": True,
        "binary": True,
        "close": 4001,
        "tooLong": 1009,
        **own,
    }


# HTTP -------------------------------------------------------------------------------------------


async def run(*words):
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


CONNECTS = "%{http_code} %{num_connects}\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("words", "answered"),
    [
        (("-0", "/"), "/\n200 1\n"),  # HTTP/1.0
        (("-0", "-H", "Connection: keep-alive", "/"), "/\n200 1\n"),
        (("-H", "Connection: close", "/"), "/\n200 1\n"),
        (("/later",), "later\n200 1\n"),
        (("-X", "POST", "-d", "a=b", "/"), "Requests here have no body.\n413 1\n"),
        (("-H", "Transfer-Encoding: chunked", "-d", "a=b", "/"), None),
        (("-H", "Expect: 100-continue", "-d", "x" * 2000, "/"), None),
        (("--data-binary", f"@{__file__}", "-H", "Expect:", "/"), None),
    ],
)
async def test_curl(site, words, answered):
    *options, path = words
    url = f"http://127.0.0.1:{site.port}{path}"
    output = await run("curl", "-sS", "-m", "10", "-w", CONNECTS, *options, url)
    if answered is None:
        status = "501" if "Transfer-Encoding: chunked" in options else "413"
        answered = f"Requests here have no body.\n{status} 1\n"
    assert output == answered


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_asks_for_more_over_the_same_connection(site):
    urls = [f"http://127.0.0.1:{site.port}/{path}" for path in ("a", "later", "b")]
    output = await run("curl", "-sS", "-m", "10", "-w", CONNECTS, *urls)
    assert output == "/a\n200 1\nlater\n200 0\n/b\n200 0\n"
    heads = await run("curl", "-sS", "-m", "10", "-I", "-w", CONNECTS, urls[0], urls[2])
    assert heads.count("Content-Length: 3") == 2
    assert heads.endswith("200 0\n")


async def answers(site, sent, *, half_close=False):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(sent)
    if half_close:
        writer.write_eof()
    data = await reader.read()
    writer.close()
    return data


def request(target, *fields, method="GET", version="1.1"):
    return "\r\n".join((f"{method} {target} HTTP/{version}", "Host: x", *fields, "", "")).encode()


LAST = request("/last", "Connection: close")


async def test_pipelined_requests_are_answered_in_their_order(site):
    sent = request("/one") + request("/later") + request("/two", method="HEAD") + LAST
    data = await answers(site, sent)
    assert [data.find(word) for word in (b"/one", b"later", b"/last")] == sorted(
        data.find(word) for word in (b"/one", b"later", b"/last")
    )
    assert data.count(b"HTTP/1.1 200") == 4
    assert b"/two" not in data


@pytest.mark.parametrize("path", ["/now", "/later"])
async def test_who_closes_its_half_gets_its_answer(site, path):
    data = await answers(site, request(path, "Connection: close"), half_close=True)
    assert data.endswith(path.encode()[1:] + b"\n")


SMUGGLED = request("/smuggled")


@pytest.mark.parametrize(
    "before",
    [
        request("/", f"Content-Length: {len(SMUGGLED)}"),
        request("/", f"Content-Length: {len(SMUGGLED)}", "Transfer-Encoding: chunked"),
        request("/", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        request("/", "Transfer-Encoding : chunked") + b"0\r\n\r\n",
        request("/", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
        request("/", "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"),
        request("/", "Content-Length: 0, 5"),
        request("/", "Content-Length: +0"),
        request("/", "Content-Length: 0x0"),
        request("/", "X: a\nContent-Length: 5"),
        request("/", "X: a\rContent-Length: 5"),
        request("/", "X: a", " folded: b"),
        request("/", "X\x00: a"),
        request("/", "X: a\x00b"),
        request("/", "Host: y"),
        request("/a b"),
        request("/", version="1.1\x0b"),
        b"GET / HTTP/1.1\nHost: x\n\n" + request("/"),
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    ],
)
async def test_behind_a_request_that_others_could_read_differently_nothing_is_answered(
    site, before
):
    data = await answers(site, before + SMUGGLED)
    assert data.count(b"HTTP/1.1 ") == 1
    assert data[9:10] in b"45"
    assert not any(request.target == "/smuggled" for request in site.requests)


async def test_what_follows_a_handshake_at_once_is_frames_and_no_request(site):
    handshake = request(
        "/ws",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    data = await answers(site, handshake + SMUGGLED)
    assert data.startswith(b"HTTP/1.1 101 ")
    assert data.count(b"HTTP/1.1") == 1
    assert b"\x03\xea" in data  # 1002: no client's frames are unmasked
    assert [request.target for request in site.requests] == ["/ws"]
