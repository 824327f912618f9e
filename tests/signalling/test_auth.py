import asyncio
import base64
import json
import random
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from signalling.auth import (
    AccessRules,
    Identity,
    KeysUnavailable,
    NotPermitted,
    TokenError,
    TokenExpired,
    Verifier,
    VerifierSettings,
)
from signalling.jwks import KeySet

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KID = "key-1"


def public_jwk():
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return {**jwk, "kid": KID, "use": "sig", "alg": "RS256"}


def claims(**changes):
    now = int(time.time())
    everything = {
        "iss": "https://issuer.example",
        "aud": "playcast",
        "azp": "https://play.example",
        "sub": "user-1",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "room": "doom",
        "role": "viewer",
        **changes,
    }
    return {name: value for name, value in everything.items() if value is not None}


def sign(payload, *, key=KEY, algorithm="RS256", headers=None):
    headers = {"kid": KID} if headers is None else headers
    return jwt.encode(payload, key, algorithm, headers=headers)


def sign_segments(header_segment, payload):
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    signing_input = f"{header_segment}.{body}"
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    signature = algorithm.sign(signing_input.encode(), KEY)
    return f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def raw(header, payload, signature=b"x"):
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.fixture
def make(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public_jwk()]}))

    def make(*, clock=time.time, **changes):
        options = {"issuer": "https://issuer.example", "audience": "playcast", **changes}
        return Verifier(VerifierSettings(jwks=path, **options), clock=clock)

    return make


async def test_a_good_token_gives_its_identity(make):
    payload = claims()
    identity = await make(leeway_s=3.0).verify(sign(payload))
    assert identity == Identity(
        "user-1", "doom", frozenset({"viewer"}), payload["exp"] + 3.0, frozenset({"link"})
    )


@pytest.mark.parametrize(
    ("room", "roles", "asked", "becomes"),
    [
        ("doom", "viewer", ("doom", "viewer"), "viewer"),
        ("doom", "host", ("doom", "host"), "host"),
        ("*", "host", ("doom", "host"), "host"),
        ("doom", "viewer", ("doom", "host"), None),
        ("doom", "host", ("doom", "viewer"), None),
        ("doom", "viewer", ("quake", "viewer"), None),
        ("*", "viewer", ("quake", "host"), None),
        ("doom", "viewer", ("*", "viewer"), None),
        ("doom", "viewer", ("doom2", "viewer"), None),
        ("doom", "viewer", ("doo", "viewer"), None),
        ("doom", "player", ("doom", "viewer"), "player"),
        ("doom", "moderator player viewer", ("doom", "viewer"), "moderator"),
        ("doom", "viewer host admin", ("doom", "viewer"), "admin"),
        ("doom", "viewer host admin", ("doom", "host"), "host"),
        ("doom", "admin moderator player viewer", ("doom", "host"), None),
        ("doom", "moderator player", ("doom", "player"), "player"),
        ("doom", "moderator", ("doom", "player"), None),
    ],
)
def test_who_comes_in_becomes_the_most_that_they_may_be_and_hosts_only_on_asking(
    room, roles, asked, becomes
):
    assert Identity("u", room, frozenset(roles.split()), 0.0).role_for(*asked) == becomes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": ["https://issuer.example"]}, "not valid"),
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
        ({"iat": int(time.time()) + 86_400}, "not valid yet"),
        ({"iss": None}, "lacks"),
        ({"sub": None}, "lacks"),
        ({"iat": None}, "lacks"),
        ({"exp": None}, "lacks"),
        ({"exp": "soon"}, "not valid"),
        ({"exp": [1]}, "not valid"),
        ({"exp": 10**400}, "exp is not a time"),
        ({"exp": float("nan")}, "malformed"),
        ({"exp": str(2**33)}, "exp is not a time"),
        ({"exp": True}, "exp is not a time"),
        ({"iat": True}, "iat is not a time"),
        ({"nbf": "0"}, "nbf is not a time"),
        ({"sub": ""}, "nobody"),
        ({"sub": "x" * 257}, "over 256 characters"),
        ({"sub": 7}, "nobody"),
        ({"aud": [["playcast"]]}, "audience"),
        ({"aud": {"playcast": 1}}, "audience"),
        ({"exp": -(10**400)}, "exp is not a time"),
        ({"exp": 1e300}, "exp is not a time"),
        ({"room": None}, "room"),
        ({"room": ""}, "room"),
        ({"room": ["doom"]}, "room"),
        ({"role": None}, "role"),
        ({"role": "king"}, "role"),
        ({"role": 7}, "role"),
        ({"role": ["host", 7]}, "role"),
    ],
)
async def test_a_claim_that_does_not_fit_is_named(make, changes, says):
    # Signed by hand: the library refuses to make some of these, another issuer might not.
    token = sign_segments(sign(claims()).split(".")[0], claims(**changes))
    with pytest.raises(TokenError, match=says):
        await make().verify(token)


