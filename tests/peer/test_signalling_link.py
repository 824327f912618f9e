"""How a link is opened, and what is said when it cannot be."""

import asyncio
import socket

import pytest

from peer.signalling_client import (
    ClientState,
    SignallingClient,
    SignallingRefused,
)
from peer.signalling_link import words_of

from .scripted_server import client, drain, no_playcast, server


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "404 Not Found"])
async def test_an_address_that_is_no_websockets_is_not_tried_again(status: str) -> None:
    async with no_playcast(status) as url, client(url) as me:
        with pytest.raises(SignallingRefused, match=status[:3]):
            await drain(aiter(me))


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
    reading = asyncio.ensure_future(drain(aiter(me)))
    await asyncio.wait_for(waits.wait(), 10)
    trouble = me.trouble
    await me.close()
    await reading
    return trouble
