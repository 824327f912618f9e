import asyncio
import contextlib
import http.client
import json
import logging
import socket
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from signalling.auth import Identity, KeysUnavailable
from signalling.bus import BusUnavailable, MemoryBus
from signalling.dev import DevIssuer
from signalling.ice_servers import StaticIceServers
from signalling.limits import Limits
from signalling.messages import (
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    SUBPROTOCOL,
    Answer,
    Bye,
    Candidate,
    Error,
    Hello,
    IceServer,
    Offer,
    PeerJoined,
    PeerLeft,
    Ping,
    Pong,
    encode,
)
from signalling.server import AddressInUse, BindError, SignallingServer
from signalling.settings import SignallingSettings
from tests.signalling.wire import ISSUER, client, member

WINDOW_S = 0.2


@pytest.fixture
def web_root(tmp_path):
    root = tmp_path / "web"
    (root / "css").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>Playcast</title>")
    (root / "app.js").write_text("export const answer = 42;\n")
    (root / "css" / "page.css").write_text("body{}")
    (root / "notes.md").write_text("not served")
    (root / ".hidden.html").write_text("not served")
    (tmp_path / "secret.txt").write_text("secret")
    return root


@pytest.fixture
async def start(web_root):
    """Starts servers, and stops them after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, bus=None, **changes):
            options = {"verifier": ISSUER.verifier(), "port": 0, "web_root": web_root}
            options |= {"resume_window_s": WINDOW_S, **changes}
            server = SignallingServer(SignallingSettings(**options), bus=bus)
            return await stack.enter_async_context(server)

        yield start


@pytest.fixture
async def server(start):
    return await start()


# A session --------------------------------------------------------------------------------------


async def test_a_session_from_hello_to_bye(start):
    ice_servers = (IceServer(["turn:192.0.2.1"], "user", "secret"),)
    server = await start(ice_servers=StaticIceServers(ice_servers))
    async with member(server, "host") as host, member(server, "viewer", name="Vi\x1b[1m") as viewer:
        h, v = host.welcome.peer, viewer.welcome.peer
        for welcome, role, peers in ((host.welcome, "host", []), (viewer.welcome, "viewer", [h])):
            assert (welcome.room, welcome.role, welcome.host_present) == ("doom", role, True)
            assert (welcome.peers, welcome.ice_servers) == (peers, list(ice_servers))
            assert (welcome.resumed, welcome.resume_window_s) == (False, WINDOW_S)
        assert len({host.welcome.secret, viewer.welcome.secret, ""}) == 3
        assert await host.receive() == PeerJoined(v, "viewer", "Vi[1m")

        await host.send(Offer(v, "offer"), Candidate(v, "c1"), Candidate(v, ""))
        assert await viewer.receive() == Offer(h, "offer")
        assert await viewer.receive() == Candidate(h, "c1")
        assert await viewer.receive() == Candidate(h, "")
        await viewer.send(Answer(h, "answer"))
        assert await host.receive() == Answer(v, "answer")
        await viewer.send(Ping(3.25))
        assert await viewer.receive() == Pong(3.25)

        await viewer.send(Bye())
        assert await viewer.end() == ([], 1000)
        assert await host.receive() == PeerLeft(v, "viewer", "bye")


async def test_a_viewer_may_wait_for_the_host(server):
    async with member(server, "viewer") as viewer:
        assert (viewer.welcome.host_present, viewer.welcome.peers) == (False, [])
        async with member(server, "host") as host:
            assert host.welcome.peers == [viewer.welcome.peer]
            assert await viewer.receive() == PeerJoined(host.welcome.peer, "host")
        await viewer.loses(host.welcome.peer, "host")


async def test_a_vanished_viewer_is_reported_lost_and_others_notice_nothing(server):
    async with member(server, "host") as host, member(server, "viewer") as stays:
        await host.receive()
        async with member(server, "viewer") as goes:
            joined = await host.receive()
            goes.websocket.transport.abort()
            await host.loses(joined.peer, "viewer")
        await host.send(Offer(stays.welcome.peer, "offer"))
        assert await stays.receive() == Offer(host.welcome.peer, "offer")


async def test_rooms_do_not_hear_each_other(server):
    async with member(server, "host") as host, member(server, "viewer", room="quake") as stranger:
        assert stranger.welcome.host_present is False
        await stranger.send(Answer(host.welcome.peer, "answer"))
        assert (await stranger.receive()).code == "unknown-peer"
        await stranger.send(Ping(1.0))  # the error has not closed it
        assert await stranger.receive() == Pong(1.0)


async def test_what_a_role_may_not_say_is_answered_and_survived(server):
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        await host.receive()
        hello = Hello("token", "doom", "viewer")
        await viewer.send(Offer(host.welcome.peer, "offer"), hello, Ping(1.0))
        assert [(await viewer.receive()).code for _ in range(2)] == ["forbidden", "forbidden"]
        assert await viewer.receive() == Pong(1.0)
        await host.send(Ping(2.0))
        assert await host.receive() == Pong(2.0)


async def test_two_servers_on_one_bus_share_their_rooms(start):
    bus = MemoryBus()
    one, two = await start(bus=bus), await start(bus=bus)
    async with member(one, "host") as host, member(two, "viewer") as viewer:
        assert viewer.welcome.peers == [host.welcome.peer]
        await host.receive()
        await host.send(Offer(viewer.welcome.peer, "offer"))
        assert await viewer.receive() == Offer(host.welcome.peer, "offer")


# The host's place -------------------------------------------------------------------------------


async def test_a_second_host_is_refused_and_the_first_stays(server):
    async with member(server, "host") as host, client(server) as second:
        await second.send(Hello(ISSUER.mint("other", "doom", "host"), "doom", "host"))
        error, code = await second.refused()
        assert (error.code, error.retry, code) == ("room-taken", True, 4409)
        await host.send(Ping(1.0))
        assert await host.receive() == Pong(1.0)


async def test_a_host_that_is_dead_without_a_word_gives_its_place_up_when_another_asks(start):
    server = await start(probe_timeout_s=0.2)
    _, writer = await _silent_host(server)
    async with member(server, "viewer") as viewer:
        async with client(server) as second:
            await second.send(Hello(ISSUER.mint("other", "doom", "host"), "doom", "host"))
            assert (await second.refused())[0].code == "room-taken"
        assert (await viewer.receive()).away
        async with member(server, "host") as back:  # whom the one that is away gives way to
            messages = [await viewer.receive() for _ in range(2)]
            assert isinstance(messages[0], PeerLeft)
            assert messages[1] == PeerJoined(back.welcome.peer, "host")
    writer.close()


async def _silent_host(server):
    """A host that joins and then answers nothing, as one whose network is gone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    hello = encode(Hello(ISSUER.mint("h", "doom", "host"), "doom", "host")).encode()
    # RFC 6455 section 5.2, masked with zeros.
    writer.write(b"\x81\xfe" + len(hello).to_bytes(2, "big") + bytes(4) + hello)
    assert b"welcome" in await reader.readuntil(b"}")
    return reader, writer


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "code", "close_code"),
    [
        ("", "bad-token", 4401),
        ("nonsense", "bad-token", 4401),
        (DevIssuer.generate().mint("me", "doom", "viewer"), "bad-token", 4401),
        (ISSUER.mint("me", "doom", "viewer", -60), "token-expired", 4401),
        (ISSUER.mint("me", "doom", "host"), "forbidden", 4403),
        (ISSUER.mint("me", "quake", "viewer"), "forbidden", 4403),
    ],
)
async def test_a_token_that_does_not_fit_is_refused(server, token, code, close_code):
    async with client(server) as visitor:
        await visitor.send(Hello(token, "doom", "viewer"))
        error, closed = await visitor.refused()
        assert (error.code, error.retry, closed) == (code, False, close_code)


