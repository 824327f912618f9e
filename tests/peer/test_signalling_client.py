"""The signalling client against scripted servers on loopback."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from peer.signalling_client import (
    FINAL,
    ClientState,
    RequestRefused,
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
    TokenUnavailable,
)
from peer.signalling_link import words_of
from peer.spans import Spans
from signalling.messages import (
    CLOSE_CODES,
    SUBPROTOCOL,
    Ban,
    Bye,
    Candidate,
    ChatMessage,
    ClientMessage,
    Done,
    Error,
    ErrorCode,
    FreshToken,
    Hello,
    Invite,
    Invited,
    Kick,
    PeerJoined,
    Ping,
    Pong,
    Resume,
    TokenExpiring,
    Waiting,
    Welcome,
    decode_client,
    encode,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def server(*scripts: Script) -> AsyncIterator[str]:
    """A server whose n-th connection follows the n-th script; yields its URL."""
    left = list(scripts)

    async def handle(socket: ServerConnection) -> None:
        await left.pop(0)(socket)

    async with serve(
        handle, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], close_timeout=1
    ) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"


async def receive(socket: ServerConnection) -> ClientMessage:
    return decode_client(await socket.recv())


async def admit(socket: ServerConnection, welcome: Welcome | str = "me") -> Hello:
    """Take the hello, and send the welcome: a name alone stands for a plain one."""
    hello = await receive(socket)
    assert isinstance(hello, Hello)
    if isinstance(welcome, str):
        welcome = Welcome(welcome, hello.room, hello.role, True)
    await socket.send(encode(welcome))
    return hello


class Time:
    """Virtual time: sleeping returns at once, and is written down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        self.now += delay

    def clock(self) -> float:
        return self.now


def client(url: str, time: Time | None = None, **settings: object) -> SignallingClient:
    time = time or Time()
    values: dict[str, object] = {"token": "secret", "room": "den", **settings}
    return SignallingClient(
        SignallingClientSettings(url=url, **values),  # type: ignore[arg-type]
        sleep=time.sleep,
        clock=time.clock,
        jitter=random.Random(1),
    )


async def test_hello_comes_first_and_messages_arrive_in_order() -> None:
    seen: list[Hello] = []

    async def script(socket: ServerConnection) -> None:
        seen.append(await admit(socket))
        await socket.send(encode(PeerJoined("anna", "viewer")))
        await socket.wait_closed()

    async with server(script) as url, client(url, name="tower") as me:
        messages = aiter(me)
        assert await anext(messages) == Welcome("me", "den", "host", True)
        assert await anext(messages) == PeerJoined("anna", "viewer")
        assert me.state is ClientState.JOINED
    assert seen == [Hello("secret", "den", "host", name="tower")]


