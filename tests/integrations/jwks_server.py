"""An issuer's key server on loopback: rotates, fails, is slow, counts who asks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa


class SigningKey:
    """A key of the issuer's."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": "RS256"}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, "RS256", headers={"kid": self.kid, **header})


class JwksServer:
    """What it answers can be changed at any time."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.down = False
        self.asked = 0
        self.arrivals = asyncio.Semaphore(0)
        """Acquired once for each request that has arrived."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.arrivals.release()
        await self.gate.wait()
        if self.down:
            return web.Response(status=503)
        return web.json_response({"keys": [key.jwk() for key in self.keys]})


@asynccontextmanager
async def jwks_server(*keys: SigningKey) -> AsyncIterator[JwksServer]:
    server = JwksServer(*keys)
    app = web.Application()
    app.router.add_get("/.well-known/jwks.json", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/.well-known/jwks.json"
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()