@pytest.mark.parametrize(
    ("frame", "code", "close_code"),
    [
        (encode(Ping(1.0)), "bad-message", 4400),
        ("nonsense", "bad-message", 4400),
        (encode(Bye()).encode(), "bad-message", 4400),
        ("[" * 5000, "bad-message", 4400),
        (" " * (MAX_HELLO_BYTES + 1), "too-large", 4413),
        (encode(Hello("t", "doom", "viewer", version=1)), "version", 4426),
    ],
)
async def test_a_first_frame_that_is_no_hello_of_ours_is_refused(server, frame, code, close_code):
    async with client(server) as visitor:
        await visitor.websocket.send(frame)
        error, closed = await visitor.refused()
        assert (error.code, closed) == (code, close_code)


async def test_a_bad_message_later_ends_the_connection_too(server):
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        await host.receive()
        await viewer.websocket.send('{"type":"ping"}')
        error, closed = await viewer.refused()
        assert (error.code, closed) == ("bad-message", 4400)
        assert "at" in error.message
        await host.loses(viewer.welcome.peer, "viewer")


async def test_an_enormous_frame_is_not_even_read(server):
    async with client(server) as visitor:
        with contextlib.suppress(ConnectionClosed):
            await visitor.websocket.send("x" * (4 * MAX_MESSAGE_BYTES))
        error, code = await visitor.refused()
        assert (error.code, code) == ("too-large", 4413)