async def test_heartbeats_are_answered_and_not_shown() -> None:
    answers: list[ClientMessage] = []

    async def script(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.send(encode(Ping(12.5)))
        answers.append(await receive(socket))
        await socket.send(encode(PeerJoined("anna", "viewer")))
        await socket.wait_closed()

    async with server(script) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        assert await anext(messages) == PeerJoined("anna", "viewer")
    assert answers == [Pong(12.5)]


async def test_a_frame_that_is_no_message_is_dropped() -> None:
    async def script(socket: ServerConnection) -> None:
        await admit(socket)
        for frame in ("{", '{"type":"rocket"}', b"\xff\x00", '{"type":"peer-joined"}'):
            await socket.send(frame)
        await socket.send(encode(PeerJoined("anna", "viewer")))
        await socket.wait_closed()

    async with server(script) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        assert await anext(messages) == PeerJoined("anna", "viewer")


async def test_close_says_bye_and_ends_the_iteration() -> None:
    said: list[ClientMessage] = []

    async def script(socket: ServerConnection) -> None:
        await admit(socket)
        said.append(await receive(socket))
        said.append(await receive(socket))

    async with server(script) as url:
        me = client(url)
        messages = aiter(me)
        await anext(messages)
        assert await me.send(Candidate("anna", "")) is True
        await asyncio.gather(me.close(), _drain(messages))
        assert me.state is ClientState.CLOSED
        assert await me.send(Candidate("anna", "")) is False
    assert said == [Candidate("anna", ""), Bye()]


async def test_a_lost_connection_is_opened_again() -> None:
    time = Time()

    async def vanish(socket: ServerConnection) -> None:
        await admit(socket, "first")
        socket.transport.abort()

    async def stay(socket: ServerConnection) -> None:
        await admit(socket, "second")
        await socket.wait_closed()

    async with server(vanish, stay) as url, client(url, time) as me:
        messages = aiter(me)
        assert [(await anext(messages)).peer for _ in range(2)] == ["first", "second"]  # type: ignore[union-attr]
        assert me.trouble == ""
    assert len(time.slept) == 1


async def test_delays_grow_with_jitter_up_to_their_bound() -> None:
    time = Time()

    async def vanish(socket: ServerConnection) -> None:
        socket.transport.abort()

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    settings = {"first_delay_s": 1.0, "max_delay_s": 8.0}
    async with server(*[vanish] * 6, stay) as url, client(url, time, **settings) as me:
        await anext(aiter(me))
    assert len(time.slept) == 6
    for delay, bound in zip(time.slept, (1, 2, 4, 8, 8, 8), strict=True):
        assert bound / 2 <= delay <= bound
    assert len(set(time.slept)) == 6


@pytest.mark.parametrize(("held_s", "second_bound"), [(10.0, 1.0), (9.0, 2.0)])
async def test_only_a_connection_that_held_starts_the_backoff_afresh(
    held_s: float, second_bound: float
) -> None:
    time = Time()

    async def break_off(socket: ServerConnection) -> None:
        await admit(socket)
        await receive(socket)  # the welcome has arrived
        time.now += held_s
        socket.transport.abort()

    async def vanish(socket: ServerConnection) -> None:
        socket.transport.abort()

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    scripts = (vanish, break_off, stay)
    async with server(*scripts) as url, client(url, time, first_delay_s=1.0) as me:
        messages = aiter(me)
        await anext(messages)
        await me.send(Pong(0))
        await anext(messages)
    assert second_bound / 2 <= time.slept[1] <= second_bound


@pytest.mark.parametrize("code", sorted(FINAL))
async def test_what_trying_again_cannot_mend_is_final(code: ErrorCode) -> None:
    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Error(code, "because")))
        await socket.close(CLOSE_CODES[code])

    async with server(refuse) as url, client(url) as me:
        with pytest.raises(SignallingRefused, match="because") as refused:
            await anext(aiter(me))
    assert refused.value.code == code
    assert me.state is ClientState.CLOSED


async def test_the_close_code_speaks_where_the_error_got_lost() -> None:
    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.close(4401)

    async with server(refuse) as url, client(url) as me:
        with pytest.raises(SignallingRefused) as refused:
            await anext(aiter(me))
    assert refused.value.code == "bad-token"


async def test_a_token_that_expires_later_is_final_too() -> None:
    async def expire(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.send(encode(Error("token-expired", "too old")))
        await socket.close(4401)

    async with server(expire) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        assert isinstance(await anext(messages), Error)
        with pytest.raises(SignallingRefused, match="too old"):
            await anext(messages)


async def test_a_restarting_server_is_waited_for() -> None:
    async def restart(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.send(encode(Error("shutting-down", "back soon", True)))
        await socket.close(1012)

    async def stay(socket: ServerConnection) -> None:
        await admit(socket, "again")
        await socket.wait_closed()

    async with server(restart, stay) as url, client(url) as me:
        messages = aiter(me)
        assert isinstance(await anext(messages), Welcome)
        assert isinstance(await anext(messages), Error)
        assert await anext(messages) == Welcome("again", "den", "host", True)


async def test_a_taken_room_is_given_up_after_some_tries() -> None:
    time = Time()

    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Error("room-taken", "room den already has a host", True)))
        await socket.close(4409)

    async with server(*[refuse] * 3) as url, client(url, time, room_taken_tries=3) as me:
        with pytest.raises(SignallingRefused, match="already has a host"):
            await anext(aiter(me))
    assert len(time.slept) == 2


