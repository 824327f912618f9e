"""Nothing that is secret, or says where somebody is, comes through; what operators need does."""

import ipaddress
import json
import time
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.scrub import MAX_TEXT, Scrubber
from signalling.invites import InvitationKey, Invitations, InvitationSettings

PASSWORD = "correct-horse-battery"
scrubber = Scrubber(lambda: [PASSWORD])

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
separators = st.sampled_from(
    ["", " ", "=", ": ", "'", '"', "(", "[", "/", ",", "\n", ";", "@", "<"]
)


def base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


@st.composite
def tokens(draw: st.DrawFn) -> str:
    header = {"alg": "RS256", "kid": draw(words), "typ": "JWT"}
    space = draw(st.sampled_from([None, 0, 2, "\t"]))
    parts = [
        base64url(json.dumps(header, indent=space).encode()),
        base64url(json.dumps({"sub": draw(words)}).encode()),
        base64url(draw(st.binary(min_size=16, max_size=64))),
    ]
    return ".".join(parts)


@given(words, separators, st.sampled_from(["viewer", "player", "moderator"]))
def test_no_invitation_comes_through(before: str, between: str, role: str):
    token, _ = Invitations().make("arena", role, 3600.0, "me")
    said = scrubber.text(f"{before}{between}{token}{between} and more")
    for part in token.split(".")[1:]:
        assert part not in said


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
    lambda address: not (address.is_loopback or address.is_unspecified)
)


@given(tokens(), words, separators, separators, words)
def test_no_token_comes_through(token: str, before: str, left: str, right: str, after: str):
    said = scrubber.text(before + left + token + right + after)
    for part in token.split("."):
        assert part not in said


@given(addresses, st.booleans(), words, separators, words)
def test_no_address_comes_through(address, exploded: bool, before: str, between: str, after: str):
    written = address.exploded if exploded else str(address)
    said = scrubber.text(f"{before}{between} {written}{between}\n{after}")
    assert written not in said


@given(addresses, st.integers(1, 65535))
def test_no_address_with_a_port_comes_through(address, port: int):
    for form in (f"{address}:{port}", f"[{address}]:{port}", f"('{address}', {port})"):
        assert str(address) not in scrubber.text(f"connection from {form} was lost")


LINES = ("o=- 46 2 IN IP4 198.51.100.7", "s=-", "t=0 0", "m=video 9 UDP/TLS/RTP/SAVPF 96")
SECRETS = ("a=ice-ufrag:F7gI", "a=ice-pwd:x9cml/YzichV2+XlhiMu8g", "a=fingerprint:sha-256 AA:BB")


@given(st.permutations([*LINES, *SECRETS]), st.integers(0, 3), st.booleans())
def test_no_session_description_comes_through(lines: list[str], quoted: int, crlf: bool):
    text = ("\r\n" if crlf else "\n").join(["v=0", *lines, ""])
    for _ in range(quoted):
        text = json.dumps({"sdp": text})
    said = scrubber.text(f"the offer was {text}")
    for line in (*LINES, *SECRETS):
        assert line not in said
    assert "the offer was" in said


def test_a_part_of_a_session_description_is_no_better():
    for line in SECRETS:
        value = line.partition(":")[2]
        assert value not in scrubber.text(f"bad line {line!r} in m-section 0")


def test_no_candidate_comes_through():
    line = "candidate:842163049 1 udp 1677729535 cafe.example 46154 typ srflx raddr 0.0.0.0 rport 0"
    for form in (line, "a=" + line, json.dumps({"candidate": line}), repr({"c": line})):
        said = scrubber.text(f"cannot use {form}")
        assert "46154" not in said
        assert "cafe.example" not in said
    assert ".local" not in scrubber.text("host 0f8fad5b-d9cb-469f-a165-70867728950e.local is away")


