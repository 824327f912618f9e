"""Clerk's session tokens: claims of both versions, good and bad tokens, and Clerk's own verdict."""

import asyncio
import base64
import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from integrations.clerk import (
    ClerkSettings,
    ClerkVerifier,
    Organization,
    host_of_publishable_key,
    organization_of,
)
from signalling.auth import (
    AccessRules,
    KeysUnavailable,
    NotPermitted,
    TokenError,
    TokenExpired,
)
from signalling.jwks import KeySet, key_source
from tests.integrations.jwks_server import SigningKey, jwks_server
from tests.integrations.node_package import node_package

PARTY = "https://play.example"
HOST = "clerk.play.example"
KEY, OTHER_KEY = SigningKey("ins_1"), SigningKey("ins_2")
REMOVED = object()


def publishable_key(host: str = HOST, kind: str = "live") -> str:
    return f"pk_{kind}_{base64.b64encode(f'{host}$'.encode()).decode()}"


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a version 2 token as Clerk makes them, without an organization."""
    now = int(time.time())
    everything = {
        "azp": PARTY,
        "exp": now + 60,
        "fva": [3, -1],
        "iat": now,
        "iss": f"https://{HOST}",
        "jti": "d2a3f1",
        "nbf": now - 10,
        "sid": "sess_1",
        "sts": "active",
        "sub": "user_1",
        "v": 2,
        **changes,
    }
    return {name: value for name, value in everything.items() if value is not REMOVED}


V1 = {"v": REMOVED, "sts": REMOVED, "fva": REMOVED, "jti": REMOVED}
ORGANIZATION = {"id": "org_1", "slg": "friends", "rol": "admin", "per": "read,host", "fpm": "3,1"}
FEATURES = "o:streams,u:profile,o:chat"


def settings(**changes: Any) -> ClerkSettings:
    return ClerkSettings(
        **{
            "publishable_key": publishable_key(),
            "authorized_parties": frozenset({PARTY}),
            **changes,
        }
    )


def verifier(**changes: Any) -> ClerkVerifier:
    async def source() -> bytes:
        return json.dumps({"keys": [KEY.jwk()]}).encode()

    return ClerkVerifier(settings(**changes), keys=KeySet(source))


# Publishable keys and settings ------------------------------------------------------------------


def test_a_publishable_key_says_which_instance_issues() -> None:
    # Of Clerk's documentation.
    assert (
        host_of_publishable_key("pk_test_Y2xlcmsuaW5jbHVkZWQua2F0eWRpZC05Mi5sY2wuZGV2JA")
        == "clerk.included.katydid-92.lcl.dev"
    )
    for kind in ("test", "live"):
        for host in ("clerk.play.example", "a-b-12.clerk.accounts.dev", "x.example"):
            for key in (publishable_key(host, kind), publishable_key(host, kind).rstrip("=")):
                found = settings(publishable_key=key)
                assert found.issuer == f"https://{host}"
                assert found.tokens().jwks == f"https://{host}/.well-known/jwks.json"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"publishable_key": ""}, "pk_live"),
        ({"publishable_key": "sk_live_abc"}, "is a secret"),
        ({"publishable_key": "pk_live_"}, "pk_live"),
        ({"publishable_key": "pk_prod_eCQ="}, "pk_live"),
        ({"publishable_key": publishable_key()[:-6]}, "cut short"),
        ({"publishable_key": publishable_key("evil.example/x")}, "names no Clerk instance"),
        ({"publishable_key": publishable_key("a@evil.example")}, "names no Clerk instance"),
        ({"publishable_key": publishable_key("evil.example:1")}, "names no Clerk instance"),
        ({"publishable_key": publishable_key("é.example")}, "names no Clerk instance"),
        ({"publishable_key": publishable_key("localhost")}, "names no Clerk instance"),
        ({"authorized_parties": frozenset()}, "at least one"),
        ({"authorized_parties": frozenset({"play.example"})}, "not an origin"),
        ({"authorized_parties": frozenset({PARTY + "/"})}, "not an origin"),
        ({"authorized_parties": frozenset({"https://["})}, "not an origin"),
        ({"access": AccessRules(host_roles=frozenset({"org:admin"}))}, "organizations"),
        ({"organizations": frozenset({""})}, "organizations"),
        ({"leeway_s": -1.0}, "leeway_s"),
        ({"leeway_s": float("nan")}, "leeway_s"),
    ],
)
def test_settings_that_make_no_sense_are_misuse(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        settings(**changes)
    assert "sk_live_abc" not in str(caught.value)


# Good and bad tokens, ours and Clerk's verdict -------------------------------------------------


@dataclass
class In:
    """So many seconds from the moment in which the token is made."""

    seconds: int


@dataclass
class Case:
    """One token. ``says``: why we refuse it, ``None`` when we do not; ``stricter``: Clerk's own
    library, which looks neither at issuers, sessions nor status, takes it."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    says: str | None = None
    stricter: bool = False
    key: SigningKey = KEY
    header: dict[str, Any] = field(default_factory=dict)

    def token(self) -> str:
        now = int(time.time())
        changes = {
            name: now + value.seconds if isinstance(value, In) else value
            for name, value in self.changes.items()
        }
        payload = json.dumps(claims(**changes)).encode()
        # Not by a JWT library: it refuses to make some of these.
        header = {"alg": "RS256", "kid": KEY.kid, "typ": "JWT", **self.header}
        header = {name: value for name, value in header.items() if value is not REMOVED}
        parts = [base64url(json.dumps(header).encode()), base64url(payload)]
        signed = ".".join(parts)
        return f"{signed}.{base64url(rs256(self.key, signed.encode()))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rs256(key: SigningKey, data: bytes) -> bytes:
    return key.private.sign(data, PKCS1v15(), SHA256())