async def test_a_server_that_says_nothing_is_left() -> None:
    async def say_nothing(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with server(say_nothing, stay) as url, client(url, open_timeout_s=0.05) as me:
        assert isinstance(await anext(aiter(me)), Welcome)


async def test_a_wrong_path_is_not_tried_again() -> None:
    async def not_found(connection: ServerConnection, request: object) -> object:
        return connection.respond(404, "no such page\n")

    async def handle(socket: ServerConnection) -> None:
        raise AssertionError("no WebSocket was to be opened")

    async with serve(handle, "127.0.0.1", 0, process_request=not_found) as running:  # type: ignore[arg-type]
        port = running.sockets[0].getsockname()[1]
        async with client(f"ws://127.0.0.1:{port}/nowhere") as me:
            with pytest.raises(SignallingRefused, match="404"):
                await anext(aiter(me))


async def test_an_unreachable_server_is_tried_until_close() -> None:
    async with server() as url:
        pass  # the port is free again: nobody answers
    tried = asyncio.Event()

    async def sleep(delay: float) -> None:
        tried.set()
        await asyncio.Event().wait()

    settings = SignallingClientSettings(url=url, token="secret", room="den")
    me = SignallingClient(settings, sleep=sleep)
    reading = asyncio.ensure_future(_drain(aiter(me)))
    await tried.wait()
    assert me.state is ClientState.WAITING
    assert "cannot reach" in me.trouble
    await me.close()
    await reading


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "127.0.0.1:80", "ws://", ""])
def test_the_settings_refuse_what_is_no_websocket_address(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        SignallingClientSettings(url=url, token="secret", room="den")


# Sessions ---------------------------------------------------------------------------------------


def chat(number: int) -> ChatMessage:
    return ChatMessage("anna", "Anna", "viewer", f"line {number}", 0.0, seq=number)


async def test_a_session_is_resumed_and_each_message_comes_once() -> None:
    hellos: list[Hello] = []

    async def break_off(socket: ServerConnection) -> None:
        hellos.append(await admit(socket, Welcome("me", "den", "host", True, secret="s1", seq=4)))
        for number in (4, 5, 6, 6):
            await socket.send(encode(chat(number)))
        await receive(socket)
        socket.transport.abort()

    async def go_on(socket: ServerConnection) -> None:
        resumed = Welcome("me", "den", "host", True, secret="s2", resumed=True)
        hellos.append(await admit(socket, resumed))
        for number in (5, 6, 7, 8):
            await socket.send(encode(chat(number)))
        await receive(socket)
        socket.transport.abort()

    async def forget(socket: ServerConnection) -> None:
        hellos.append(await admit(socket, Welcome("new", "den", "host", True, secret="s3", seq=2)))
        for number in (2, 3):
            await socket.send(encode(chat(number)))
        await socket.wait_closed()

    async with server(break_off, go_on, forget) as url, client(url) as me:
        messages = aiter(me)
        heard: list[object] = []
        for count in (3, 3, 2):
            for _ in range(count):
                message = await anext(messages)
                heard.append(message.seq if isinstance(message, ChatMessage) else message)
            await me.send(Pong(0))
        assert me.peer == "new"
    first, second, third = (item for item in heard if isinstance(item, Welcome))
    assert heard == [first, 5, 6, second, 7, 8, third, 3]
    assert [hello.resume for hello in hellos] == [
        None,
        Resume("me", "s1", 6),
        Resume("me", "s2", 8),
    ]


async def test_what_follows_an_incomplete_welcome_counts_from_its_own_number() -> None:
    async def break_off(socket: ServerConnection) -> None:
        await admit(socket, Welcome("me", "den", "host", True, seq=100))
        socket.transport.abort()

    async def go_on(socket: ServerConnection) -> None:
        await admit(socket, Welcome("me", "den", "host", True, resumed=True, complete=False))
        await socket.send(encode(chat(3)))
        await socket.wait_closed()

    async with server(break_off, go_on) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        await anext(messages)
        assert await anext(messages) == chat(3), "a room restored from an older state counts anew"


async def test_reconnecting_keeps_the_session_and_says_the_seat_anew() -> None:
    hellos: list[Hello] = []

    async def stay(socket: ServerConnection) -> None:
        hellos.append(await admit(socket))
        await socket.wait_closed()

    async with server(stay, stay) as url, client(url) as me:
        me.seat = "a-seat"
        messages = aiter(me)
        await anext(messages)
        me.seat = ""
        await me.reconnect()
        await anext(messages)
    assert [(hello.seat, hello.resume is not None) for hello in hellos] == [
        ("a-seat", False),
        ("", True),
    ]


async def test_who_must_be_let_in_waits_for_longer_than_a_welcome_may_take() -> None:
    let_in = asyncio.Event()

    async def keep_waiting(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Waiting("me", "den")))
        await let_in.wait()
        await socket.send(encode(Welcome("me", "den", "viewer", True)))
        await socket.wait_closed()

    async with server(keep_waiting) as url, client(url, open_timeout_s=0.05) as me:
        messages = aiter(me)
        assert await anext(messages) == Waiting("me", "den")
        assert me.state is ClientState.KNOCKING
        assert not await me.send(Candidate("host", "")), "there is nobody to send it to yet"
        welcome = asyncio.ensure_future(anext(messages))
        await asyncio.wait({welcome}, timeout=0.1)
        assert not welcome.done()
        let_in.set()
        assert isinstance(await welcome, Welcome)
        assert me.state is ClientState.JOINED


