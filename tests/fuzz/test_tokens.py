"""Whatever a client shows is an identity or a :class:`TokenError`, and nothing else happens."""

import asyncio
import base64
import hmac
import json
import time
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as some

from integrations.clerk import ClerkSettings, ClerkVerifier
from signalling.auth import AccessRules, TokenError, Verifier, VerifierSettings
from signalling.identity import Identity, TokenVerifier
from signalling.invites import InvitationKey, Invitations, InvitationSettings, InvitedOrVerified
from signalling.jwks import KeySet
from tests.integrations.jwks_server import SigningKey

KEY = SigningKey("k")
SECRET = InvitationKey("i", b"s" * 32)
PARTY = "https://play.example"
HOST = "clerk.play.example"


async def _source() -> bytes:
    return json.dumps({"keys": [KEY.jwk()]}).encode()


def _verifiers() -> list[TokenVerifier]:
    access = AccessRules(viewer_roles=None, any_room=True)
    issuer = VerifierSettings(
        issuer=f"https://{HOST}", authorized_parties=frozenset({PARTY}), access=access
    )
    clerk = ClerkSettings(
        publishable_key="pk_live_" + base64.b64encode(f"{HOST}$".encode()).decode(),
        authorized_parties=frozenset({PARTY}),
        organizations=frozenset({"*"}),
        access=access,
    )
    invitations = Invitations(InvitationSettings(keys=(SECRET,)))
    return [
        InvitedOrVerified(Verifier(issuer, keys=KeySet(_source, cooldown_s=0.0)), invitations),
        ClerkVerifier(clerk, keys=KeySet(_source, cooldown_s=0.0)),
    ]


def judge(token: str) -> list[bool]:
    """Whether each verifier takes it."""

    async def all_of_them() -> list[bool]:
        taken = []
        for verifier in _verifiers():
            try:
                identity = await verifier.verify(token)
            except TokenError:
                taken.append(False)
            else:
                check(identity)
                taken.append(True)
            await verifier.close()
        return taken

    return asyncio.run(all_of_them())


def check(identity: Identity) -> None:
    assert identity.subject
    assert identity.room
    assert identity.roles <= {"admin", "host", "moderator", "player", "viewer"}
    assert len(identity.name) <= 64
    assert identity.name.isprintable()
    assert time.time() - 10 < identity.expires_at < 2**54


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: Any, claims: Any) -> str:
    parts = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{parts}.{encode(KEY.private.sign(parts.encode(), PKCS1v15(), SHA256()))}"


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [
    *("iss", "sub", "sid", "iat", "nbf", "exp", "azp", "sts", "v", "o", "fea"),
    *("org_id", "org_slug", "org_role", "org_permissions"),
    *("role", "room", "name", "email", "email_verified"),
]


@given(some.text(max_size=200) | some.text("abcdefXYZ019-_.", max_size=200))
@settings(max_examples=200, deadline=None)
def test_text(text: str) -> None:
    assert not any(judge(text))


@given(some.dictionaries(some.sampled_from(["alg", "kid", "typ", "crit", "b64"]), anything))
@settings(max_examples=100, deadline=None)
def test_headers_with_a_good_signature(changes: dict[str, Any]) -> None:
    now = int(time.time())
    claims = {"iss": f"https://{HOST}", "sub": "a", "iat": now, "exp": now + 60, "azp": PARTY}
    header = {"alg": "RS256", "kid": KEY.kid, **changes}
    if judge(signed(header, claims))[0]:
        assert header["alg"] == "RS256"
        assert header["kid"] == KEY.kid
        assert "crit" not in header


@given(some.dictionaries(some.sampled_from(NAMES), anything, max_size=4))
@settings(max_examples=300, deadline=None)
def test_claims_that_the_issuer_has_signed(changes: dict[str, Any]) -> None:
    now = int(time.time())
    good = {
        "iss": f"https://{HOST}",
        "sub": "user_1",
        "sid": "sess_1",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "azp": PARTY,
        "sts": "active",
        "v": 2,
    }
    claims = {**good, **changes}
    for taken in judge(signed({"alg": "RS256", "kid": KEY.kid}, claims)):
        if taken:
            assert (claims["iss"], claims["azp"]) == (f"https://{HOST}", PARTY)
            assert isinstance(claims["sub"], str)


@given(anything)
@settings(max_examples=200, deadline=None)
def test_invitations_that_the_key_has_signed(grant: Any) -> None:
    try:
        payload = msgspec.msgpack.encode(grant)
    except OverflowError:
        return  # a number that MessagePack has no form for
    text = f"invite.{SECRET.id}.{encode(payload)}"
    mac = encode(hmac.digest(SECRET.secret, text.encode(), "sha256")[:16])
    assert not any(judge(f"{text}.{mac}"))
