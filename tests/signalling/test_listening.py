import asyncio
import contextlib
import socket

import pytest

from signalling.limits import Limits
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from signalling.tls import TlsFiles
from tests.signalling.certificates import write_certificate
from tests.signalling.wire import ISSUER, client, until


def settings(**changes):
    return SignallingSettings(verifier=ISSUER.verifier(), port=0, **changes)


async def test_all_addresses_of_a_name_have_the_same_port():
    async with SignallingServer(settings(host="localhost")) as server:
        for _, _, _, _, address in socket.getaddrinfo(
            "localhost", server.port, type=socket.SOCK_STREAM
        ):
            with contextlib.suppress(OSError):  # where there is no IPv6
                _, writer = await asyncio.open_connection(*address[:2])
                writer.close()


async def test_a_handshake_of_tls_that_is_not_done_counts_already(tmp_path):
    tls = TlsFiles(*write_certificate(tmp_path))
    limits = Limits(max_connections_per_address=3)
    async with SignallingServer(settings(tls=tls, limits=limits, hello_timeout_s=0.4)) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        await until(lambda: server._site.open_connections == 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""  # put out at once
        writer.close()
        await until(lambda: server._site.open_connections == 0)  # they have had their time
        assert len(server._site._addresses) == 0
        for _, waiting in silent:
            waiting.close()


async def test_closing_does_not_wait_for_handshakes(tmp_path):
    tls = TlsFiles(*write_certificate(tmp_path))
    server = SignallingServer(settings(tls=tls, hello_timeout_s=60))
    await server.start()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await until(lambda: server._site.open_connections == 1)
    async with asyncio.timeout(5):
        await server.close()
    await until(lambda: server._site.open_connections == 0)
    writer.close()


async def test_when_no_more_files_can_be_opened_it_goes_on_later(monkeypatch, caplog):
    monkeypatch.setattr("signalling.listening.OUT_OF_FILES_S", 0.05)
    async with SignallingServer(settings()) as server:
        (listening,) = server._listener._sockets

        class Full:
            failures = 2

            def fileno(self):
                return listening.fileno()

            def accept(self):
                self.failures -= 1
                if self.failures >= 0:
                    raise OSError(24, "Too many open files")
                return listening.accept()

            def close(self):
                listening.close()

            def getsockname(self):
                return listening.getsockname()

        full = Full()
        server._listener._sockets[:] = [full]
        asyncio.get_running_loop().remove_reader(listening.fileno())
        server._listener._go_on(full)
        async with client(server):
            assert full.failures < 0
    assert "nobody can be taken in" in caplog.text


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host.invalid"])
async def test_where_it_cannot_listen_nothing_is_left_open(host):
    from signalling.server import BindError
    from tests.signalling.test_server import FixedVerifier

    server = SignallingServer(SignallingSettings(verifier=FixedVerifier(None), port=0, host=host))
    with pytest.raises(BindError, match="--host"):
        await server.start()
    await server.close()
