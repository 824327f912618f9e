"""One client's life: limits, coming back, invitations, slow services, the end of the server."""

import asyncio
import contextlib
import gc
import json
import time
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from signalling.bus import MemoryBus
from signalling.connection import MAX_EARLY_MESSAGES, Connection
from signalling.http_connection import HttpConnection
from signalling.identity import Identity
from signalling.limits import RATES, Limit, Limits
from signalling.messages import (
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    Answer,
    Candidate,
    Chat,
    ControlRelease,
    ControlRequest,
    Done,
    Error,
    FreshToken,
    Hello,
    IceServer,
    Invite,
    Invited,
    MessageError,
    PeerJoined,
    Ping,
    Pong,
    Resume,
    RoomSettings,
    Span,
    TokenAccepted,
    Trace,
    Welcome,
    decode_client,
    encode,
)
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from signalling.websocket import WebSocket
from tests.signalling.wire import ISSUER, client, member, until


@pytest.fixture
async def start():
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, bus=None, **changes):
            options = {"verifier": ISSUER.verifier(), "port": 0, **changes}
            server = SignallingServer(SignallingSettings(**options), bus=bus)
            return await stack.enter_async_context(server)

        yield start


@pytest.fixture
async def server(start):
    return await start()


def rates(**changes):
    return Limits(rates={**RATES, **changes}, offences=Limit(1, 5))


# Limits -----------------------------------------------------------------------------------------


async def test_what_is_too_much_is_answered_with_when_to_try_again_and_not_done(start):
    server = await start(limits=rates(chat=Limit(0.5, 2)))
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        await host.receive()
        for number in range(3):
            await viewer.send(Chat(text=f"t{number}", id=f"c{number}"))
        answers = [await viewer.receive() for _ in range(5)]
        (error,) = [answer for answer in answers if isinstance(answer, Error)]
        assert (error.code, error.id, error.retry) == ("rate-limited", "c2", True)
        assert 1.5 < error.retry_after_s <= 2.0
        assert [answer.id for answer in answers if isinstance(answer, Done)] == ["c0", "c1"]
        assert [(await host.receive()).text for _ in range(2)] == ["t0", "t1"]
        await viewer.send(Ping(1.0))  # other kinds are counted apart
        assert await viewer.receive() == Pong(1.0)


async def test_asking_for_controls_and_letting_go_is_counted_for_it_is_told_to_all(start):
    server = await start(limits=rates(control=Limit(0.1, 2), **{"user.control": Limit(0.1, 3)}))
    async with member(server, "host"), member(server, "player", subject="ann") as one:
        await one.send(
            ControlRequest("pad:1", id="1"),
            ControlRelease("pad:1", id="2"),
            ControlRequest("pad:1", id="3"),
        )
        answers = [await one.receive() for _ in range(3)]
        assert [a.id for a in answers if isinstance(a, Done)] == ["1", "2"]
        assert [(a.code, a.id) for a in answers if isinstance(a, Error)] == [("rate-limited", "3")]
        async with member(server, "player", subject="ann") as other:
            await other.send(ControlRequest("pad:1", id="4"), ControlRelease("pad:1", id="5"))
            answers = [await other.receive() for _ in range(2)]
            assert [a.id for a in answers if isinstance(a, Done)] == ["4"]
            (error,) = [a for a in answers if isinstance(a, Error)]
            assert (error.code, error.id, error.retry) == ("rate-limited", "5", True)


async def test_who_takes_no_notice_is_put_out(start):
    server = await start(limits=rates(ping=Limit(0.1, 1)))
    async with member(server, "viewer") as viewer:
        await viewer.send(*[Ping(float(number)) for number in range(20)])
        messages, code = await viewer.end()
        assert messages[0] == Pong(0.0)
        assert [message.code for message in messages[1:]] == ["rate-limited"] * 6
        assert (code, messages[-1].retry_after_s > 0) == (4429, True)


