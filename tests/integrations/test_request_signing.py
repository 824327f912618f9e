import asyncio
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.request_signing import (
    MemoryNonces,
    NoncesUnavailable,
    RedisNonces,
    Request,
    RequestSigner,
    RequestVerifier,
    SignatureRefused,
    canonical_query,
)
from signalling.redis.client import open_client
from signalling.redis.settings import RedisSettings
from tests.signalling.redis import server as redis_server

NOW = 1_700_000_000.0
KEY, OTHER = bytes(range(32)), bytes(32)
NONCE = "AAECAwQFBgcICQoLDA0ODw"
REQUEST = Request("POST", "/rooms/den", "b=2&a=1&a=0", b'{"locked":true}')


def signer(key_id="k1", keys=None, **how):
    keys = {"k1": KEY} if keys is None else keys
    return RequestSigner(key_id, lambda: keys, **{"clock": lambda: NOW, **how})


def verifier(keys=None, nonces=None, now=NOW, **how):
    keys = {"k1": KEY} if keys is None else keys
    return RequestVerifier(lambda: keys, nonces or MemoryNonces(), clock=lambda: now, **how)


async def refused(header, request=REQUEST, **how):
    with pytest.raises(SignatureRefused) as refusal:
        await verifier(**how).verify(request, header)
    return refusal.value.reason


# Made with: printf '…' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f
VECTORS = [
    (
        Request("get", "/"),
        "",
        (
            "playcast-request-v1\n\nGET\n/\n\n"
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
            f"1700000000\n{NONCE}\nk1\n"
        ),
        "22538a025997e28c0c30120987c16c42b50fc4535da0105605f49bf1c354850a",
    ),
    (
        REQUEST,
        "games",
        (
            "playcast-request-v1\ngames\nPOST\n/rooms/den\na=1&a=0&b=2\n"
            f"{hashlib.sha256(REQUEST.body).hexdigest()}\n"
            f"1700000000\n{NONCE}\nk1\n"
        ),
        "f4dd5dc42cfc6fabd5cd05c045ed47bad70db7e65e1ea10aadf6de6f5fc99882",
    ),
]


@pytest.mark.parametrize(("request_", "audience", "text", "signature"), VECTORS)
def test_vectors(request_, audience, text, signature):
    header = signer(audience=audience, nonce=lambda: NONCE).sign(request_)
    assert header == f"v1;key=k1;time=1700000000;nonce={NONCE};sig={signature}"
    assert hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest() == signature


async def test_what_is_signed_is_accepted_once():
    header = signer().sign(REQUEST)
    checks = verifier()
    assert await checks.verify(REQUEST, header) == "k1"
    with pytest.raises(SignatureRefused) as refusal:
        await checks.verify(REQUEST, header)
    assert refusal.value.reason == "replayed"
    assert await checks.verify(REQUEST, signer().sign(REQUEST)) == "k1"


@pytest.mark.parametrize(
    "changed",
    [
        Request("PUT", "/rooms/den", "b=2&a=1&a=0", b'{"locked":true}'),
        Request("POST", "/rooms/Den", "b=2&a=1&a=0", b'{"locked":true}'),
        Request("POST", "/rooms/den/", "b=2&a=1&a=0", b'{"locked":true}'),
        Request("POST", "/rooms/d%65n", "b=2&a=1&a=0", b'{"locked":true}'),
        Request("POST", "/rooms/den", "b=2&a=0&a=1", b'{"locked":true}'),
        Request("POST", "/rooms/den", "b=2&a=1", b'{"locked":true}'),
        Request("POST", "/rooms/den", "b=2&a=1&a=0&", b'{"locked":true}'),
        Request("POST", "/rooms/den", "", b'{"locked":true}'),
        Request("POST", "/rooms/den", "b=2&a=1&a=0", b'{"locked":true} '),
        Request("POST", "/rooms/den", "b=2&a=1&a=0", b""),
    ],
)
async def test_any_other_request_is_refused(changed):
    assert await refused(signer().sign(REQUEST), changed) == "signature"


