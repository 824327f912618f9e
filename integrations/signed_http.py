"""Signed requests over aiohttp: a middleware for clients, one for servers.

::

    async with ClientSession(middlewares=[signing(signer, "https://games.example")]) as session: ...
    app = web.Application(middlewares=[verifying(verifier)])
"""

from __future__ import annotations

import logging

from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse, web
from aiohttp.payload import Payload
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from .request_signing import (
    HEADER,
    NoncesUnavailable,
    Request,
    RequestSigner,
    RequestVerifier,
    SignatureRefused,
)

log = logging.getLogger(__name__)

SIGNED_BY = web.RequestKey("signed_by", str)
"""Where a handler finds the id of the key that signed its request."""


def signing(signer: RequestSigner, origin: str) -> ClientMiddlewareType:
    """A client's middleware: signs what goes to ``origin``, and nothing else.

    A redirect to somewhere else is followed without a signature. Each attempt is signed anew.
    """
    ours = URL(origin).origin()

    async def sign(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        if request.url.origin() == ours:
            body = await request.body.as_bytes() if isinstance(request.body, Payload) else b""
            url = request.url
            signed = Request(request.method, url.raw_path, url.raw_query_string, body)
            request.headers[HEADER] = signer.sign(signed)
        return await send(request)

    return sign


def verifying(verifier: RequestVerifier) -> Middleware:
    """A server's middleware: lets signed requests through alone.

    Others get 401, and 503 while it cannot be told whether a request came before. Bodies are read
    whole, up to the application's ``client_max_size``.
    """

    @web.middleware
    async def verify(request: web.Request, handler: Handler) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        received = Request(request.method, path, query, await request.read())
        try:
            request[SIGNED_BY] = await verifier.verify(received, request.headers.get(HEADER))
        except SignatureRefused as refusal:
            log.warning("A request to %s is refused: %s", path, refusal)
            body = {"error": refusal.reason, "message": str(refusal)}
            return web.json_response(body, status=401, headers={"WWW-Authenticate": HEADER})
        except NoncesUnavailable as error:
            log.warning("A signed request to %s cannot be checked: %s", path, error)
            body = {"error": "unavailable", "message": "try again"}
            return web.json_response(body, status=503, headers={"Retry-After": "1"})
        return await handler(request)

    return verify