async def test_who_says_nothing_is_sent_away(start):
    server = await start(hello_timeout_s=0.1)
    async with client(server) as visitor:
        error, closed = await visitor.refused()
        assert (error.code, closed) == ("timeout", 4408)


class FixedVerifier:
    loopback_only = False

    def __init__(self, result):
        self.result = result

    async def verify(self, token):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def close(self):
        pass


async def test_an_open_connection_ends_when_its_token_expires(start):
    until = time.time() + 0.3
    server = await start(
        verifier=FixedVerifier(Identity("me", "doom", frozenset({"viewer"}), until))
    )
    async with member(server, "viewer") as viewer:
        error, closed = await viewer.refused()
        assert (error.code, closed) == ("token-expired", 4401)
        assert time.time() >= until - 0.01


async def test_when_it_cannot_check_tokens_it_says_to_come_again(start):
    server = await start(verifier=FixedVerifier(KeysUnavailable("issuer.example is down")))
    async with client(server) as visitor:
        await visitor.send(Hello("t", "doom", "viewer"))
        error, closed = await visitor.refused()
        assert (error.code, error.retry, closed) == ("internal", True, 1011)
        assert "issuer.example" not in error.message


class DeadBus(MemoryBus):
    async def publish(self, room, event):
        raise BusUnavailable("no route")


async def test_when_the_bus_is_down_it_says_to_come_again(start):
    server = await start(bus=DeadBus())
    async with client(server) as visitor:
        await visitor.send(Hello(ISSUER.mint("me", "doom", "viewer"), "doom", "viewer"))
        error, closed = await visitor.refused()
        assert (error.code, error.retry, closed) == ("internal", True, 1011)


class BrokenBus(MemoryBus):
    async def subscribe(self, room, deliver):
        raise RuntimeError("a bug")


async def test_a_bug_of_ours_ends_one_connection_with_a_word_and_a_log(start, caplog):
    server = await start(bus=BrokenBus())
    async with client(server) as visitor:
        await visitor.send(Hello(ISSUER.mint("me", "doom", "viewer"), "doom", "viewer"))
        error, closed = await visitor.refused()
        assert (error.code, closed) == ("internal", 1011)
        assert "a bug" not in error.message
    assert "RuntimeError: a bug" in caplog.text


async def test_who_does_not_read_is_dropped_and_others_notice_nothing(start):
    server = await start(limits=Limits(outbox_bytes=MAX_MESSAGE_BYTES), write_timeout_s=30.0)
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        deaf = (await host.receive()).peer
        assert deaf == viewer.welcome.peer
        viewer.websocket.transport.pause_reading()
        async with asyncio.timeout(20):
            while True:
                await host.send(Offer(deaf, "x" * 32_000), Ping(0.0))
                answer = await host.receive()
                if answer != Pong(0.0):
                    break
        assert (answer.peer, answer.away) == (deaf, True)
        viewer.websocket.transport.resume_reading()  # it learns why, behind what it had got
        messages, code = await viewer.end()
        assert (messages[-1].code, messages[-1].retry, code) == ("too-slow", True, 4430)