async def test_a_flood_of_pings_is_not_answered_for_ever(start):
    server = await start(limits=rates(ping=Limit(0.1, 3)))
    async with member(server, "viewer") as viewer:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(50):
                await viewer.websocket.ping()
        messages, code = await viewer.end()
        assert (messages[-1].code, code) == ("rate-limited", 4429)


async def test_a_flood_of_pongs_that_nobody_asked_for_ends_the_connection(start):
    server = await start(limits=rates(ping=Limit(0.1, 3)))
    async with member(server, "viewer") as viewer:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(50):
                await viewer.websocket.pong()
        messages, code = await viewer.end()
        assert (messages[-1].code, code) == ("rate-limited", 4429)


async def test_what_one_sends_to_another_is_counted_by_the_kib(start):
    """Or a viewer could fill the host's line, and have it put out for reading too slowly."""
    server = await start(limits=rates(relay=Limit(0.1, 40)))
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        await host.receive()
        peer = host.welcome.peer
        await viewer.send(Answer(peer, "s" * 20 * 1024), Answer(peer, "s" * 20 * 1024))
        refused = await viewer.receive()
        assert (refused.code, refused.retry) == ("rate-limited", True)
        assert 1.0 < refused.retry_after_s < 2.0  # for the tenth of a KiB that is missing
        await viewer.send(Candidate(peer, "candidate:1"))  # small ones still fit
        assert len((await host.receive()).sdp) == 20 * 1024
        assert (await host.receive()).candidate == "candidate:1"


async def test_a_user_has_so_many_connections_and_no_more(start):
    server = await start(limits=Limits(max_connections_per_user=2))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(member(server, "viewer", subject="ann"))
        async with client(server) as third:
            await third.send(Hello(ISSUER.mint("ann", "doom", "viewer"), "doom", "viewer"))
            error, code = await third.refused()
            assert (error.code, code) == ("rate-limited", 4429)
        async with member(server, "viewer", subject="bob"):
            pass
    await until(lambda: not server._services.users)
    async with member(server, "viewer", subject="ann"):
        pass


async def test_there_are_so_many_rooms_and_no_more(start):
    server = await start(limits=Limits(max_rooms=1))
    one = {"room": "one"}
    async with (
        member(server, "viewer", **one),
        member(server, "host", **one),
        client(server) as late,
    ):
        await late.send(Hello(ISSUER.mint("me", "two", "viewer"), "two", "viewer"))
        error, code = await late.refused()
        assert (error.code, error.retry, code) == ("room-full", True, 4503)


async def test_an_address_that_shows_bad_tokens_has_to_wait_and_open_connections_stay(start):
    server = await start(limits=Limits(failures_free=2, backoff_s=60))
    async with member(server, "viewer") as inside:
        for _ in range(3):
            async with client(server) as visitor:
                await visitor.send(Hello("nonsense", "doom", "viewer"))
                assert (await visitor.refused())[0].code == "bad-token"
        with pytest.raises(InvalidStatus) as caught:
            async with client(server):
                pass
        assert caught.value.response.status_code == 429
        assert 0 < int(caught.value.response.headers["Retry-After"]) <= 60
        await inside.send(Ping(1.0))
        assert await inside.receive() == Pong(1.0)


async def test_handshakes_of_an_address_are_counted(start):
    server = await start(limits=rates(**{"address.handshake": Limit(0.01, 2)}))
    for _ in range(2):
        async with client(server):
            pass
    with pytest.raises(InvalidStatus, match="429"):
        async with client(server):
            pass


async def test_who_goes_on_knocking_is_not_answered_and_open_connections_stay(start):
    limits = rates(**{"address.handshake": Limit(0.01, 2)})
    server = await start(limits=replace(limits, refusals=Limit(0.01, 1)))
    async with member(server, "viewer") as inside:
        async with client(server):
            pass
        with pytest.raises(InvalidStatus, match="429"):
            async with client(server):
                pass
        with pytest.raises((ConnectionError, InvalidMessage)):
            async with client(server):
                pass
        await inside.send(Ping(1.0))
        assert await inside.receive() == Pong(1.0)


