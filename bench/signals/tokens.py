"""What it costs to verify what a client shows: a Clerk session's token, an invitation."""

from __future__ import annotations

import base64
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from integrations.clerk import ClerkSettings, ClerkVerifier
from signalling.auth import AccessRules
from signalling.invites import Invitations
from signalling.jwks import KeySet

ROUNDS = 500
PARTY = "https://play.example"
CLERK_HOST = "clerk.play.example"


async def clerk_verify_s() -> float:
    """Seconds for a session token of version 2 with an organization's permissions; the median."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    document = json.dumps({"keys": [{**jwk, "kid": "ins_1"}]}).encode()

    async def source() -> bytes:
        return document

    access = AccessRules(
        host_roles=frozenset({"org:streams:host"}), viewer_roles=None, any_room=True
    )
    settings = ClerkSettings(
        publishable_key="pk_live_" + base64.b64encode(f"{CLERK_HOST}$".encode()).decode(),
        authorized_parties=frozenset({PARTY}),
        organizations=frozenset({"org_1"}),
        access=access,
    )
    verifier = ClerkVerifier(settings, keys=KeySet(source))
    token = jwt.encode(_claims(), key, "RS256", headers={"kid": "ins_1"})
    try:
        return await _median_s(lambda: verifier.verify(token))
    finally:
        await verifier.close()


async def invitation_verify_s() -> float:
    """Seconds for an invitation; the median."""
    invitations = Invitations()
    token, _ = invitations.make("arena", "player", 3600.0, "ann")

    async def verify() -> None:
        invitations.verify(token)

    return await _median_s(verify)


async def _median_s(verify: Callable[[], Awaitable[Any]]) -> float:
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        await verify()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def _claims() -> dict[str, Any]:
    now = int(time.time())
    return {
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
