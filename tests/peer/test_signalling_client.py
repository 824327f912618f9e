"""The signalling client against scripted servers on loopback."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from peer.signalling_client import (
    FINAL,
    ClientState,
    RequestRefused,
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
)
from peer.spans import Spans
from signalling.messages import (
    CLOSE_CODES,
    Ban,
    Bye,
    Candidate,
    ChatMessage,
    ClientMessage,
    Done,
    Error,
    ErrorCode,
    Hello,
    Invite,
    Invited,
    Kick,
    PeerJoined,
    Ping,
    Pong,
    Resume,
    Waiting,
    Welcome,
    encode,
)

from .scripted_server import Time, admit, client, drain, receive, server

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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
        await asyncio.gather(me.close(), drain(messages))
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
    reading = asyncio.ensure_future(drain(aiter(me)))
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
        await asyncio.gather(me.close(), drain(messages))
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
        reading = asyncio.ensure_future(drain(messages))
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
        reading = asyncio.ensure_future(drain(messages))
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
        reading = asyncio.ensure_future(drain(messages))
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


# Which end is the end ---------------------------------------------------------------------------


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