async def test_the_same_query_written_otherwise_is_accepted():
    header = signer().sign(Request("GET", "/", "b=x%20y&a=%7E"))
    assert await verifier().verify(Request("GET", "/", "a=~&b=x+y"), header) == "k1"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_of_the_header_is_refused(data):
    header = signer(nonce=lambda: NONCE).sign(REQUEST)
    where = data.draw(st.integers(0, len(header) - 1))
    other = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda c: c != header[where]))
    changed = header[:where] + other + header[where + 1 :]
    keys = {"k1": KEY, "k2": KEY}  # the id is signed too

    async def check():
        await verifier(keys).verify(REQUEST, changed)

    with pytest.raises(SignatureRefused):
        asyncio.run(check())


words = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"))
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=words.map(lambda path: "/" + path),
    query=words,
    body=st.binary(max_size=50),
)


def meaning(request):
    """What a server makes of it: parameters by name, each name's in order."""
    parameters = {}
    for parameter in request.query.split("&") if request.query else []:
        name, equals, value = parameter.partition("=")
        parameters.setdefault(decoded(name), []).append((equals, decoded(value)))
    return request.method, request.path, request.body, parameters


def decoded(text):
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(text.replace("+", " "))


@settings(max_examples=500, deadline=None)
@given(signed=requests, sent=requests, data=st.data())
def test_a_signature_is_of_one_meaning(signed, sent, data):
    # Two random requests hardly share anything: let them differ in one part alone.
    part = data.draw(st.sampled_from(["method", "path", "query", "body", "all"]))
    if part != "all":
        fields = {name: getattr(signed, name) for name in ("method", "path", "query", "body")}
        sent = Request(**{**fields, part: getattr(sent, part)})
    header = signer().sign(signed)

    async def accepted():
        try:
            await verifier().verify(sent, header)
        except SignatureRefused:
            return False
        return True

    assert asyncio.run(accepted()) == (meaning(signed) == meaning(sent))


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("a", "a"),
        ("a=", "a="),
        ("b=1&a=2&b=0", "a=2&b=1&b=0"),
        ("a=%7e%41+%2B%20", "a=~A%20%2B%20"),
        ("a=%zz", "a=%25zz"),
        ("%ff=%fe", "%FF=%FE"),
        ("a==&&", "&&a=%3D"),
    ],
)
def test_canonical_queries(query, canonical):
    assert canonical_query(query) == canonical


@settings(max_examples=300, deadline=None)
@given(words)
def test_a_canonical_query_is_its_own(query):
    assert canonical_query(canonical_query(query)) == canonical_query(query)


@pytest.mark.parametrize(("off", "reason"), [(-61, "time"), (-60, ""), (60, ""), (61, "time")])
async def test_clocks_may_differ_by_so_much(off, reason):
    header = signer().sign(REQUEST)
    if reason:
        assert await refused(header, now=NOW + off) == reason
    else:
        assert await verifier(now=NOW + off).verify(REQUEST, header) == "k1"


@pytest.mark.parametrize("edge", [-60, 0, 60])
async def test_a_nonce_is_remembered_as_long_as_its_time_is_good(edge):
    nonces = MemoryNonces()
    header = signer().sign(REQUEST)
    await verifier(nonces=nonces, now=NOW + edge).verify(REQUEST, header)
    assert await refused(header, nonces=nonces, now=NOW + 60) == "replayed"


