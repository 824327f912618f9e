"""The nginx that infra/ shows, in front of two servers: pages, WebSockets, addresses, a drain."""

import asyncio
import shutil
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, WSServerHandshakeError

from signalling import DevIssuer
from signalling.messages import Hello, encode
from tests.integrations.served import certificate, serving

CONFIG = Path(__file__).parents[2] / "infra" / "proxy" / "nginx.conf"

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is missing")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@asynccontextmanager
async def nginx(directory: Path, ports: tuple[str, str]) -> AsyncIterator[str]:
    """As operators have it, but for addresses and files. Its URL."""
    pem, key = await certificate(directory)
    port = free_port()
    text = CONFIG.read_text(encoding="utf-8")
    for ours, theirs in (
        ("127.0.0.1:8080", f"127.0.0.1:{ports[0]}"),
        ("127.0.0.1:8081", f"127.0.0.1:{ports[1]}"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("listen [::]:443 ssl;", ""),
        ("/etc/ssl/play.example/fullchain.pem", str(pem)),
        ("/etc/ssl/play.example/privkey.pem", str(key)),
        ("play.example", "localhost"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    paths = "".join(
        f"{name}_temp_path {directory}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log stderr warn;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{text}\n}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        *("nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    break
        yield f"https://localhost:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def test_pages_websockets_addresses_and_a_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    token = DevIssuer.load_or_create().mint("me", "*", "viewer", 600.0)
    environment = {
        "PLAYCAST_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
        "PLAYCAST_SERVER__LIMITS__FAILURES_FREE": "1",
        "PLAYCAST_SERVER__LIMITS__BACKOFF_S": "60",
    }
    words = ("--dev", "--port", "0")
    async with (
        serving(tmp_path, *words, **environment) as (first, one),
        serving(tmp_path, *words, **environment) as (_, two),
        nginx(tmp_path, (one[:-1].rpartition(":")[2], two[:-1].rpartition(":")[2])) as url,
    ):
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

        def client(address: str) -> ClientSession:
            return ClientSession(connector=TCPConnector(local_addr=(address, 0), ssl=trust))

        async def said(session: ClientSession, shown: str, room: str, **headers: str) -> str:
            """The type of the server's first message."""
            async with asyncio.timeout(10), session.ws_connect(url + "ws", headers=headers) as ws:
                await ws.send_str(encode(Hello(shown, room, "viewer")))
                return (await ws.receive_json())["type"]

        async with client("127.0.0.1") as good, client("127.0.0.2") as bad:
            async with good.get(url) as page:
                assert page.status == 200
                assert "<html" in await page.text()
            async with good.get(url + "metrics") as metrics:
                assert metrics.status == 404
            # A browser says which page it is: ours, by the name that the proxy has.
            assert await said(good, token, "r0", Origin=url[:-1]) == "welcome"
            with pytest.raises(WSServerHandshakeError):
                await said(good, token, "r0", Origin="https://evil.example")

            first.send_signal(signal.SIGTERM)
            for number in range(12):
                assert await said(good, token, f"r{number}") == "welcome"
            async with asyncio.timeout(10):
                assert await first.wait() == 0

            # Each client counts by its own address, whatever it says of itself.
            for _ in range(2):
                assert await said(bad, "bad", "play") == "error"
            with pytest.raises(WSServerHandshakeError):
                await said(bad, token, "play", **{"X-Forwarded-For": "127.0.0.3"})
            assert await said(good, token, "play") == "welcome"
