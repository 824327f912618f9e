"""A client that knows several servers of the same rooms."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection

from peer.signalling_client import (
    SignallingRefused,
)
from signalling.messages import (
    CLOSE_CODES,
    Error,
    Hello,
    Resume,
    Welcome,
    encode,
)

from .scripted_server import Time, admit, client, drain, no_playcast, receive, server


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


async def refuse_version(socket: ServerConnection) -> None:
    await receive(socket)
    await socket.send(encode(Error("version", "this server speaks version 1")))
    await socket.close(CLOSE_CODES["version"])


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
            await drain(aiter(me))


async def test_who_is_refused_by_one_server_asks_no_other() -> None:
    """The token is as bad there: all servers of a room judge alike."""

    async def refuse(socket: ServerConnection) -> None:
        await receive(socket)
        await socket.send(encode(Error("bad-token", "the token is not good")))
        await socket.close(CLOSE_CODES["bad-token"])

    async with server(refuse) as one, server() as two, client(one, other_urls=(two,)) as me:
        with pytest.raises(SignallingRefused, match="not good"):
            await drain(aiter(me))


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