async def test_who_gives_up_waiting_says_bye() -> None:
    said: list[ClientMessage] = []

    async def keep_waiting(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Waiting("me", "den")))
        said.append(await receive(socket))

    async with server(keep_waiting) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        await asyncio.gather(me.close(), _drain(messages))
    assert said == [Bye()]


async def test_a_welcome_that_names_thousands_is_read() -> None:
    members = [PeerJoined(f"peer{number}", "viewer", "x" * 40) for number in range(5000)]

    async def script(socket: ServerConnection) -> None:
        await admit(socket, Welcome("me", "den", "host", True, members=members))
        await socket.wait_closed()

    async with server(script) as url, client(url) as me:
        welcome = await anext(aiter(me))
        assert isinstance(welcome, Welcome)
        assert len(welcome.members) == 5000


async def test_the_heartbeat_is_measured_and_trace_and_region_carried() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    hellos: list[Hello] = []

    async def script(socket: ServerConnection) -> None:
        hellos.append(await admit(socket))
        await receive(socket)  # the pong that the client awaits has gone out before
        await socket.send(encode(chat(1)))
        await socket.wait_closed()

    async with server(script) as url, client(url, traceparent=trace, region="eu") as me:
        messages = aiter(me)
        assert me.rtt_ms is None
        await anext(messages)
        await me.send(Pong(0))
        await anext(messages)
        assert me.rtt_ms is not None
        assert 0 < me.rtt_ms < 1000
    assert (hellos[0].traceparent, hellos[0].region) == (trace, "eu")


# Requests ---------------------------------------------------------------------------------------


async def test_a_request_gets_its_answer_and_others_see_it_not() -> None:
    async def script(socket: ServerConnection) -> None:
        await admit(socket)
        asked = [await receive(socket) for _ in range(3)]
        kick, invite, ban = asked
        assert isinstance(kick, Kick)
        assert isinstance(invite, Invite)
        assert isinstance(ban, Ban)
        assert len({kick.id, invite.id, ban.id, ""}) == 4
        refusal = Error("rate-limited", "slower", True, ban.id, 2.5)
        for answer in (Invited(invite.id, "t", 5.0), refusal, Done(kick.id), Done("stranger")):
            await socket.send(encode(answer))
        await socket.wait_closed()

    async with server(script) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        requests = [Kick("anna"), Invite("player"), Ban("anna")]
        asked = [asyncio.ensure_future(me.request(request)) for request in requests]
        assert await anext(messages) == Done("stranger")
        kicked, invited, banned = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(kicked, Done)
    assert isinstance(invited, Invited)
    assert invited.token == "t"
    assert isinstance(banned, RequestRefused)
    assert (banned.code, banned.message) == ("rate-limited", "slower")
    assert (banned.retry, banned.retry_after_s) == (True, 2.5)