async def test_keys_are_changed_without_a_pause():
    keys = {"k1": KEY}
    checks = verifier(keys)
    old = signer("k1")
    await checks.verify(REQUEST, old.sign(REQUEST))
    keys["k2"] = OTHER
    fresh = signer("k2", {"k2": OTHER})
    assert await checks.verify(REQUEST, fresh.sign(REQUEST)) == "k2"
    assert await checks.verify(REQUEST, old.sign(REQUEST)) == "k1"
    del keys["k1"]
    with pytest.raises(SignatureRefused) as refusal:
        await checks.verify(REQUEST, old.sign(REQUEST))
    assert refusal.value.reason == "key"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1",
        "v2;key=k1;time=1700000000;nonce=" + NONCE + ";sig=" + "0" * 64,
        "v1;key=k1;time=1700000000;nonce=short;sig=" + "0" * 64,
        "v1;key=k1;time=1e9;nonce=" + NONCE + ";sig=" + "0" * 64,
        "v1;key=k1;time=" + "9" * 40 + ";nonce=" + NONCE + ";sig=" + "0" * 64,
        "v1;key=k1;time=1700000000;nonce=" + NONCE + ";sig=" + "0" * 63,
        "v1;key=k1;time=1700000000;nonce=" + NONCE + ";sig=" + "0" * 64 + "\n",
    ],
)
async def test_what_is_no_signature_is_refused(header):
    assert await refused(header) == "malformed"


async def test_who_has_another_key_or_another_audience_is_refused():
    assert await refused(signer(keys={"k1": OTHER}).sign(REQUEST)) == "signature"
    assert await refused(signer().sign(REQUEST), audience="games") == "signature"
    assert await refused(None) == "missing"
    assert await refused(signer().sign(REQUEST), keys={}) == "key"


async def test_a_stranger_does_not_fill_the_store():
    nonces = MemoryNonces(capacity=1)
    for _ in range(3):
        await refused(signer(keys={"k1": OTHER}).sign(REQUEST), nonces=nonces)
    await verifier(nonces=nonces).verify(REQUEST, signer().sign(REQUEST))


async def test_a_full_store_lets_nothing_through_unchecked_and_empties_itself():
    nonces = MemoryNonces(capacity=2)
    for _ in range(2):
        await verifier(nonces=nonces).verify(REQUEST, signer().sign(REQUEST))
    with pytest.raises(NoncesUnavailable):
        await verifier(nonces=nonces).verify(REQUEST, signer().sign(REQUEST))
    later = NOW + 62
    header = signer(clock=lambda: later).sign(REQUEST)
    assert await verifier(nonces=nonces, now=later).verify(REQUEST, header) == "k1"


async def test_servers_share_nonces_over_redis(tmp_path):
    with redis_server.single(tmp_path / "redis") as redis:
        one, two = (open_client(RedisSettings(url=redis.url, timeout_s=0.3)) for _ in range(2))
        try:
            header = signer().sign(REQUEST)
            await verifier(nonces=RedisNonces(one)).verify(REQUEST, header)
            assert await refused(header, nonces=RedisNonces(two)) == "replayed"
            with redis.client() as client:
                (key,) = client.scan_iter()
                assert key.startswith(b"playcast:nonce:k1:")
                assert 60_000 < client.pttl(key) <= 61_000
            redis.kill()
            with pytest.raises(NoncesUnavailable, match="Redis"):
                await verifier(nonces=RedisNonces(one)).verify(REQUEST, signer().sign(REQUEST))
        finally:
            await one.close()
            await two.close()


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET /", "/"),
        Request("GET", "rooms"),
        Request("GET", "/a?b"),
        Request("GET", "/a b"),
        Request("GET", "/é"),
        Request("GET", "/a\n"),
        Request("GET", "/", "a#b"),
        Request("GET", "/", "a\nb"),
    ],
)
async def test_what_cannot_be_signed_is_told_and_refused(request_):
    with pytest.raises(ValueError, match=r"^(method|path|query):"):
        signer().sign(request_)
    assert await refused(signer().sign(REQUEST), request_) == "malformed"


def test_misuse_is_named():
    with pytest.raises(ValueError, match=r"^keys:"):
        signer(keys={"k1": b"short"}).sign(REQUEST)
    with pytest.raises(ValueError, match=r"^key_id:"):
        signer("k;1")
    with pytest.raises(ValueError, match=r"^audience:"):
        signer(audience="a\nb")
    with pytest.raises(ValueError, match=r"^window_s:"):
        verifier(window_s=0)
    with pytest.raises(ValueError, match=r"^capacity:"):
        MemoryNonces(0)
