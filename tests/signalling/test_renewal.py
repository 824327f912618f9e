"""Tokens renewed on the open socket: by hand, and by the real client."""

import asyncio
import time
import typing
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from peer.signalling_client import (
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
    TokenUnavailable,
)
from signalling.auth import Identity, NotPermitted, TokenError, TokenExpired
from signalling.messages import (
    Error,
    FreshToken,
    Hello,
    Ping,
    Role,
    ServerMessage,
    TokenAccepted,
    TokenExpiring,
    Welcome,
    decode_server,
    encode,
)
from signalling.messages.base import RoomMessage
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings

ROLES: tuple[Role, ...] = typing.get_args(Role)
REFUSALS = {
    "forged": TokenError("forged"),
    "old": TokenExpired("old"),
    "nothing": NotPermitted("nothing for you"),
}


class PlainVerifier:
    """A token is ``SUBJECT ROOM SECONDS ROLE…``: who, where, how long from now on, and as what.

    Without a role it is a viewer's.
    """

    loopback_only = False

    async def verify(self, token: str) -> Identity:
        if token in REFUSALS:
            raise REFUSALS[token]
        subject, room, seconds, *roles = token.split()
        known = frozenset(role for role in ROLES if role in (roles or ["viewer"]))
        return Identity(subject, room, known, time.time() + float(seconds))

    async def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
async def server() -> AsyncIterator[SignallingServer]:
    settings = SignallingSettings(verifier=PlainVerifier(), port=0)
    async with SignallingServer(settings) as server:
        yield server


async def receive(socket: ClientConnection) -> ServerMessage:
    """The next message that is about the connection, not about the room."""
    async with asyncio.timeout(10):
        while True:
            message = decode_server(await socket.recv())
            if isinstance(message, Welcome) or not isinstance(message, RoomMessage):
                return message


@asynccontextmanager
async def viewer(
    server: SignallingServer, token: str, becomes: str = ""
) -> AsyncIterator[ClientConnection]:
    async with connect(server.websocket_url, proxy=None) as socket:
        await socket.send(encode(Hello(token, "den", "viewer")))
        welcome = await receive(socket)
        assert isinstance(welcome, Welcome)
        assert not becomes or welcome.role == becomes
        yield socket


async def last_words(socket: ClientConnection) -> tuple[str, int | None]:
    error = await receive(socket)
    assert isinstance(error, Error), error
    with pytest.raises(ConnectionClosed):
        await receive(socket)
    return error.code, socket.close_code


async def test_a_client_is_warned_then_closed_with_4401(server: SignallingServer) -> None:
    started = time.time()
    async with viewer(server, "ann den 2") as socket:
        warning = await receive(socket)
        assert isinstance(warning, TokenExpiring)
        assert 0.5 <= warning.left_s <= 1.0
        assert await last_words(socket) == ("token-expired", 4401)
    assert time.time() - started >= 1.9


async def test_a_fresh_token_takes_the_olds_place(server: SignallingServer) -> None:
    async with viewer(server, "ann den 2") as socket:
        assert isinstance(await receive(socket), TokenExpiring)
        await socket.send(encode(FreshToken("ann den 4")))
        accepted = await receive(socket)
        assert isinstance(accepted, TokenAccepted)
        assert 3.0 <= accepted.left_s <= 4.0
        # The next word is the fresh token's warning, past the old one's end.
        again = await receive(socket)
        assert isinstance(again, TokenExpiring)
        assert 1.0 <= again.left_s <= 2.0


async def test_who_answers_with_the_same_token_is_warned_again_and_closed_at_its_end(
    server: SignallingServer,
) -> None:
    ends_at = time.time() + 3.0
    async with viewer(server, "ann den 3") as socket:
        assert isinstance(await receive(socket), TokenExpiring)
        await socket.send(encode(FreshToken(f"ann den {ends_at - time.time()}")))
        assert isinstance(await receive(socket), TokenAccepted)
        assert isinstance(await receive(socket), TokenExpiring)
        assert await last_words(socket) == ("token-expired", 4401)
    assert time.time() >= ends_at - 0.05