# What takes time --------------------------------------------------------------------------------


class Gate:
    """A verifier that waits until it is let go."""

    loopback_only = True

    def __init__(self):
        self.opened = asyncio.Event()

    async def verify(self, token):
        await self.opened.wait()
        return Identity("me", "doom", frozenset({"viewer"}), time.time() + 60)

    async def close(self):
        pass


async def test_what_comes_while_a_token_is_checked_waits_its_turn(start):
    gate = Gate()
    server = await start(verifier=gate)
    async with client(server) as visitor:
        await visitor.send(Hello("t", "doom", "viewer"), Ping(1.0), Ping(2.0))
        (connection,) = server._services.connections
        await until(lambda: connection._inbox is not None and len(connection._inbox) == 2)
        gate.opened.set()
        assert isinstance(await visitor.receive(), Welcome)
        assert [await visitor.receive() for _ in range(2)] == [Pong(1.0), Pong(2.0)]


async def test_what_waits_is_bounded_and_then_nothing_more_is_read(start):
    gate = Gate()
    gate.opened.set()
    limits = Limits(inbox_bytes=50_000, rates={**RATES, "frame": Limit(1e6, 1e6)})
    server = await start(verifier=gate, limits=limits)
    async with client(server) as visitor:
        await visitor.send(Hello("t", "doom", "viewer"))
        assert isinstance(await visitor.receive(), Welcome)
        gate.opened.clear()
        await visitor.send(FreshToken("t"))
        padded = '{"type":"ping","at":1}' + " " * 10_000
        sending = asyncio.create_task(send_all(visitor, padded, 2000))
        try:
            (connection,) = server._services.connections
            await until(lambda: connection._inbox_bytes > 50_000)
            held = connection._inbox_bytes
            await asyncio.sleep(0.1)
            assert connection._inbox_bytes <= held + 2 * 65_536  # what had been read in one go
            assert not sending.done()
            gate.opened.set()
            assert isinstance(await visitor.receive(), TokenAccepted)
            assert isinstance(await visitor.receive(), Pong)
        finally:
            sending.cancel()
            visitor.websocket.transport.abort()


# Before the hello is answered --------------------------------------------------------------------


def largest_hello():
    """With each text at its bound, of characters that take most when they are escaped."""
    wide = "\U0001f3ae"  # twelve bytes in JSON of ASCII alone
    settings = {
        "policy": "subscribers",
        "locked": False,
        "capacity": 1_000_000,
        "privacy": "unlisted",
        "title": wide * 120,
        "steam_app_id": 2**32 - 1,
        "control_policy": "turns",
        "turn_s": 604799.99999999988,
        "pads": 8,
        "keyboard": False,
        "chat": False,
    }
    assert settings.keys() == set(RoomSettings.__struct_fields__)
    resume = {"peer": "p" * 64, "secret": "s" * 64, "seq": 2**53 - 1}
    assert resume.keys() == set(Resume.__struct_fields__)
    hello = {
        "type": "hello",
        "token": "t" * 8192,
        "room": "r" * 64,
        "role": "moderator",
        "version": 2,
        "name": wide * 64,
        "seat": "s" * 64,
        "settings": settings,
        "resume": resume,
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "region": "r" * 32,
    }
    assert hello.keys() == {"type", *Hello.__struct_fields__}
    return hello


def test_the_largest_hello_has_room_and_little_more():
    hello = largest_hello()
    text = json.dumps(hello, indent=2)
    assert isinstance(decode_client(text), Hello)
    assert MAX_HELLO_BYTES / 2 < len(text) <= MAX_HELLO_BYTES
    for part in (hello, hello["settings"], hello["resume"]):
        for name in ("token", "room", "name", "seat", "region", "title", "peer", "secret"):
            if name in part:
                part[name] += "x"
                with pytest.raises(MessageError, match=name):
                    decode_client(json.dumps(hello))
                part[name] = part[name][:-1]