async def test_an_answer_may_come_over_the_next_link_of_the_session() -> None:
    asked: list[ClientMessage] = []

    async def break_off(socket: ServerConnection) -> None:
        await admit(socket)
        asked.append(await receive(socket))
        socket.transport.abort()

    async def go_on(socket: ServerConnection) -> None:
        await admit(socket, Welcome("me", "den", "host", True, resumed=True))
        assert isinstance(asked[0], Kick)
        await socket.send(encode(Done(asked[0].id)))
        await socket.wait_closed()

    async with server(break_off, go_on) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        request = asyncio.ensure_future(me.request(Kick("anna")))
        reading = asyncio.ensure_future(_drain(messages))
        assert isinstance(await request, Done)
        await me.close()
        await reading


async def test_a_request_of_a_session_that_is_over_has_no_answer() -> None:
    async def break_off(socket: ServerConnection) -> None:
        await admit(socket)
        await receive(socket)
        socket.transport.abort()

    async def stay(socket: ServerConnection) -> None:
        await admit(socket, "new")
        await socket.wait_closed()

    async with server(break_off, stay) as url, client(url) as me:
        messages = aiter(me)
        await anext(messages)
        request = asyncio.ensure_future(me.request(Kick("anna")))
        reading = asyncio.ensure_future(_drain(messages))
        with pytest.raises(RequestRefused, match="the session ended") as refused:
            await request
        assert (refused.value.code, refused.value.retry) == ("timeout", True)
        await me.close()
        await reading


