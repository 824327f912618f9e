"""What it costs to verify a token, and what a fetch of keys costs everybody else."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from integrations.clerk import ClerkSettings, ClerkVerifier
from signalling.auth import AccessRules, Verifier, VerifierSettings
from signalling.invites import Invitations
from signalling.jwks import KeySet, key_source

ROUNDS = 15
ROUND = 500  # tokens
PARTY = "https://play.example"
CLERK_HOST = "clerk.play.example"
ISSUER = "https://login.example"
FETCH_S = 1.0


@dataclass(frozen=True)
class TokenCosts:
    """Medians over rounds."""

    clerk_us: float
    """A Clerk session token, version 2, with an organization."""

    issuer_us: float
    """A token of any OpenID Connect issuer."""

    invitation_us: float

    fetch_s: float
    """How long the issuer let the fetch of its keys wait, in seconds."""

    longest_pause_ms: float
    """The longest that the event loop did nothing else meanwhile."""


async def token_costs() -> TokenCosts:
    """Measure them: some seconds."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    document = json.dumps({"keys": [_jwk(key)]}).encode()

    async def source() -> bytes:
        return document

    clerk = ClerkVerifier(
        ClerkSettings(
            publishable_key="pk_live_" + base64.b64encode(f"{CLERK_HOST}$".encode()).decode(),
            authorized_parties=frozenset({PARTY}),
            organizations=frozenset({"org_1"}),
            access=AccessRules(
                host_roles=frozenset({"org:streams:host"}), viewer_roles=None, any_room=True
            ),
        ),
        keys=KeySet(source),
    )
    issuer = Verifier(
        VerifierSettings(issuer=ISSUER, audience="playcast"),
        keys=KeySet(source),
    )
    invitations = Invitations()
    invitation, _ = invitations.make("arena", "player", 3600.0, "ann")

    async def invited() -> None:
        invitations.verify(invitation)

    clerk_token, issuer_token = _clerk_token(key), _issuer_token(key)
    return TokenCosts(
        clerk_us=await _median_us(lambda: clerk.verify(clerk_token)),
        issuer_us=await _median_us(lambda: issuer.verify(issuer_token)),
        invitation_us=await _median_us(invited),
        fetch_s=FETCH_S,
        longest_pause_ms=await _longest_pause_ms(document),
    )


async def _median_us(verify: Callable[[], Awaitable[Any]]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(ROUND):
            await verify()
        rounds.append((time.perf_counter() - started) / ROUND * 1e6)
        await asyncio.sleep(0)
    return statistics.median(rounds)


async def _longest_pause_ms(document: bytes) -> float:
    """Fetch keys from an issuer that takes its time, and see how long nothing else is done."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(FETCH_S)
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        keys = KeySet(key_source(f"http://127.0.0.1:{server.server_port}/jwks"))
        fetching = asyncio.create_task(keys.get("bench"))
        longest, last = 0.0, time.perf_counter()
        while not fetching.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        await fetching
        return longest * 1e3
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": "bench", "use": "sig", "alg": "RS256"}


def _clerk_token(key: rsa.RSAPrivateKey) -> str:
    now = int(time.time())
    claims = {
        "azp": PARTY,
        "exp": now + 3600,
        "fea": "o:streams,u:profile,o:chat",
        "fva": [3, -1],
        "iat": now,
        "iss": f"https://{CLERK_HOST}",
        "jti": "d2a3f1",
        "nbf": now - 10,
        "o": {"id": "org_1", "slg": "friends", "rol": "admin", "per": "read,host", "fpm": "3,1"},
        "sid": "sess_1",
        "sts": "active",
        "sub": "user_1",
        "v": 2,
    }
    return jwt.encode(claims, key, "RS256", headers={"kid": "bench"})


def _issuer_token(key: rsa.RSAPrivateKey) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "playcast",
        "sub": "ann",
        "iat": now,
        "exp": now + 3600,
        "room": "arena",
        "role": "player",
        "name": "Ann",
    }
    return jwt.encode(claims, key, "RS256", headers={"kid": "bench"})