class Nobody:
    """A verifier that lets everyone in."""

    loopback_only = True

    async def verify(self, token):
        return Identity("me", "r" * 64, frozenset({"viewer"}), time.time() + 60)

    async def close(self):
        pass


async def test_who_is_let_in_may_say_more_than_before(start):
    server = await start(verifier=Nobody())
    async with client(server) as visitor:
        await visitor.websocket.send(json.dumps({**largest_hello(), "role": "viewer"}, indent=2))
        assert isinstance(await visitor.receive(), Welcome)
        long = encode(Ping(1.0)).ljust(MAX_MESSAGE_BYTES)
        await visitor.websocket.send(long)
        assert await visitor.receive() == Pong(1.0)
        await visitor.websocket.send(long + " ")
        error, code = await visitor.refused()
        assert (error.code, code, str(MAX_MESSAGE_BYTES) in error.message) == (
            "too-large",
            4413,
            True,
        )
        assert "hello" not in error.message


@pytest.mark.parametrize("parts", [1, 2, 5])
async def test_a_longer_first_frame_is_refused_in_words_before_it_has_come(server, parts):
    """Its length alone is known; of fragments, as soon as they are too long together."""
    size = MAX_HELLO_BYTES // parts + 1
    header = b"\xfe" + size.to_bytes(2, "big") + bytes(4)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    for part in range(parts - 1):
        writer.write((b"\x00" if part else b"\x01") + header + bytes(size))
    writer.write((b"\x80" if parts > 1 else b"\x81") + header)  # and nothing of what it holds
    answer = await asyncio.wait_for(reader.read(), 5)
    assert b'"too-large"' in answer
    assert f"longer than {MAX_HELLO_BYTES} bytes before the hello is answered".encode() in answer
    assert b"\x88\x0b" + (4413).to_bytes(2, "big") + b"too-large" in answer
    writer.close()


@pytest.mark.parametrize(
    ("message", "most"),
    [(encode(Ping(1.0)), MAX_EARLY_MESSAGES), (encode(Ping(1.0)).ljust(6000), 2)],
)
async def test_little_more_than_a_hello_may_come_before_it_is_answered(start, message, most):
    gate = Gate()
    server = await start(verifier=gate)
    async with client(server) as patient, client(server) as hasty:
        for visitor, messages in ((patient, most), (hasty, most + 1)):
            await visitor.send(Hello("t", "doom", "viewer"))
            await send_all(visitor, message, messages)
        try:
            error, code = await hasty.refused()
        finally:
            gate.opened.set()  # or the server would wait for ever
        assert (error.code, code) == ("bad-message", 4400)
        assert "before the hello was answered" in error.message
        assert isinstance(await patient.receive(), Welcome)
        assert [await patient.receive() for _ in range(most)] == [Pong(1.0)] * most


async def send_all(visitor, text, times):
    with contextlib.suppress(ConnectionClosed):
        for _ in range(times):
            await visitor.websocket.send(text)


async def test_one_that_leaves_while_it_joins_leaves_nothing_behind(start):
    gate = Gate()
    server = await start(verifier=gate)
    async with client(server) as visitor:
        await visitor.send(Hello("t", "doom", "viewer"))
        (connection,) = server._services.connections
        await until(lambda: connection._worker is not None)
        visitor.websocket.transport.abort()
        await until(lambda: not server._services.connections)
        gate.opened.set()
        await until(lambda: not server._services._tasks)
    assert (server._switchboard.rooms, len(server._services.users)) == ({}, 0)


async def test_a_dead_client_is_found_by_its_silence(start):
    server = await start(ping_interval_s=0.05, ping_timeout_s=0.1, resume_window_s=10)
    async with member(server, "host") as host, member(server, "viewer") as viewer:
        joined = await host.receive()
        viewer.websocket.transport.pause_reading()  # no pong
        away = await host.receive()
        assert isinstance(away, PeerJoined)
        assert (away.peer, away.away) == (joined.peer, True)
        viewer.websocket.transport.abort()


