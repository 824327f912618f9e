"""A signalling server as a child process."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from peer.server_child import ServerChild, ServerError
from peer.signalling_client import SignallingClient, SignallingClientSettings
from signalling.messages import IceServer, Welcome


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


async def join(url: str, token: str, role: str) -> Welcome:
    settings = SignallingClientSettings(url=url, token=token, room="den", role=role)  # type: ignore[arg-type]
    async with SignallingClient(settings) as client:
        welcome = await anext(aiter(client))
    assert isinstance(welcome, Welcome)
    return welcome


async def test_its_tokens_open_its_room() -> None:
    ice = ("--stun", "stun:127.0.0.1:3478")
    async with ServerChild(room="den", port=0, ice=ice) as server:
        address = await server.start()
        host = await join(address.websocket_url, address.tokens["host"], "host")
        await join(address.websocket_url, address.tokens["viewer"], "viewer")
        assert host.ice_servers == [IceServer(["stun:127.0.0.1:3478"])]
        assert address.link("den") == f"{address.url}#room=den&token={address.tokens['viewer']}"
        port = int(address.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_busy_port_is_said_so(busy_port: int) -> None:
    async with ServerChild(room="den", port=busy_port) as server:
        with pytest.raises(ServerError, match=f"port {busy_port}.*--port"):
            await server.start()


async def test_the_end_of_the_server_is_told() -> None:
    async with ServerChild(room="den", port=0) as server:
        await server.start()
        assert server.pid is not None
        ended = asyncio.ensure_future(server.wait())
        os.kill(server.pid, signal.SIGKILL)
        assert "signalling server ended (status -9)" in await ended
