import asyncio
import contextlib
import ssl

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from signalling.messages import Hello, Welcome, decode_server, encode
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from signalling.tls import TlsError, TlsFiles
from tests.signalling.certificates import write_certificate
from tests.signalling.wire import ISSUER


@pytest.fixture
def files(tmp_path):
    return write_certificate(tmp_path)


@pytest.fixture
async def server(files):
    settings = SignallingSettings(verifier=ISSUER.verifier(), port=0, tls=TlsFiles(*files))
    async with SignallingServer(settings) as server:
        yield server


def trusting(certificate):
    return ssl.create_default_context(cafile=certificate)


async def handshake(server, context):
    """The certificate that the server shows, and the answer to a request, whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return shown, answer


async def test_pages_and_sockets_over_tls(server, files):
    context = trusting(files[0])
    assert server.url.startswith("https://127.0.0.1:")
    _, answer = await handshake(server, context)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nStrict-Transport-Security: max-age=" in answer
    assert answer.rstrip().endswith(b"</html>")
    async with connect(server.websocket_url, ssl=context) as socket:
        await socket.send(encode(Hello(ISSUER.mint("h", "doom", "host"), "doom", "host")))
        assert isinstance(decode_server(await socket.recv()), Welcome)
        await socket.send(encode(Hello("x" * 8000, "doom", "host")))  # more than one TLS record
        assert "hello" in str(await asyncio.wait_for(anext(errors(socket)), 5))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://127.0.0.1:{port}", True),
        ("http://127.0.0.1:{port}", False),  # whoever is on the way may have made that page
        ("ws://127.0.0.1:{port}", False),
        ("http://listed.example", True),
    ],
)
async def test_a_page_that_came_without_tls_may_not_connect(files, origin, allowed):
    settings = SignallingSettings(
        verifier=ISSUER.verifier(),
        port=0,
        tls=TlsFiles(*files),
        origins=frozenset({"http://listed.example"}),
    )
    async with SignallingServer(settings) as server:
        said = None if origin is None else origin.format(port=server.port)
        with contextlib.nullcontext() if allowed else pytest.raises(InvalidStatus, match="403"):
            context = trusting(files[0])
            async with connect(server.websocket_url, ssl=context, origin=said, proxy=None):
                pass


async def errors(socket):
    async for frame in socket:
        if '"type":"error"' in frame:
            yield frame


async def test_new_handshakes_use_a_new_certificate_and_open_connections_stay(
    server, files, tmp_path
):
    old_trust = trusting(files[0])
    old, _ = await handshake(server, old_trust)
    async with connect(server.websocket_url, ssl=old_trust) as socket:
        write_certificate(tmp_path)
        new_trust = trusting(files[0])
        server._settings.tls.reload()
        new, _ = await handshake(server, new_trust)
        assert new != old
        with pytest.raises(ssl.SSLCertVerificationError):
            await handshake(server, old_trust)
        await socket.send(encode(Hello(ISSUER.mint("h", "doom", "host"), "doom", "host")))
        assert isinstance(decode_server(await socket.recv()), Welcome)


def test_files_that_do_not_change_are_not_read_again(files):
    tls = TlsFiles(*files)
    assert not tls.reload()
    files[0].touch()
    assert tls.reload()


def test_a_change_that_cannot_be_used_is_told_once_and_not_used(files):
    tls = TlsFiles(*files)
    before = tls._newest
    files[0].write_text("half a certifi")
    with pytest.raises(TlsError, match="holds no certificate"):
        tls.reload()
    assert not tls.reload()
    assert tls._newest is before


async def test_a_plain_request_to_a_tls_port_does_no_harm(server, files):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    _, answer = await handshake(server, trusting(files[0]))
    assert answer.startswith(b"HTTP/1.1 200")


async def test_old_versions_of_tls_are_refused(server, files):
    context = trusting(files[0])
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await handshake(server, context)


def test_what_is_wrong_with_the_files_is_said(tmp_path, files):
    certificate, key = files
    (tmp_path / "other").mkdir()
    _, other_key = write_certificate(tmp_path / "other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for wrong, says in (
        ((tmp_path / "none.pem", key), r"cannot read .*none\.pem"),
        ((certificate, tmp_path / "none.pem"), r"cannot read .*none\.pem"),
        ((empty, key), r"empty\.pem holds no certificate"),
        ((certificate, empty), r"empty\.pem holds no private key"),
        ((certificate, other_key), r"key\.pem is not the key"),
    ):
        with pytest.raises(TlsError, match=says):
            TlsFiles(*wrong)