async def test_the_round_trip_is_measured(start):
    server = await start(ping_interval_s=0.02)
    async with member(server, "viewer"):
        (connection,) = server._services.connections
        await until(lambda: connection.rtt_s > 0)
        assert connection.rtt_s < 1


# Coming back ------------------------------------------------------------------------------------


async def test_a_session_goes_on_with_the_same_seat_and_what_was_missed(start):
    server = await start(resume_window_s=10)
    async with member(server, "host") as host, member(server, "viewer") as first:
        await host.receive()
        peer, secret = first.welcome.peer, first.welcome.secret
        first.websocket.transport.abort()
        assert (await host.receive()).away
        await host.send(Candidate(peer, "while away"))
        await host.send(Ping(1.0))
        assert await host.receive() == Pong(1.0)
        async with member(server, "viewer", resume=Resume(peer, secret, 1)) as second:
            assert (second.welcome.peer, second.welcome.resumed) == (peer, True)
            assert second.welcome.secret not in ("", secret)
            messages = [await second.receive()]
            while not isinstance(messages[-1], Candidate):
                messages.append(await second.receive())
            assert messages[-1].candidate == "while away"
            back = await host.receive()
            assert (back.peer, back.away) == (peer, False)


async def test_without_the_secret_nobody_takes_a_seat_over(start):
    server = await start(resume_window_s=10)
    async with member(server, "host") as host, member(server, "viewer") as first:
        await host.receive()
        peer = first.welcome.peer
        for secret in ("", "wrong", first.welcome.secret[:-1]):
            stolen = Resume(peer, secret, 0)
            async with member(server, "viewer", subject="mallory", resume=stolen) as thief:
                assert (thief.welcome.peer == peer, thief.welcome.resumed) == (False, False)
        await first.send(Ping(1.0))
        assert Pong(1.0) in [await first.receive() for _ in range(1)]


async def test_a_second_link_of_the_same_session_takes_the_first_ones_place(server):
    async with member(server, "viewer") as first:
        resume = Resume(first.welcome.peer, first.welcome.secret, 0)
        async with member(server, "viewer", resume=resume) as second:
            assert second.welcome.peer == first.welcome.peer
            error, code = await first.refused()
            assert (error.code, code) == ("replaced", 4410)
            await second.send(Ping(1.0))
            assert await second.receive() == Pong(1.0)


# Tokens, invitations, ICE servers ---------------------------------------------------------------


async def test_a_fresh_token_that_takes_the_role_away_ends_the_connection(server):
    async with member(server, "moderator") as moderator:
        assert moderator.welcome.role == "moderator"
        await moderator.send(FreshToken(ISSUER.mint("some-moderator", "doom", "viewer")))
        error, code = await moderator.refused()
        assert (error.code, code) == ("forbidden", 4403)


async def test_an_invitation_lets_in_who_has_it(server):
    async with member(server, "host") as host:
        await host.send(Invite(id="i", role="player", for_s=60))
        invited = await host.receive()
        assert (type(invited), invited.id) == (Invited, "i")
        async with member(server, "player", token=invited.token) as guest:
            assert guest.welcome.role == "player"


class CountingSource:
    def __init__(self):
        self.asked = []

    def ice_servers(self, *, room, peer, now, region=""):
        self.asked.append((room, peer, region))
        return [IceServer(["turn:192.0.2.1"], peer, "secret")]


async def test_ice_servers_are_for_those_who_are_in(start):
    source = CountingSource()
    server = await start(ice_servers=source)
    async with member(server, "host") as host:
        assert host.welcome.ice_servers[0].username == host.welcome.peer
        async with client(server) as refused:
            await refused.send(Hello("nonsense", "doom", "viewer"))
            await refused.refused()
        assert source.asked == [("doom", host.welcome.peer, "")]


