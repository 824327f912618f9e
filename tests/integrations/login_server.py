"""An authorization server on loopback with the device grant of RFC 8628; it rotates and refuses."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.integrations.jwks_server import SigningKey

CLIENT = "playcast-desktop"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class LoginServer:
    """What it answers can be changed at any time. One login at a time."""

    def __init__(self) -> None:
        self.key = SigningKey("login-1")
        self.url = ""
        self.metadata: dict[str, Any] = {}
        """Changes to what it says of itself."""
        self.device_answer: dict[str, Any] = {}
        """Changes to its answer of a code."""
        self.token_answer: dict[str, Any] = {}
        """Changes to its answers of tokens."""
        self.verdicts: list[str] = []
        """What the next polls are told; then ``authorized``. ``down``: status 503."""
        self.asked: list[dict[str, str]] = []
        """The forms that came to the token endpoint."""
        self.lifetime_s = 300
        self.refresh_token = ""
        self.revoked: list[str] = []
        self.arrivals = asyncio.Semaphore(0)
        """Acquired once for each token that is on its way."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.redirected = ""
        """The path that answers with a redirect."""
        self.serial = 0

    @property
    def issuer(self) -> str:
        return self.url

    async def describe(self, request: web.Request) -> web.Response:
        said = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.url}/keys",
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint": f"{self.url}/token",
            "revocation_endpoint": f"{self.url}/revoke",
            **self.metadata,
        }
        return web.json_response({k: v for k, v in said.items() if v is not None})

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.jwk()]})

    async def device(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("client_id") != CLIENT:
            return web.json_response({"error": "invalid_client"}, status=401)
        answer = {
            "device_code": "device-code-1",
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.url}/activate",
            "verification_uri_complete": f"{self.url}/activate?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": 5,
            **self.device_answer,
        }
        return web.json_response({k: v for k, v in answer.items() if v is not None})

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        if form.get("client_id") != CLIENT:
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] == DEVICE_GRANT:
            verdict = self.verdicts.pop(0) if self.verdicts else "authorized"
            if verdict == "down":
                return web.Response(status=503)
            if verdict != "authorized" or form["device_code"] != "device-code-1":
                return web.json_response({"error": verdict}, status=400)
        elif form["refresh_token"] != self.refresh_token:
            # A second use of an old one: whoever has the new one may be a thief.
            self.refresh_token = ""
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.serial += 1
        self.refresh_token = f"refresh-{self.serial}"
        self.arrivals.release()
        await self.gate.wait()
        answer = {
            "access_token": self.mint(),
            "id_token": self.mint(aud=CLIENT),
            "refresh_token": self.refresh_token,
            "token_type": "Bearer",
            "expires_in": self.lifetime_s,
            **self.token_answer,
        }
        return web.json_response({k: v for k, v in answer.items() if v is not None})

    @web.middleware
    async def redirect(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == self.redirected:
            raise web.HTTPTemporaryRedirect(f"{self.url}/elsewhere{request.path}")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def revoke(self, request: web.Request) -> web.Response:
        self.revoked.append(str((await request.post())["token"]))
        return web.Response()

    def mint(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "playcast",
            "azp": CLIENT,
            "sub": "ann",
            "iat": now,
            "exp": now + self.lifetime_s,
            "jti": str(self.serial),
            "role": "host",
            "room": "*",
            **changes,
        }
        return self.key.sign(claims)


@asynccontextmanager
async def login_server() -> AsyncIterator[LoginServer]:
    server = LoginServer()
    app = web.Application(middlewares=[server.redirect])
    app.router.add_get("/.well-known/openid-configuration", server.describe)
    app.router.add_get("/keys", server.keys)
    for prefix in ("", "/elsewhere"):
        app.router.add_post(f"{prefix}/device", server.device)
        app.router.add_post(f"{prefix}/token", server.token)
    app.router.add_post("/revoke", server.revoke)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()