async def test_one_message_that_does_not_leave_in_time_drops_its_client(start):
    server = await start(limits=Limits(outbox_bytes=64 * 1024 * 1024), write_timeout_s=0.3)
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        deaf = (await host.receive()).peer
        viewer.websocket.transport.pause_reading()
        for _ in range(600):  # more than the kernel buffers, less than the outbox takes
            await host.send(Offer(deaf, "x" * 32_000))
        await host.loses(deaf, "viewer")
        viewer.websocket.transport.abort()


# The handshake ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        ([SUBPROTOCOL], SUBPROTOCOL),
        (["other"], None),
        ([SUBPROTOCOL.upper()], None),  # not what was offered (RFC 6455 section 4.2.2)
        ([f"{SUBPROTOCOL}.1"], None),
        (["o", SUBPROTOCOL], SUBPROTOCOL),
    ],
)
async def test_the_subprotocol_is_chosen_when_offered_and_never_demanded(server, offered, chosen):
    async with client(server, subprotocols=offered) as visitor:
        assert visitor.websocket.subprotocol == chosen


async def test_no_compression_is_agreed_on(server):
    async with client(server, compression="deflate") as visitor:
        assert visitor.websocket.protocol.extensions == []


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{port}", True),
        ("https://play.example", True),
        ("http://127.0.0.1:1", False),
        ("http://127.0.0.1", False),
        ("https://play.example.evil", False),
        ("http://play.example", False),
        ("null", False),
        ("", False),
    ],
)
async def test_only_our_own_pages_and_those_that_are_listed_may_connect(start, origin, allowed):
    server = await start(origins=frozenset({"https://play.example"}))
    if origin is not None:
        origin = origin.format(port=server.port)
    if allowed:
        async with client(server, origin=origin):
            return
    with pytest.raises(InvalidStatus) as caught:
        async with client(server, origin=origin):
            pass
    assert caught.value.response.status_code == 403


async def test_pages_of_other_origins_are_logged_now_and_then(start, caplog):
    """Whoever sends them could fill the disk with lines."""
    server = await start()
    now = 0.0
    server._services.now = lambda: now
    for now in (1000.0, 1001.0, 1059.0, 1060.0, 1061.0, 1119.0):
        answer = await upgrade(server, Origin=f"https://{now:.0f}.example/{'é' * 200}")
        assert answer.startswith("HTTP/1.1 403 ")
    logged = [message for message in caplog.messages if "another origin" in message]
    assert [message.partition("https://")[2][:12] for message in logged] == [
        "1000.example",
        "1060.example",
    ]
    assert all(message.isascii() and len(message) < 250 for message in logged)


async def test_a_proxy_may_leave_the_default_port_out(start):
    server = await start(verifier=FixedVerifier(KeysUnavailable("")))
    address = {"host": "127.0.0.1", "port": server.port}
    async with connect("ws://play.example:443/ws", origin="https://play.example", **address):
        pass


# HTTP -------------------------------------------------------------------------------------------


async def fetch(server, path, method="GET", headers=None):
    """The status, headers and body that a plain HTTP client gets."""

    def blocking():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        result = response.status, response.headers, response.read()
        connection.close()
        return result

    return await asyncio.to_thread(blocking)


@pytest.mark.parametrize(
    ("path", "content_type", "begins"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype"),
        ("/index.html", "text/html; charset=utf-8", b"<!doctype"),
        ("/?room=doom", "text/html; charset=utf-8", b"<!doctype"),
        ("/app.js", "text/javascript; charset=utf-8", b"export"),
        ("/css/page.css", "text/css; charset=utf-8", b"body"),
        ("/healthz", "text/plain; charset=utf-8", b"ok"),
    ],
)
async def test_files_are_served_with_their_type(server, path, content_type, begins):
    status, headers, body = await fetch(server, path)
    assert (status, headers["Content-Type"]) == (200, content_type)
    assert body.startswith(begins)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] in ("no-cache", "no-store")
    head = await fetch(server, path, "HEAD")
    assert (head[0], head[1]["Content-Length"], head[2]) == (200, str(len(body)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/css",
        "/css/",
        "/notes.md",
        "/.hidden.html",
        "/../secret.txt",
        "/css/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..\\secret.txt",
        "//secret.txt",
        "/css//page.css",
        "/index.html%00",
        "/ws/",
    ],
)
async def test_no_other_path_finds_anything(server, path):
    status, _, body = await fetch(server, path)
    assert status == 404
    assert b"secret" not in body