async def test_an_expired_token_is_told_apart_and_leeway_counts(make):
    late = claims(exp=int(time.time()) - 10)
    with pytest.raises(TokenExpired):
        await make(leeway_s=5.0).verify(sign(late))
    assert (await make(leeway_s=60.0).verify(sign(late))).subject == "user-1"


@pytest.mark.parametrize(
    ("name", "good", "bad", "says"),
    [
        ("exp", 1_000_002.9, 1_000_003.0, "expired"),
        ("nbf", 999_997.0, 999_996.9, "not valid yet"),
        ("iat", 999_997.0, 999_996.9, "not valid yet"),
    ],
)
async def test_times_count_to_the_leeway_and_no_further(make, name, good, bad, says):
    times = {"iat": 900_000, "nbf": 900_000, "exp": 1_100_000, name: 1_000_000}
    token = sign(claims(**times))
    now = good
    verifier = make(leeway_s=3.0, clock=lambda: now)
    await verifier.verify(token)
    now = bad
    with pytest.raises(TokenError, match=says):
        await verifier.verify(token)


async def test_an_audience_may_be_one_of_several(make):
    await make().verify(sign(claims(aud=["other", "playcast"])))


async def test_an_authorized_party_stands_in_for_the_audience(make):
    verifier = make(audience=None, authorized_parties=frozenset({"https://play.example"}))
    await verifier.verify(sign(claims(aud=None)))
    for azp in ("https://evil.example", None):
        with pytest.raises(TokenError, match="azp"):
            await verifier.verify(sign(claims(azp=azp)))


async def test_audience_and_authorized_party_are_both_checked_when_both_are_set(make):
    verifier = make(authorized_parties=frozenset({"https://play.example"}))
    await verifier.verify(sign(claims()))
    with pytest.raises(TokenError, match="aud"):
        await verifier.verify(sign(claims(aud="another")))
    with pytest.raises(TokenError, match="azp"):
        await verifier.verify(sign(claims(azp="another")))


async def test_a_token_without_a_party_is_a_setting(make):
    verifier = make(
        audience=None,
        authorized_parties=frozenset({"https://play.example"}),
        party_required=False,
    )
    await verifier.verify(sign(claims(azp=None)))
    with pytest.raises(TokenError, match="azp"):
        await verifier.verify(sign(claims(azp="https://evil.example")))


async def test_a_token_needs_no_start_and_one_in_the_future_counts(make):
    assert (await make().verify(sign(claims(nbf=None)))).subject == "user-1"
    with pytest.raises(TokenError, match="not valid yet"):
        await make().verify(sign(claims(nbf=int(time.time()) + 600)))


# Access rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "roles"),
    [
        ("host", {"host"}),
        ("viewer host", {"viewer", "host"}),
        (["host", "viewer"], {"viewer", "host"}),
        (["king", "admin"], {"admin"}),
        ("admin host moderator player viewer", {"admin", "host", "moderator", "player", "viewer"}),
    ],
)
async def test_each_role_gives_what_it_says(make, role, roles):
    assert (await make().verify(sign(claims(role=role)))).roles == roles


async def test_each_of_our_roles_has_names_of_the_issuers(make):
    access = AccessRules(
        admin_roles=frozenset({"boss"}),
        host_roles=frozenset({"streamer", "boss"}),
        moderator_roles=frozenset({"mod"}),
        player_roles=frozenset({"gamer"}),
        viewer_roles=frozenset({"member"}),
    )
    verifier = make(access=access)
    for names, roles in (
        ("boss", {"admin", "host"}),
        ("streamer", {"host"}),
        ("mod gamer member", {"moderator", "player", "viewer"}),
    ):
        assert (await verifier.verify(sign(claims(role=names)))).roles == roles
    with pytest.raises(NotPermitted):
        await verifier.verify(sign(claims(role="admin host moderator player viewer")))


