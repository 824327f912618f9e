"""A token that ends soon is renewed; what cannot be had at once is asked for again."""

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.typing import Subprotocol

from peer.signalling_client import (
    SignallingClient,
    SignallingClientSettings,
    TokenUnavailable,
)
from peer.token_renewal import TokenRenewal
from signalling.messages import (
    SUBPROTOCOL,
    ClientMessage,
    FreshToken,
    PeerJoined,
    TokenExpiring,
    Welcome,
    encode,
)

from .scripted_server import Time, admit, receive, server


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
        if len(asked) == 4:
            last.set()
        raise TokenUnavailable("signed out")

    async with server(until_closed) as url, open_to(url) as socket:
        renewal = TokenRenewal(token, time.sleep, time.clock)
        renewal.begin(socket, 4.0)
        renewal.begin(socket, 4.0)  # as long as it is at it, it is at it
        await asyncio.wait_for(last.wait(), 10)
        await renewal.end()
    assert asked == [0.0, 0.5, 1.5, 3.5]
    assert time.now < 4.0


async def test_a_source_that_is_waited_for_is_let_go_of_with_the_link() -> None:
    waits, let_go = asyncio.Event(), asyncio.Event()

    async def token() -> str:
        waits.set()
        try:
            return await asyncio.Future()
        finally:
            let_go.set()

    async with server(until_closed) as url, open_to(url) as socket:
        time = Time()
        renewal = TokenRenewal(token, time.sleep, time.clock)
        renewal.begin(socket, 4.0)
        await asyncio.wait_for(waits.wait(), 10)
        await renewal.end()
        assert let_go.is_set()
        await renewal.end()


def open_to(url: str) -> connect:
    return connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None)


async def until_closed(socket: ServerConnection) -> None:
    await socket.wait_closed()
