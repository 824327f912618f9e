"""The signalling client against scripted servers on loopback."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from peer.signalling_client import (
    FINAL,
    ClientState,
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
)
from signalling.messages import (
    CLOSE_CODES,
    SUBPROTOCOL,
    Bye,
    Candidate,
    ClientMessage,
    Error,
    ErrorCode,
    Hello,
    PeerJoined,
    Ping,
    Pong,
    Welcome,
    decode_client,
    encode,
)

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


async def admit(socket: ServerConnection, peer: str = "me") -> Hello:
    hello = await receive(socket)
    assert isinstance(hello, Hello)
    await socket.send(encode(Welcome(peer, hello.room, hello.role, True)))
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


async def _drain(messages: AsyncIterator[object]) -> None:
    async for _ in messages:
        pass
