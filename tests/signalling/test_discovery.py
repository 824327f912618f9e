import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from signalling.auth import KeysUnavailable, TokenError, Verifier, VerifierSettings
from signalling.dev import DevIssuer
from signalling.discovery import METADATA_LIFETIME_S, discovered_keys, issuer_metadata
from signalling.jwks import parse_jwks
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from tests.integrations.jwks_server import SigningKey
from tests.signalling.wire import until

ISSUER = DevIssuer.generate()
KIDS = set(parse_jwks(json.dumps(ISSUER.jwks()).encode()))


class Site:
    """An issuer at ``/realms/play``; what it says can be changed, and what is asked is noted."""

    def __init__(self):
        self.changes = {}
        self.keys_path = "/keys"
        self.status = 200
        self.jwks = ISSUER.jwks()
        self.asked = []
        self.url = ""

    @property
    def issuer(self):
        return f"{self.url}/realms/play"

    async def answer(self, request):
        self.asked.append(request.path)
        if request.path == "/realms/play/.well-known/openid-configuration":
            if self.status == 302:
                raise web.HTTPFound("/elsewhere")
            said = {"issuer": self.issuer, "jwks_uri": self.url + self.keys_path, **self.changes}
            return web.json_response(said, status=self.status)
        if request.path == self.keys_path:
            return web.json_response(self.jwks)
        return web.Response(status=404)


@asynccontextmanager
async def serving(answer):
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def site():
    site = Site()
    async with serving(site.answer) as site.url:
        yield site


async def test_an_issuer_says_where_its_keys_are_and_is_asked_once_a_day(site):
    now = 0.0
    source = discovered_keys(site.issuer, clock=lambda: now)
    for _ in range(3):
        assert set(parse_jwks(await source())) == KIDS
    assert site.asked == ["/realms/play/.well-known/openid-configuration", *["/keys"] * 3]
    now = METADATA_LIFETIME_S
    await source()
    now += 1.0
    await source()
    assert len(site.asked) == 7


async def test_a_server_asks_the_issuer_before_any_client_comes(site):
    """And the first client's token is verified by what was fetched then."""
    verifier = Verifier(VerifierSettings(issuer=site.issuer, audience="play"))
    async with SignallingServer(SignallingSettings(verifier=verifier, port=0)):
        assert verifier.missing
        await until(lambda: not verifier.missing)
        with pytest.raises(TokenError, match="another issuer"):
            await verifier.verify(ISSUER.mint("me", "doom", "viewer"))
    assert site.asked == ["/realms/play/.well-known/openid-configuration", "/keys"]
    await verifier.close()


async def test_keys_that_have_moved_are_found_at_the_next_try(site):
    source = discovered_keys(site.issuer)
    await source()
    site.keys_path = "/new-keys"
    with pytest.raises(KeysUnavailable, match="404"):
        await source()
    assert set(parse_jwks(await source())) == KIDS


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": None}, "there is none"),
        ({"jwks_uri": 7}, "there is none"),
        ({"jwks_uri": "http://192.0.2.1/keys"}, "https"),
        ({"jwks_uri": "file:///etc/passwd"}, "https"),
        ({"jwks_uri": "https://["}, "not a URL"),
        ({"jwks_uri": "https:///keys"}, "https"),
        ({"padding": "x" * 300_000}, "more than"),
    ],
)
async def test_a_document_that_does_not_fit_is_refused(site, changes, says):
    site.changes = changes
    with pytest.raises(KeysUnavailable, match=says):
        await discovered_keys(site.issuer)()


async def test_the_issuers_name_counts_to_the_last_slash(site):
    with pytest.raises(KeysUnavailable, match="another issuer"):
        await issuer_metadata(site.issuer + "/")
    site.changes = {"issuer": site.issuer + "/"}
    assert (await issuer_metadata(site.issuer + "/"))["jwks_uri"] == site.url + "/keys"


@pytest.mark.parametrize(("status", "says"), [(302, "answered 302"), (500, "answered 500")])
async def test_neither_redirects_nor_errors_are_followed(site, status, says):
    site.status = status
    with pytest.raises(KeysUnavailable, match=says):
        await discovered_keys(site.issuer)()
    assert len(site.asked) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":' * 50_000])
async def test_what_is_no_document_is_refused(body):
    async def answer(request):
        return web.Response(body=body)

    async with serving(answer) as url:
        with pytest.raises(KeysUnavailable, match="no JSON object"):
            await issuer_metadata(url)


@pytest.mark.parametrize("issuer", ["http://login.example", "login.example", "", "https://", "x:"])
def test_an_issuer_that_cannot_be_asked_in_safety_is_misuse(issuer):
    with pytest.raises(ValueError, match="issuer"):
        discovered_keys(issuer)


async def test_an_issuer_alone_is_enough_to_verify_its_tokens(site):
    key = SigningKey("k1")
    site.jwks = {"keys": [key.jwk()]}
    verifier = Verifier(VerifierSettings(issuer=site.issuer, audience="playcast"))
    claims = {
        "iss": site.issuer,
        "aud": "playcast",
        "sub": "ann",
        "iat": 1_700_000_000,
        "exp": 4_000_000_000,
        "room": "den",
        "role": "player",
    }
    assert (await verifier.verify(key.sign(claims))).role_for("den", "viewer") == "player"
    await verifier.close()