CASES = [
    Case("v2"),
    Case("v1", V1),
    Case("v1, numbered", {**V1, "v": 1}),
    Case("v2 with an organization", {"o": ORGANIZATION, "fea": FEATURES}),
    Case("v2, a member without permissions", {"o": {"id": "org_1", "slg": "f", "rol": "member"}}),
    Case("v2, masks of nothing", {"o": {**ORGANIZATION, "fpm": "0,0"}, "fea": FEATURES}),
    Case("v2, fewer masks than features", {"o": {**ORGANIZATION, "fpm": "2"}, "fea": FEATURES}),
    Case("v2, a mask of too many bits", {"o": {**ORGANIZATION, "fpm": "255,4"}, "fea": FEATURES}),
    Case("v2, a mask that is none", {"o": {**ORGANIZATION, "fpm": "-1,x"}, "fea": FEATURES}),
    Case("v2, a digit of another script", {"o": {**ORGANIZATION, "fpm": "٣,1"}, "fea": FEATURES}),
    Case(
        "v2, spaces and features of both",
        {
            "o": {**ORGANIZATION, "per": "read, host", "fpm": "1, 2,3"},
            "fea": "u:a, ou:b,uo:c,o:d,x:e",
        },
    ),
    Case("v2, no features", {"o": ORGANIZATION}),
    Case(
        "v1 with an organization",
        {
            **V1,
            "org_id": "org_1",
            "org_slug": "friends",
            "org_role": "org:admin",
            "org_permissions": ["org:streams:host"],
        },
    ),
    Case("v2, claims of v1 count for nothing", {"org_id": "org_9", "org_role": "org:admin"}),
    Case("v1, claims of v2 count for nothing", {**V1, "o": ORGANIZATION, "fea": FEATURES}),
    Case("no type", header={"typ": REMOVED}),
    Case("a little early", {"nbf": In(3), "iat": In(3), "exp": In(600)}),
    Case("another key", key=OTHER_KEY, says="signature"),
    Case("expired", {"exp": In(-60)}, "expired"),
    Case("no end", {"exp": REMOVED}, "lacks"),
    Case("an end in words", {"exp": "soon"}, "not valid"),
    Case("an end in digits", {"exp": "4102444800"}, "not a time"),
    Case("not yet", {"nbf": In(600), "exp": In(700)}, "not valid yet"),
    Case("from the future", {"iat": In(600), "exp": In(700)}, "not valid yet"),
    Case("another type", header={"typ": "at+jwt"}, says="type"),
    Case("another algorithm", header={"alg": "HS256"}, says="RS256"),
    Case("no algorithm", header={"alg": "none"}, says="RS256"),
    Case("an algorithm of the same key", header={"alg": "RS512"}, says="RS256"),
    Case("another party", {"azp": "https://evil.example"}, "azp"),
    Case("a party by its beginning", {"azp": PARTY + ".evil.example"}, "azp"),
    Case("no party", {"azp": REMOVED}, "azp"),
    Case("an empty party", {"azp": ""}, "azp"),
    Case("nobody", {"sub": REMOVED}, "lacks"),
    Case("a number for a user", {"sub": 1}, "nobody"),
    Case("another instance", {"iss": "https://clerk.evil.example"}, "issuer", stricter=True),
    Case("no issuer", {"iss": REMOVED}, "lacks", stricter=True),
    Case("an issuer with a slash", {"iss": f"https://{HOST}/"}, "issuer", stricter=True),
    Case("a pending session", {"sts": "pending"}, "not active", stricter=True),
    Case("no status in v2", {"sts": REMOVED}, "not active", stricter=True),
    Case("v1, pending", {**V1, "sts": "pending"}, "not active", stricter=True),
    Case("no session", {"sid": REMOVED}, "lacks", stricter=True),
    Case("an empty session", {"sid": ""}, "no session", stricter=True),
    Case("an empty user", {"sub": ""}, "nobody", stricter=True),
    Case("no start", {"nbf": REMOVED}, "lacks", stricter=True),
    Case("no time of issue", {"iat": REMOVED}, "lacks", stricter=True),
    Case("an unknown version", {"v": 3}, "version", stricter=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_token_is_taken_or_refused_in_words(case: Case) -> None:
    token = case.token()
    if case.says is None:
        identity = await verifier().verify(token)
        assert (identity.subject, identity.room, identity.roles) == ("user_1", "*", {"viewer"})
        payload = token.split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert identity.expires_at == told["exp"] + 5.0
        return
    with pytest.raises(TokenError, match=case.says) as caught:
        await verifier().verify(token)
    assert (caught.type is TokenExpired) == (case.name == "expired")
    assert not any(part in str(caught.value) for part in token.split("."))


@pytest.fixture(scope="module")
def clerk_backend() -> Path:
    """The script that asks @clerk/backend."""
    return node_package(
        "clerk-backend", "@clerk/backend@^3.25.0", Path(__file__).parent / "clerk_verify.mjs"
    )


def test_clerks_own_library_agrees(clerk_backend: Path) -> None:
    """Whatever we take it takes, and reads the same in it; what it takes and we refuse is known."""
    pem = KEY.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    memberships = [Case(f"as {case.name}", case.changes) for case in MEMBERSHIPS]
    asked = {
        "key": pem.decode(),
        "parties": [PARTY],
        "tokens": {case.name: case.token() for case in [*CASES, *memberships]},
    }
    done = subprocess.run(
        ["node", clerk_backend], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    theirs = json.loads(done.stdout)
    for case in [*CASES, *memberships]:
        verdict = theirs[case.name]
        taken = case.says is None or case.stricter
        assert ("error" not in verdict) == taken, (case.name, verdict)
        if case.says is None:
            assert verdict["sub"] == "user_1"
            ours = organization_of(claims(**case.changes))
            assert _as_theirs(ours) == verdict["organization"], case.name


def _as_theirs(organization: Organization | None) -> list[Any] | None:
    if organization is None:
        return None
    role = f"org:{organization.role}" if organization.role else ""
    return [organization.id, organization.slug, role, sorted(organization.permissions)]


# Organizations, roles, addresses ---------------------------------------------------------------


def test_a_mask_has_a_bit_for_each_permission() -> None:
    found = organization_of(claims(o=ORGANIZATION, fea=FEATURES))
    assert found is not None
    assert found.permissions == {"org:streams:read", "org:streams:host", "org:chat:read"}
    assert (found.id, found.slug, found.role) == ("org_1", "friends", "admin")


@pytest.mark.parametrize(
    "changes",
    [
        {"o": "org_1"},
        {"o": {"id": 7}},
        {"o": {**ORGANIZATION, "fpm": 3}},
        {"o": ORGANIZATION, "fea": ["o:streams"]},
        {**V1, "org_id": "org_1", "org_permissions": "org:streams:host"},
        {**V1, "org_id": "org_1", "org_permissions": [7]},
        {**V1, "org_id": ["org_1"]},
        {"v": "2"},
        {"v": None},
    ],
)
def test_an_organization_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        organization_of(claims(**changes))


ROLES = AccessRules(
    admin_roles=frozenset({"org:admin", "admin"}),
    host_roles=frozenset({"org:admin", "org:streams:host", "host"}),
    moderator_roles=frozenset({"org:chat:moderate", "moderator"}),
    player_roles=frozenset({"org:member", "org:streams:play"}),
    viewer_roles=None,
    subscriber_roles=frozenset({"org:chat:read"}),
    any_room=True,
)
TEAM = {"id": "org_1", "slg": "friends", "rol": "member", "per": "read,moderate,play", "fpm": "4,3"}


@dataclass
class Membership:
    """What claims make of someone besides a viewer, where ``organizations`` count."""

    name: str
    changes: dict[str, Any]
    roles: set[str]
    organizations: frozenset[str] = frozenset({"org_1"})
    marks: set[str] = field(default_factory=set)


ADMIN = {"o": ORGANIZATION, "fea": FEATURES}
MEMBERSHIPS = [
    Membership("nobody in particular", {}, set()),
    Membership("an admin, by id", ADMIN, {"admin", "host"}, marks={"subscriber"}),
    Membership(
        "an admin, by slug", ADMIN, {"admin", "host"}, frozenset({"friends"}), {"subscriber"}
    ),
    Membership("an admin, of any", ADMIN, {"admin", "host"}, frozenset({"*"}), {"subscriber"}),
    Membership("an admin elsewhere", ADMIN, set(), frozenset({"org_2"})),
    Membership(
        "a stranger whose slug is our id",
        {"o": {**ORGANIZATION, "id": "org_9", "slg": "org_1"}},
        set(),
    ),
    Membership(
        "a member by permissions",
        {"o": TEAM, "fea": FEATURES},
        {"player", "moderator"},
        marks={"subscriber"},
    ),
    Membership(
        "a member whose masks are swapped",
        {"o": {**TEAM, "fpm": "3,4"}, "fea": FEATURES},
        {"player"},
    ),
    Membership(
        "a permission of a role that is not named",
        {"o": {**TEAM, "rol": "guest"}, "fea": FEATURES},
        {"player", "moderator"},
        marks={"subscriber"},
    ),
    Membership(
        "a user's feature has no mask",
        {"o": {**TEAM, "rol": "guest"}, "fea": "u:streams,o:chat"},
        set(),
    ),
    Membership(
        "v1, an admin", {**V1, "org_id": "org_1", "org_role": "org:admin"}, {"admin", "host"}
    ),
    Membership("v1, an admin elsewhere", {**V1, "org_id": "org_2", "org_role": "org:admin"}, set()),
    Membership(
        "v1, permissions",
        {**V1, "org_id": "org_1", "org_role": "org:x", "org_permissions": ["org:chat:moderate"]},
        {"moderator"},
    ),
    Membership("a custom claim", {"role": "host"}, {"host"}),
    Membership("custom claims", {"role": ["moderator", "player", "admin"]}, {"moderator", "admin"}),
    Membership("a custom claim that would be an organization's", {"role": "org:admin"}, set()),
    Membership("and permissions", {"role": ["org:chat:moderate", "org:streams:play"]}, set()),
    Membership(
        "both", {**ADMIN, "role": "moderator"}, {"admin", "host", "moderator"}, marks={"subscriber"}
    ),
]


@pytest.mark.parametrize("case", MEMBERSHIPS, ids=lambda case: case.name)
async def test_organizations_and_custom_claims_make_roles(case: Membership) -> None:
    judge = verifier(organizations=case.organizations, access=ROLES)
    identity = await judge.verify(KEY.sign(claims(**case.changes)))
    assert identity.roles == case.roles | {"viewer"}
    assert identity.marks == case.marks


async def test_a_name_is_a_custom_claim() -> None:
    assert (await verifier().verify(KEY.sign(claims(name="Ann")))).name == "Ann"
    assert (await verifier().verify(KEY.sign(claims()))).name == ""


@pytest.mark.parametrize(
    ("changes", "enters"),
    [
        ({"email": "ann@Studio.example", "email_verified": True}, True),
        ({"email": '"a@b"@studio.example', "email_verified": True}, True),
        ({"email": "ann@studio.example", "email_verified": False}, False),
        ({"email": "ann@studio.example", "email_verified": "true"}, False),
        ({"email": "ann@studio.example"}, False),
        ({"email": "ann@studio.example.evil", "email_verified": True}, False),
        ({"email": "ann@x.studio.example", "email_verified": True}, False),
        ({"email": "studio.example", "email_verified": True}, False),
        ({"email": "@studio.example", "email_verified": True}, False),
        ({"email": ["ann@studio.example"], "email_verified": True}, False),
        ({"email_verified": True}, False),
    ],
)
async def test_a_domain_needs_a_verified_address(changes: dict[str, Any], enters: bool) -> None:
    domains = frozenset({"studio.example", "other.example"})
    judge = verifier(
        access=AccessRules(viewer_roles=None, any_room=True, email_domains=domains),
    )
    token = KEY.sign(claims(**changes))
    if enters:
        assert (await judge.verify(token)).roles == {"viewer"}
    else:
        with pytest.raises(NotPermitted, match="verified e-mail"):
            await judge.verify(token)


async def test_a_room_in_the_token_is_the_only_one() -> None:
    identity = await verifier().verify(KEY.sign(claims(room="den")))
    assert identity.role_for("den", "viewer") == "viewer"
    assert identity.role_for("arena", "viewer") is None
    assert identity.marks == {"link"}
    with pytest.raises(TokenError, match="room"):
        await verifier().verify(KEY.sign(claims(room=["den"])))


async def test_a_desktop_hosts_token_without_a_party_is_a_setting() -> None:
    judge = verifier(party_required=False)
    await judge.verify(KEY.sign(claims(azp=REMOVED)))
    for party in ("https://evil.example", "", 7, [PARTY]):
        with pytest.raises(TokenError, match="azp"):
            await judge.verify(KEY.sign(claims(azp=party)))


# Keys over the network --------------------------------------------------------------------------


async def test_keys_rotate_and_an_outage_harms_nobody() -> None:
    old, new = SigningKey("old"), SigningKey("new")
    async with jwks_server(old) as server:
        judge = ClerkVerifier(settings(jwks=server.url, keys_lifetime_s=0.0, keys_cooldown_s=0.0))
        tokens = [old.sign(claims(sub=f"user_{number}")) for number in range(20)]
        server.gate.clear()
        asking = asyncio.gather(*(judge.verify(token) for token in tokens))
        await server.arrivals.acquire()
        server.gate.set()
        assert {found.subject for found in await asking} == {f"user_{n}" for n in range(20)}
        assert server.asked == 1  # the first fetch was everybody's

        server.down = True
        for _ in range(3):
            await judge.verify(old.sign(claims()))
        with pytest.raises(KeysUnavailable, match="503"):
            await judge.verify(new.sign(claims()))

        server.down, server.keys = False, [new]
        await judge.verify(new.sign(claims()))
        with pytest.raises(TokenError, match="no key"):
            await judge.verify(old.sign(claims()))
        await judge.close()


async def test_a_known_key_does_not_wait_for_an_issuer_that_hangs() -> None:
    now = 1000.0
    async with jwks_server(KEY) as server:
        keys = KeySet(key_source(server.url), lifetime_s=100.0, cooldown_s=10.0, clock=lambda: now)
        judge = ClerkVerifier(settings(), keys=keys)
        token = KEY.sign(claims())
        await judge.verify(token)
        server.gate.clear()
        now += 150.0
        async with asyncio.timeout(4):  # less than a fetch may take
            await judge.verify(token)
        for _ in range(2):
            await server.arrivals.acquire()
        now += 150.0
        waits = asyncio.create_task(judge.verify(token))  # nobody has asked for too long
        await asyncio.sleep(0)
        assert not waits.done()
        server.gate.set()
        await waits
        await judge.close()


async def test_without_keys_it_cannot_tell_and_recovers() -> None:
    async with jwks_server(KEY) as server:
        server.down = True
        judge = ClerkVerifier(settings(jwks=server.url, keys_cooldown_s=0.0))
        with pytest.raises(KeysUnavailable, match="503"):
            await judge.verify(KEY.sign(claims()))
        server.down = False
        await judge.verify(KEY.sign(claims()))
        await judge.close()