async def test_the_policy_lets_the_page_reach_this_server_and_nothing_else(server):
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in (await fetch(server, "/"))[1]["Content-Security-Policy"].split(";")
    )
    own = f"127.0.0.1:{server.port}"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == f"'self' ws://{own} wss://{own}"
    assert policy["frame-ancestors"] == "'none'"


async def test_a_forged_host_does_not_get_into_the_policy(server):
    assert (await fetch(server, "/", headers={"Host": "x; script-src *"}))[0] == 400
    for path, host in (("/", "x;script-src*"), ("http://x;script-src*/", "x")):
        _, headers, _ = await fetch(server, path, headers={"Host": host})
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "*" not in headers["Content-Security-Policy"]


async def test_a_page_may_be_asked_for_by_its_whole_address(server):
    own = f"127.0.0.1:{server.port}"
    status, headers, body = await fetch(server, f"http://{own}/?room=a", headers={"Host": "other"})
    assert (status, body) == (200, (await fetch(server, "/"))[2])
    assert f"ws://{own} " in headers["Content-Security-Policy"]


async def test_an_unchanged_file_is_not_sent_again(server):
    etag = (await fetch(server, "/app.js"))[1]["ETag"]
    for tag in (etag, f'"other", W/{etag}'):
        status, _, body = await fetch(server, "/app.js", headers={"If-None-Match": tag})
        assert (status, body) == (304, b"")
    assert (await fetch(server, "/app.js", headers={"If-None-Match": '"x"'}))[0] == 200


async def test_other_methods_are_refused(server):
    status, headers, _ = await fetch(server, "/", "DELETE")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def test_the_websocket_path_tells_a_browser_what_it_is(server):
    assert (await fetch(server, "/ws"))[0] == 426


async def upgrade(server, *, target="/ws", version="1.1", **fields):
    """The head of what answers an opening handshake."""
    said = {
        "Host": f"127.0.0.1:{server.port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **fields,
    }
    lines = [f"GET {target} HTTP/{version}", *(f"{name}: {value}" for name, value in said.items())]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    if not answer.startswith("HTTP/1.1 101"):
        answer += (await asyncio.wait_for(reader.readline(), 5)).decode()
    writer.transport.abort()
    return answer