@pytest.mark.parametrize(
    ("room", "role", "marks"),
    [
        ("doom", "viewer", {"link"}),
        ("*", "viewer", set()),
        ("*", "viewer follower", {"follower"}),
        ("doom", "viewer subscriber follower", {"link", "follower", "subscriber"}),
    ],
)
async def test_marks_say_what_the_token_says(make, room, role, marks):
    assert (await make().verify(sign(claims(room=room, role=role)))).marks == marks


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("Ann", "Ann"),
        ("  Ann\n\u202eOfficial  Host\x00 ", "Ann Official Host"),
        ("x" * 5000, "x" * 64),
        (7, ""),
        (None, ""),
    ],
)
async def test_a_name_is_a_short_line_of_what_can_be_seen(make, name, becomes):
    assert (await make().verify(sign(claims(name=name)))).name == becomes


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["streamer"]}}),
        ("https://play.example/roles", {"https://play.example/roles": ["streamer"]}),
        ("scope", {"scope": "openid streamer"}),
    ],
)
async def test_an_issuers_own_roles_and_claims_are_a_setting(make, name, changes):
    access = AccessRules(
        host_roles=frozenset({"streamer"}), viewer_roles=frozenset({"member"}), any_room=True
    )
    verifier = make(role_claim=name, access=access)
    identity = await verifier.verify(sign(claims(role=None, room=None, **changes)))
    assert (identity.room, identity.roles) == ("*", {"host"})
    with pytest.raises(NotPermitted, match="role"):
        await verifier.verify(sign(claims(room=None, role="streamer")))


async def test_who_is_let_into_nothing_is_told_apart_from_a_bad_token(make):
    for changes in ({"role": "king"}, {"role": None}, {"room": None}):
        with pytest.raises(NotPermitted):
            await make().verify(sign(claims(**changes)))


async def test_a_domain_needs_an_address_that_the_issuer_has_verified(make):
    verifier = make(access=AccessRules(email_domains=frozenset({"play.example"})))
    await verifier.verify(sign(claims(email="Ann@Play.Example", email_verified=True)))
    for changes in (
        {},
        {"email": "ann@play.example"},
        {"email": "ann@play.example", "email_verified": False},
        {"email": "ann@play.example", "email_verified": 1},
        {"email": "ann@evil.example", "email_verified": True},
    ):
        with pytest.raises(NotPermitted, match="verified e-mail"):
            await verifier.verify(sign(claims(**changes)))


@pytest.mark.parametrize("domain", ["", "a@b.example", "B.example", " b.example"])
def test_a_domain_that_is_none_is_misuse(domain):
    with pytest.raises(ValueError, match="email_domains"):
        AccessRules(email_domains=frozenset({domain}))


# Forgeries --------------------------------------------------------------------------------------


async def test_another_key_under_our_key_id_does_not_pass(make):
    with pytest.raises(TokenError, match="signature"):
        await make().verify(sign(claims(), key=OTHER_KEY))


async def test_a_changed_payload_does_not_pass_even_with_a_header_that_is_known(make):
    verifier = make()
    good = sign(claims())
    header, _, signature = good.split(".")
    _, payload, _ = sign(claims(role="host")).split(".")
    for _ in range(2):
        with pytest.raises(TokenError, match="signature"):
            await verifier.verify(f"{header}.{payload}.{signature}")
        await verifier.verify(good)


async def test_a_header_that_is_known_does_not_outlive_its_key():
    published = [{**public_jwk(), "kid": "old"}, {**public_jwk(), "kid": "new"}]

    async def source():
        return json.dumps({"keys": published}).encode()

    keys = KeySet(source, lifetime_s=0.0, cooldown_s=0.0)
    settings = VerifierSettings(issuer="https://issuer.example", audience="playcast")
    verifier = Verifier(settings, keys=keys)
    token = sign(claims(), headers={"kid": "old"})
    await verifier.verify(token)
    published.pop(0)
    await verifier.verify(sign(claims(), headers={"kid": "new"}))  # has them fetched
    await asyncio.sleep(0)
    with pytest.raises(TokenError, match="no key"):
        await verifier.verify(token)