@pytest.mark.parametrize(
    ("token", "code", "close_code"),
    [
        ("bob den 60", "bad-token", 4401),
        ("forged", "bad-token", 4401),
        ("old", "token-expired", 4401),
        ("ann arena 60", "forbidden", 4403),
        ("nothing", "forbidden", 4403),
    ],
)
async def test_a_fresh_token_that_is_not_good_ends_the_connection(
    server: SignallingServer, token: str, code: str, close_code: int
) -> None:
    async with viewer(server, "ann den 60") as socket:
        await socket.send(encode(FreshToken(token)))
        assert await last_words(socket) == (code, close_code)


async def test_a_role_that_the_fresh_token_does_not_have_is_lost(server: SignallingServer) -> None:
    """The client may come back at once, as what it is now."""
    async with viewer(server, "ann den 60 moderator viewer") as socket:
        await socket.send(encode(FreshToken("ann den 60 moderator")))
        assert isinstance(await receive(socket), TokenAccepted)
        await socket.send(encode(FreshToken("ann den 60 viewer")))
        error = await receive(socket)
        assert isinstance(error, Error)
        assert (error.code, error.retry) == ("forbidden", True)
        assert "moderator any more" in error.message
    async with viewer(server, "ann den 60 viewer", becomes="viewer"):
        pass


async def test_a_token_is_taken_in_messages_alone(server: SignallingServer) -> None:
    url = f"{server.websocket_url}?token=ann%20den%2060"
    async with connect(url, proxy=None, additional_headers={"Cookie": "token=ann"}) as socket:
        await socket.send(encode(FreshToken("ann den 60")))  # and the first is a hello
        assert await last_words(socket) == ("bad-message", 4400)


# The real client --------------------------------------------------------------------------------


def client(server: SignallingServer, tokens: list[str], given: list[str]) -> SignallingClient:
    """Whose callback has these tokens, one after the other."""

    async def fresh() -> str:
        if not tokens:
            raise TokenUnavailable("signed out")
        given.append(tokens.pop(0))
        return given[-1]

    settings = SignallingClientSettings(
        url=server.websocket_url, token="", room="den", role="viewer", first_delay_s=0.01
    )
    return SignallingClient(settings, fresh_token=fresh)


async def everything(messages: AsyncIterable[ServerMessage]) -> list[ServerMessage]:
    async with asyncio.timeout(20):
        return [message async for message in messages]


async def test_a_session_outlives_its_tokens(server: SignallingServer) -> None:
    tokens = ["ann den 2", "ann den 2", "ann den 2", "ann den 60"]
    given: list[str] = []
    started = time.time()
    async with client(server, tokens, given) as room, asyncio.timeout(20):
        messages = aiter(room)
        assert isinstance(await anext(messages), Welcome)
        rest = asyncio.ensure_future(everything(messages))
        # One second before the third token's end the fourth is asked for.
        await asyncio.wait([rest], timeout=4.0)
        assert not rest.done()
        assert await room.send(Ping(1.0))
        await room.close()
        # One connection, and no word of tokens to those who iterate.
        assert all(isinstance(message, RoomMessage) for message in await rest)
    assert len(given) == 4
    assert time.time() - started >= 4.0


async def test_without_a_fresh_token_it_is_asked_for_again_with_the_next_hello(
    server: SignallingServer,
) -> None:
    given: list[str] = []
    tokens = ["ann den 2"]
    said: list[ServerMessage] = []
    async with client(server, tokens, given) as room:
        async with asyncio.timeout(20):
            async for message in room:
                if isinstance(message, Welcome | Error):
                    said.append(message)
                if isinstance(message, Error):
                    assert message.code == "token-expired"
                    tokens.append("ann den 60")  # signed in again
                elif len(given) == 2:
                    break
    assert [type(message) for message in said] == [Welcome, Error, Welcome]


async def test_a_fresh_token_that_is_refused_at_once_is_no_reason_to_go_on(
    server: SignallingServer,
) -> None:
    async with client(server, ["old", "ann den 60"], []) as room:
        with pytest.raises(SignallingRefused) as refused:
            assert await everything(room) == []
    assert refused.value.code == "token-expired"


async def test_without_a_callback_an_expired_token_is_final(server: SignallingServer) -> None:
    settings = SignallingClientSettings(
        url=server.websocket_url, token="ann den 2", room="den", role="viewer"
    )
    async with SignallingClient(settings) as room:
        with pytest.raises(SignallingRefused) as refused:
            await everything(room)
    assert refused.value.code == "token-expired"