@given(words, words)
def test_no_secret_of_this_program_comes_through(before: str, after: str):
    assert PASSWORD not in scrubber.text(before + PASSWORD + after)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("cannot reach ::ffff:0:0: refused", "ffff:0:0"),
        ("peer:2001:db8::1: lost", "2001:db8::1"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("GET /x?access_token=s3cr3t&room=play", "s3cr3t"),
        ('{"password": "hunter two", "room": "play"}', "hunter two"),
        ("{'client_secret': 'abc'}", "abc"),
        (r'"{\"token\": \"abc\"}"', "abc"),
        ("redis://games:pa55@redis.example:6379/0", "pa55"),
        ("redis://:pa55@redis.example", "pa55"),
        ("turn:alice:pa55@turn.example:3478", "pa55"),
        ("Cookie: session=abcdef", "abcdef"),
        ('{"seat": "Zm9vYmFy", "peer": "p"}', "Zm9vYmFy"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "MIIB"),
        ("-----BEGIN PRIVATE KEY-----\nMIIBcut", "MIIBcut"),
    ],
)
def test_what_is_named_a_secret_is_taken_out(text: str, hidden: str):
    assert hidden in text
    assert hidden not in scrubber.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "listening on http://127.0.0.1:8080/ and [::1]:8080, bound to 0.0.0.0",
        "joined room=arena role=host peer=a1B2_c3-D4e5",
        "the token has expired: get a new one and join again",
        "closing peer=abc code=token-expired",
        "at 2025-11-23T12:27:31.004Z, after 12:27:31",
        "cannot reach https://keycloak.example.com/realms/games/jwks.json",
        "File \"signalling/connection.py\", line 12, in run: KeyError('x')",
        "std::vector of 3 parts",
        "on ::1: refused, at 127.0.0.1: refused",
    ],
)
def test_what_operators_need_stays(text: str):
    assert scrubber.text(text) == text


def test_structures_are_scrubbed_by_name_and_by_what_they_hold():
    said = scrubber.value(
        {
            "token": 12345,
            "sdp": "anything",
            "remote_address": ["x"],
            "ice_candidates_total": 3,
            "token_type": "Bearer",
            "nested": [{"note": "from 203.0.113.9"}, ipaddress.ip_address("203.0.113.9")],
            "raw": b"password=abc",
            "fine": [1, 2.5, True, None, "room"],
        }
    )
    assert said == {
        "token": "[secret]",
        "sdp": "[secret]",
        "remote_address": "[secret]",
        "ice_candidates_total": 3,
        "token_type": "Bearer",
        "nested": [{"note": "from [address]"}, "IPv4Address('[address]')"],
        "raw": "password=[secret]",
        "fine": [1, 2.5, True, None, "room"],
    }


def test_a_structure_that_holds_itself_ends():
    endless: list = []
    endless.append(endless)
    assert "…" in repr(scrubber.value(endless))


def test_long_texts_are_cut_and_nothing_of_a_secret_is_left_at_the_end():
    said = scrubber.text("x" * (MAX_TEXT - 5) + PASSWORD + "y" * MAX_TEXT)
    assert len(said) <= MAX_TEXT + 1
    assert PASSWORD[:5] not in said


@pytest.mark.parametrize(
    "piece", ["eyJ", "a:", "-", "token=", "v=0\n", "1.", "\\", "bearer ", "x:a:", "::", "_-", "' "]
)
def test_no_text_takes_long(piece: str):
    """CPU time of this thread, with room for a slow machine: a quadratic search takes minutes."""
    begin = time.thread_time()
    scrubber.text(piece * (200_000 // len(piece)))
    assert time.thread_time() - begin < 3.0


def test_a_key_of_invitations_may_have_a_short_name():
    keys = (InvitationKey("k", b"s" * 32),)
    token, _ = Invitations(InvitationSettings(keys=keys)).make("arena", "player", 3600.0, "me")
    assert scrubber.text(f"came by {token}.") == "came by [token]."