async def test_whatever_passes_another_library_lets_pass_too(make):
    """PyJWT, over tokens that are a little wrong in one or two places, signed by the right key."""
    draw = random.Random(20)
    verifier = make(leeway_s=5.0)
    now = int(time.time())
    odd = {
        "iss": ["https://issuer.example", "https://issuer.example/", "", 7, None],
        "aud": ["playcast", ["playcast"], ["a", "playcast"], [], "", "Playcast", 7, None],
        "sub": ["user-1", "", 7, None, ["user-1"]],
        "iat": [now, now - 0.5, now + 3, now + 60, -1, "0", True, 1e20, None],
        "nbf": [now, now - 0.5, now + 3, now + 60, -1, "0", False, None],
        "exp": [now + 60, now + 60.5, now - 3, now - 60, 0, str(now + 60), True, 1e20, None],
    }
    header = sign(claims()).split(".")[0]
    passed = 0
    for _ in range(600):
        changes = {name: draw.choice(odd[name]) for name in draw.choices(list(odd), k=2)}
        token = sign_segments(header, claims(**changes))
        try:
            await verifier.verify(token)
        except TokenError:
            continue
        passed += 1
        jwt.decode(
            token,
            KEY.public_key(),
            algorithms=["RS256"],
            issuer="https://issuer.example",
            audience="playcast",
            leeway=5.0,
            options={"require": ["iss", "sub", "iat", "exp"]},
        )
    assert 50 < passed < 300


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS384", "PS256", "ES256", "", None, 7])
async def test_no_other_algorithm_is_accepted(make, algorithm):
    header = {"alg": algorithm, "kid": KID, "typ": "JWT"}
    with pytest.raises(TokenError):
        await make().verify(raw(header, claims(), b""))
    # And not by a signature that would be good.
    segment = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenError, match="RS256"):
        await make().verify(sign_segments(segment, claims()))


async def test_the_public_key_is_no_hmac_secret(make):
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for header_algorithm in ("HS256", "RS256"):
        segments = raw({"alg": header_algorithm, "kid": KID}, claims()).rsplit(".", 1)[0]
        hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(hmac.sign(segments.encode(), pem)).rstrip(b"=")
        with pytest.raises(TokenError):
            await make().verify(f"{segments}.{signature.decode()}")


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "kid"),
        ({"kid": ""}, "kid"),
        ({"kid": "unknown"}, "no key"),
        ({"kid": KID, "crit": ["exp"]}, "crit"),
    ],
)
async def test_a_header_that_does_not_fit_is_refused(make, headers, says):
    with pytest.raises(TokenError) as caught:
        await make().verify(sign(claims(), headers=headers))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.b.c",
        "\ud800.b.c",
        "a" * 8192,
        sign(claims()) + "=",
        sign(claims()) + ".",
        sign(claims()) + "\n",
        sign(claims()).replace(".", "..", 1),
        base64.urlsafe_b64encode(b"[" * 6000).decode() + ".e30.eA",
        base64.urlsafe_b64encode(b"[]").decode() + ".e30.eA",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS0xIn0." + "W" * 6000 + ".eA",
    ],
)
async def test_what_is_no_token_is_refused(make, token):
    with pytest.raises(TokenError):
        await make().verify(token)


async def test_no_part_of_the_token_is_in_the_error(make):
    token = sign(claims(iss="https://secret.example", sub="secret-user"))
    with pytest.raises(TokenError) as caught:
        await make().verify(token)
    assert "secret" not in str(caught.value)
    assert not any(part in str(caught.value) for part in token.split("."))


async def test_without_keys_it_cannot_tell(tmp_path):
    settings = VerifierSettings(issuer="i", audience="a", jwks=tmp_path / "missing.json")
    with pytest.raises(KeysUnavailable, match=r"missing\.json"):
        await Verifier(settings).verify(sign(claims()))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"audience": None}, "audience, authorized_parties"),
        ({"issuer": ""}, "issuer"),
        ({"leeway_s": -1.0}, "leeway_s"),
    ],
)
def test_settings_that_make_no_sense_are_misuse(changes, names):
    options = {"issuer": "i", "audience": "a", "jwks": "jwks.json", **changes}
    with pytest.raises(ValueError, match=names):
        VerifierSettings(**options)