async def test_no_websocket_is_opened_by_an_older_version_of_http(server):
    """RFC 6455 section 4.1; what a proxy must change to get on is said."""
    assert (await upgrade(server)).startswith("HTTP/1.1 101 ")
    refused = await upgrade(server, version="1.0")
    assert refused.startswith("HTTP/1.1 505 ")
    assert "HTTP/1.1: a proxy" in refused
    assert "Upgrade:" not in refused
    assert not server._services.connections


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:80", True),
        ("localhost:1", True),
        ("[::1]:2", True),
        ("[::1]", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.1:80", False),
    ],
)
async def test_to_a_dev_server_no_page_comes_by_a_name_that_is_not_this_machines(
    server, host, allowed
):
    """DNS rebinding: the page's own name leads here, so that its origin is the Host's."""
    answer = await upgrade(server, Host=host, Origin=f"http://{host}")
    assert answer.startswith("HTTP/1.1 101 " if allowed else "HTTP/1.1 403 ")
    assert (await upgrade(server, Host=host)).startswith("HTTP/1.1 101 ")  # no page


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": "short"},
        {"Origin": "https://evil.example"},
        {"Upgrade": "h2c"},
    ],
)
async def test_nothing_is_taken_behind_an_upgrade_that_was_refused(server, fields):
    """Or it gets past a proxy that believes it has a WebSocket, as if the proxy had sent it."""
    said = {
        "Host": "x",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **fields,
    }
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("\r\n".join(lines).encode() + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert b"playcast_" not in answer
    writer.close()


async def test_the_origin_is_compared_with_whom_the_target_names(server):
    own = f"http://127.0.0.1:{server.port}"
    assert (await upgrade(server, target=f"{own}/ws", Origin=own)).startswith("HTTP/1.1 101 ")
    named = await upgrade(server, target="http://other.example/ws", Origin=own)
    assert named.startswith("HTTP/1.1 403 ")


# Start and stop ---------------------------------------------------------------------------------


async def test_a_busy_port_is_named(start, server):
    with pytest.raises(AddressInUse, match=rf"port {server.port}\b.*--port"):
        await start(port=server.port)


async def test_an_address_that_is_not_ours_is_named(start):
    verifier = FixedVerifier(KeysUnavailable(""))
    with pytest.raises(BindError, match=r"192\.0\.2\.1.*--host"):
        await start(host="192.0.2.1", verifier=verifier)


async def test_urls_are_for_a_browser_on_this_machine(start):
    server = await start(host="0.0.0.0", verifier=FixedVerifier(KeysUnavailable("")))
    assert server.url == f"http://127.0.0.1:{server.port}/"
    assert server.websocket_url == f"ws://127.0.0.1:{server.port}/ws"


async def test_closing_tells_everyone_and_leaves_no_task_behind(web_root):
    before = asyncio.all_tasks()
    settings = SignallingSettings(verifier=ISSUER.verifier(), port=0, web_root=web_root)
    server = SignallingServer(settings)
    await server.start()
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        await host.receive()
        async with client(server) as newcomer:
            with socket.create_connection(("127.0.0.1", server.port)):  # as browsers do
                await fetch(server, "/healthz")  # by now it has been accepted
                started = time.monotonic()
                await server.close()
                assert time.monotonic() - started < 2.0
            for each in (host, viewer, newcomer):
                messages, code = await each.end()
                errors = [message for message in messages if isinstance(message, Error)]
                assert [error.code for error in errors] == ["shutting-down"]
                assert code == 1012
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_who_is_let_in_only_after_the_close_joins_nothing(start):
    verifier = FixedVerifier(Identity("me", "doom", frozenset({"viewer"}), time.time() + 60))
    verify, gate, asked = verifier.verify, asyncio.Event(), asyncio.Event()

    async def verify_later(token):
        asked.set()
        await gate.wait()
        return await verify(token)

    verifier.verify = verify_later
    bus = MemoryBus()
    seen = []
    await bus.subscribe("doom", seen.append)
    server = await start(bus=bus, verifier=verifier)
    async with client(server) as visitor:
        await visitor.send(Hello("t", "doom", "viewer"))
        await asked.wait()
        closing = asyncio.create_task(server.close())
        assert (await visitor.refused())[0].code == "shutting-down"
        gate.set()
        await closing
    assert seen == []


async def test_closing_a_server_that_never_started_does_nothing():
    await SignallingServer(SignallingSettings(verifier=ISSUER.verifier(), port=0)).close()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"hello_timeout_s": 0}, "hello_timeout_s"),
        ({"limits": Limits(outbox_bytes=10)}, "outbox_bytes"),
    ],
)
def test_settings_that_make_no_sense_are_misuse(changes, names):
    with pytest.raises(ValueError, match=names):
        SignallingSettings(verifier=ISSUER.verifier(), **changes)


async def test_logs_hold_no_token_and_no_session_description(start, caplog):
    caplog.set_level(logging.DEBUG)
    server = await start()
    token = ISSUER.mint("me", "doom", "viewer")
    async with member(server, "host") as host, member(server, "viewer", token=token) as viewer:
        await host.receive()
        await viewer.send(Answer(host.welcome.peer, "the-session-description"))
        await host.receive()
    await server.close()
    ours = [record for record in caplog.records if record.name.startswith("signalling")]
    text = "\n".join(record.getMessage() for record in ours)
    assert "joined room=doom" in text
    assert token not in text
    assert json.dumps("the-session-description")[1:-1] not in text