# Traces -----------------------------------------------------------------------------------------


class Kept:
    def __init__(self):
        self.spans, self.parents = [], []

    def start(self, name, *, parent="", at=None, attributes=None):
        from signalling.tracing import NoTracer

        self.parents.append((name, parent))
        return NoTracer().start(name, parent=parent)

    def record(self, name, **words):
        self.spans.append((name, words["parent"], words.get("span", ""), words["duration_s"]))


async def test_what_a_page_measured_goes_to_its_trace(start):
    tracer = Kept()
    server = await start(tracer=tracer)
    page = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with client(server) as viewer:
        token = ISSUER.mint("me", "doom", "viewer")
        await viewer.send(Hello(token, "doom", "viewer", traceparent=page))
        await viewer.receive()
        now = time.time() * 1000
        spans = [Span("viewer.start", now - 900, 900), Span("ice", now - 500, 100)]
        await viewer.send(Trace(spans), Ping(1.0))
        assert await viewer.receive() == Pong(1.0)
    assert tracer.parents[0] == ("signalling.join", page)
    assert tracer.spans == [("viewer.start", "", page, 0.9), ("ice", page, "", 0.1)]


# The end of the server --------------------------------------------------------------------------


async def test_draining_sends_clients_elsewhere_and_their_seats_stay(start):
    bus = MemoryBus()
    leaving, staying = await start(bus=bus), await start(bus=bus)
    async with member(staying, "host") as host, member(leaving, "viewer") as viewer:
        await host.receive()
        draining = asyncio.create_task(leaving.drain())
        error, code = await viewer.refused()
        assert (error.code, error.retry, code) == ("shutting-down", True, 1012)
        assert (await host.receive()).away
        await draining
        with pytest.raises(InvalidStatus, match="503"):
            async with client(leaving):
                pass
        resume = Resume(viewer.welcome.peer, viewer.welcome.secret, 0)
        async with member(staying, "viewer", resume=resume) as back:
            assert back.welcome.resumed
            assert not (await host.receive()).away


async def test_draining_is_spread(start):
    server = await start(drain_s=0.5, drain_per_s=1)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(server)) for _ in range(20)]
        started = time.monotonic()
        ends = []

        async def wait_for_end(visitor):
            await visitor.end()
            ends.append(time.monotonic() - started)

        await asyncio.gather(server.drain(), *map(wait_for_end, clients))
    assert 0.3 < max(ends) - min(ends) < 2.0
    assert len({round(end, 1) for end in ends}) >= 4


async def test_a_drain_that_is_cut_short_leaves_the_rest_to_the_close(start):
    server = await start(drain_s=60, drain_per_s=0.01)
    async with client(server) as one, client(server) as two:
        draining = asyncio.create_task(server.drain())
        await until(lambda: len(server._services.connections) == 1)
        draining.cancel()
        started = time.monotonic()
        await server.close()
        assert time.monotonic() - started < 3
        for visitor in (one, two):
            assert (await visitor.refused())[0].code == "shutting-down"


async def test_a_message_in_fragments_is_one(server):
    async with connect(server.websocket_url) as socket:
        await socket.send(
            iter(['{"type":"hello","token":"', "nonsense", '","room":"a",', '"role":"viewer"}'])
        )
        assert '"bad-token"' in await socket.recv()


async def test_what_has_ended_is_gone_without_a_garbage_collection(start):
    server = await start(resume_window_s=0.05)
    gc.collect()
    gc.disable()
    try:
        async with member(server, "host"), member(server, "viewer") as viewer:
            viewer.websocket.transport.abort()
        async with client(server) as visitor:
            await visitor.websocket.send("nonsense")
            await visitor.end()
        await until(lambda: not server._services.connections and not server._switchboard.rooms)
        await until(lambda: not server._site.requesting)
        kinds = (Connection, WebSocket, HttpConnection)
        await until(lambda: not any(type(found) in kinds for found in gc.get_objects()))
    finally:
        gc.enable()
