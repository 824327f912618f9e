import json

import pytest
from aiohttp import ClientSession, FormData, web
from aiohttp.test_utils import TestServer

from integrations.request_signing import (
    HEADER,
    MemoryNonces,
    NoncesUnavailable,
    Request,
    RequestSigner,
    RequestVerifier,
)
from integrations.signed_http import SIGNED_BY, signing, verifying

KEYS = {"k1": bytes(range(32))}


class Broken:
    async def first(self, *_):
        raise NoncesUnavailable("away")


@pytest.fixture
async def serve():
    """Makes servers that say what they got, to those who signed it."""
    made = []

    async def answer(request):
        got = {
            "by": request[SIGNED_BY],
            "query": request.query_string,
            "body": await request.text(),
        }
        return web.json_response(got)

    async def elsewhere(request):
        raise web.HTTPFound(request.query["to"])

    async def headers(request):
        return web.json_response(dict(request.headers))

    async def serve(nonces=None, audience="games", checked=True):
        verifier = RequestVerifier(lambda: KEYS, nonces or MemoryNonces(), audience=audience)
        app = web.Application(middlewares=[verifying(verifier)] if checked else [])
        app.router.add_route("*", "/echo/{name:.*}", answer)
        app.router.add_get("/redirect", elsewhere)
        app.router.add_get("/headers", headers)
        server = TestServer(app)
        await server.start_server()
        made.append(server)
        return server

    yield serve
    for server in made:
        await server.close()


def session_for(server, keys=None):
    signer = RequestSigner("k1", lambda: keys or KEYS, audience="games")
    return ClientSession(middlewares=[signing(signer, str(server.make_url("/")))])


@pytest.mark.parametrize(
    ("method", "path", "how", "body"),
    [
        ("GET", "/echo/a", {}, ""),
        ("GET", "/echo/a%2Fb", {"params": {"x": "ü &=+", "a": "1"}}, ""),
        ("POST", "/echo/", {"json": {"locked": True}}, '{"locked": true}'),
        ("POST", "/echo/", {"data": "Zoë".encode()}, "Zoë"),
        ("POST", "/echo/", {"data": FormData({"a": "1"})}, "a=1"),
        ("DELETE", "/echo/x", {}, ""),
    ],
)
async def test_what_a_client_signs_a_server_accepts(serve, method, path, how, body):
    server = await serve()
    async with session_for(server) as session:
        for _ in range(2):  # each with a nonce of its own
            async with session.request(method, server.make_url(path), **how) as response:
                assert response.status == 200, await response.text()
                got = await response.json()
    assert (got["by"], got["body"]) == ("k1", body)


async def test_a_request_that_was_seen_is_refused_when_it_is_sent_again(serve):
    server = await serve()
    signer = RequestSigner("k1", lambda: KEYS, audience="games")
    headers = {HEADER: signer.sign(Request("GET", "/echo/a"))}
    async with ClientSession() as session:
        async with session.get(server.make_url("/echo/a"), headers=headers) as response:
            assert response.status == 200
        async with session.get(server.make_url("/echo/a"), headers=headers) as response:
            assert response.status == 401
            assert (await response.json())["error"] == "replayed"


@pytest.mark.parametrize("how", ["unsigned", "other key", "other body"])
async def test_others_are_refused(serve, how):
    server = await serve()
    url = server.make_url("/echo/a")
    signer = RequestSigner("k1", lambda: KEYS, audience="games")
    other = RequestSigner("k1", lambda: {"k1": bytes(32)}, audience="games")
    headers = {
        "unsigned": {},
        "other key": {HEADER: other.sign(Request("POST", "/echo/a", "", b"x"))},
        "other body": {HEADER: signer.sign(Request("POST", "/echo/a", "", b"y"))},
    }[how]
    async with (
        ClientSession() as session,
        session.post(url, data=b"x", headers=headers) as response,
    ):
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == HEADER
        error = "missing" if how == "unsigned" else "signature"
        assert (await response.json())["error"] == error


async def test_nothing_goes_through_while_nonces_cannot_be_checked(serve):
    server = await serve(nonces=Broken())
    async with (
        session_for(server) as session,
        session.get(server.make_url("/echo/a")) as response,
    ):
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"


async def test_a_redirect_takes_no_signature_elsewhere(serve):
    server, stranger = await serve(), await serve(checked=False)
    to = str(stranger.make_url("/headers"))
    async with session_for(server) as session:
        url = server.make_url("/redirect").with_query(to=to)
        async with session.get(url) as response:
            assert response.url == stranger.make_url("/headers")
            headers = json.loads(await response.text())
    assert HEADER not in headers