async def test_a_request_without_an_answer_ends() -> None:
    async def say_nothing(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with server(say_nothing) as url, client(url) as me:
        with pytest.raises(RequestRefused, match="no link"):
            await me.request(Kick("anna"))
        messages = aiter(me)
        await anext(messages)
        reading = asyncio.ensure_future(_drain(messages))
        with pytest.raises(RequestRefused, match="does not answer"):
            await me.request(Kick("anna"), timeout_s=0.01)
        await me.close()
        await reading


async def test_the_way_in_is_measured_and_its_trace_goes_with_every_hello() -> None:
    hellos: list[Hello] = []

    async def break_off(socket: ServerConnection) -> None:
        hellos.append(await admit(socket))
        await socket.close(1001)

    async def stay(socket: ServerConnection) -> None:
        hellos.append(await admit(socket))
        await socket.wait_closed()

    async def token() -> str:
        return "secret"

    spans = Spans(TRACE)
    async with server(break_off, stay) as url:
        time = Time()
        settings = SignallingClientSettings(url=url, token="", room="den", role="viewer")
        me = SignallingClient(settings, fresh_token=token, spans=spans, sleep=time.sleep)
        async with me:
            messages = aiter(me)
            assert isinstance(await anext(messages), Welcome)
            assert isinstance(await anext(messages), Welcome)
    assert [hello.traceparent for hello in hellos] == [TRACE, TRACE]
    report = spans.take()
    assert report is not None
    assert [span.name for span in report.spans] == [
        *("signalling.connect", "signalling.token", "signalling.hello"),
    ]


async def test_a_fresh_token_that_cannot_be_had_at_first_is_asked_for_again() -> None:
    """While the old one is good; a source that fails once costs nobody the link."""
    asked: list[float] = []
    time = Time()

    async def token() -> str:
        asked.append(time.now)
        if 1 < len(asked) < 4:
            raise TokenUnavailable("the issuer is away")
        return f"token-{len(asked)}"

    got: list[ClientMessage] = []

    async def expire(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.send(encode(TokenExpiring(6.0)))
        got.append(await receive(socket))
        await socket.send(encode(PeerJoined("anna", "viewer")))
        await socket.wait_closed()

    async with server(expire) as url:
        settings = SignallingClientSettings(url=url, token="", room="den")
        me = SignallingClient(settings, fresh_token=token, sleep=time.sleep, clock=time.clock)
        async with me:
            messages = aiter(me)
            assert [type(await anext(messages)) for _ in range(2)] == [Welcome, PeerJoined]
    assert got == [FreshToken("token-4")]
    assert asked == [0.0, 0.0, 0.5, 1.5]


async def test_a_fresh_token_is_asked_for_until_the_old_one_ends() -> None:
    asked: list[float] = []
    time, last = Time(), asyncio.Event()

    async def token() -> str:
        asked.append(time.now)
        if len(asked) == 5:
            last.set()
        if len(asked) > 1:
            raise TokenUnavailable("signed out")
        return "token"

    async def expire(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.send(encode(TokenExpiring(4.0)))
        await asyncio.wait_for(socket.wait_closed(), 10)

    async with server(expire) as url:
        settings = SignallingClientSettings(url=url, token="", room="den")
        me = SignallingClient(settings, fresh_token=token, sleep=time.sleep, clock=time.clock)
        async with me:
            messages = aiter(me)
            assert isinstance(await anext(messages), Welcome)
            reading = asyncio.ensure_future(_drain(messages))
            await asyncio.wait_for(last.wait(), 10)
            assert me._renewal is not None
            await asyncio.wait([me._renewal], timeout=10)
            await me.close()
            await reading
    assert asked == [0.0, 0.0, 0.5, 1.5, 3.5]


# Several servers --------------------------------------------------------------------------------


async def test_a_server_that_shuts_down_is_left_for_another() -> None:
    time = Time()

    async def shut_down(socket: ServerConnection) -> None:
        await admit(socket, Welcome("me", "den", "host", True, secret="s1"))
        await socket.send(encode(Error("shutting-down", "go elsewhere", True, "", 3.0)))
        await socket.close(1012)

    hellos: list[Hello] = []

    async def stay(socket: ServerConnection) -> None:
        hellos.append(await admit(socket, Welcome("me", "den", "host", True, resumed=True)))
        await socket.wait_closed()

    async with (
        server(shut_down) as first,
        server(stay) as second,
        client(first, time, other_urls=(second,), first_delay_s=1.0) as me,
    ):
        messages = aiter(me)
        kinds = [type(await anext(messages)) for _ in range(3)]
    assert kinds == [Welcome, Error, Welcome]
    assert hellos[0].resume == Resume("me", "s1", 0)
    assert 3.5 <= time.slept[0] <= 4.0, "never sooner than the server asks for"


async def test_servers_that_cannot_be_reached_are_taken_in_turn() -> None:
    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with server() as gone:
        pass
    async with server(stay) as there, client(gone, other_urls=(gone, there)) as me:
        assert isinstance(await anext(aiter(me)), Welcome)


@asynccontextmanager
async def no_playcast(status: str = "404 Not Found") -> AsyncIterator[str]:
    """A web server of somebody else's."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"


async def refuse_version(socket: ServerConnection) -> None:
    await receive(socket)
    await socket.send(encode(Error("version", "this server speaks version 1")))
    await socket.close(CLOSE_CODES["version"])


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "404 Not Found"])
async def test_an_address_that_is_no_websockets_is_not_tried_again(status: str) -> None:
    async with no_playcast(status) as url, client(url) as me:
        with pytest.raises(SignallingRefused, match=status[:3]):
            await _drain(aiter(me))


async def test_what_hinders_a_link_is_said_in_words() -> None:
    async with server() as gone:
        pass
    port = gone.rpartition(":")[2]
    both = [OSError(111, f"Connect call failed ('{host}', 1)") for host in ("::1", "127.0.0.1")]
    several = OSError(f"Multiple exceptions: {both[0]}, {both[1]}")
    assert words_of(several) == "Connection refused"
    assert words_of(OSError("nothing known")) == "nothing known"
    assert words_of(socket.gaierror(-2, "Name or service not known")).startswith("Name or")
    for host in ("127.0.0.1", "localhost"):
        url = f"ws://{host}:{port}"
        assert await _trouble(client(url)) == f"cannot reach {url}: Connection refused"


async def test_a_server_without_tls_is_named() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as plain:
        me = client(f"wss://127.0.0.1:{plain.sockets[0].getsockname()[1]}/ws")
        assert "it speaks no TLS that we do (WRONG_VERSION_NUMBER)" in await _trouble(me)


async def _trouble(me: SignallingClient) -> str:
    """Why the first try has failed."""
    waits = asyncio.Event()
    me.on_state = lambda state: waits.set() if state is ClientState.WAITING else None
    reading = asyncio.ensure_future(_drain(aiter(me)))
    await asyncio.wait_for(waits.wait(), 10)
    trouble = me.trouble
    await me.close()
    await reading
    return trouble


async def test_a_server_that_is_none_of_ours_is_passed_over() -> None:
    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with (
        no_playcast() as wrong,
        server(refuse_version) as old,
        server(stay) as there,
        client(wrong, other_urls=(old, there)) as me,
    ):
        assert isinstance(await anext(aiter(me)), Welcome)
        assert me.url == there


async def test_no_server_of_ours_at_all_ends_it() -> None:
    async with (
        no_playcast() as wrong,
        server(refuse_version) as old,
        client(wrong, other_urls=(old,)) as me,
    ):
        with pytest.raises(SignallingRefused, match="version 1"):
            await _drain(aiter(me))


async def test_who_is_refused_by_one_server_asks_no_other() -> None:
    """The token is as bad there: all servers of a room judge alike."""

    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Error("bad-token", "the token is not good")))
        await socket.close(CLOSE_CODES["bad-token"])

    async with server(refuse) as one, server() as two, client(one, other_urls=(two,)) as me:
        with pytest.raises(SignallingRefused, match="not good"):
            await _drain(aiter(me))


async def test_a_server_that_falls_silent_is_left_for_another() -> None:
    """At once: the silent one would be waited for until the session is over."""

    async def fall_silent(socket: ServerConnection) -> None:
        await admit(socket)
        socket.transport.pause_reading()
        await over.wait()
        socket.transport.abort()

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    over, time = asyncio.Event(), Time()
    async with (
        server(fall_silent) as one,
        server(stay) as two,
        client(one, time, other_urls=(two,), ping_interval_s=0.1) as me,
    ):
        messages = aiter(me)
        try:
            assert isinstance(await anext(messages), Welcome)
            assert isinstance(await anext(messages), Welcome)
        finally:
            over.set()
        assert me.url == two
        assert len(time.slept) == 1


async def test_a_full_server_is_left_for_another() -> None:
    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Error("room-full", "the server is full", True)))
        await socket.close(CLOSE_CODES["room-full"])

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with server(refuse) as one, server(stay) as two, client(one, other_urls=(two,)) as me:
        assert isinstance(await anext(aiter(me)), Welcome)
        assert me.url == two


@pytest.mark.parametrize("code", ["room-full", "room-locked"])
async def test_where_trying_again_may_help_it_is_tried_again(code: ErrorCode) -> None:
    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Error(code, "not now", True)))
        await socket.close(CLOSE_CODES[code])

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with server(refuse, stay) as url, client(url) as me:
        assert isinstance(await anext(aiter(me)), Welcome)


async def test_an_answer_to_a_message_is_no_reason_of_the_end() -> None:
    async def break_off(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.send(encode(Error("forbidden", "viewers make no offers")))
        await socket.close(1001)

    async def stay(socket: ServerConnection) -> None:
        await admit(socket)
        await socket.wait_closed()

    async with server(break_off, stay) as url, client(url) as me:
        messages = aiter(me)
        kinds = [type(await anext(messages)) for _ in range(3)]
    assert kinds == [Welcome, Error, Welcome]


async def _drain(messages: AsyncIterator[object]) -> None:
    async for _ in messages:
        pass
