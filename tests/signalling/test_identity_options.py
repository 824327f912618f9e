import argparse
import base64
import time

import pytest

from signalling.__main__ import main
from signalling.auth import TokenError
from signalling.dev import DevIssuer
from signalling.identity_options import (
    UsageError,
    add_identity_options,
    invitations_of,
    verifier_of,
)
from tests.integrations.jwks_server import SigningKey, jwks_server
from tests.integrations.login_server import login_server


def options(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    add_identity_options(parser)
    return parser.parse_args(words)


ROLE_OPTIONS = (
    *("--admin-role", "boss", "--admin-role", "owner"),
    *("--host-role", "streamer", "--moderator-role", "mod", "--player-role", "gamer"),
    *("--viewer-role", "member", "--follower-role", "fan", "--subscriber-role", "patron"),
)


@pytest.mark.parametrize(
    ("words", "says", "roles", "marks"),
    [
        (ROLE_OPTIONS, "owner fan", {"admin"}, {"follower"}),
        (ROLE_OPTIONS, "boss streamer mod gamer", {"admin", "host", "moderator", "player"}, set()),
        (ROLE_OPTIONS, "member patron", {"viewer"}, {"subscriber"}),
        (ROLE_OPTIONS, "admin host moderator player viewer", None, None),
        ((), "moderator follower", {"moderator"}, {"follower"}),
        (("--viewer-role", "*"), "", {"viewer"}, set()),
        (("--viewer-role", "*"), "player", {"viewer", "player"}, set()),
        ((), "", None, None),
    ],
)
async def test_options_say_which_of_the_issuers_roles_make_ours(words, says, roles, marks):
    key = SigningKey("k")
    now = int(time.time())
    token = key.sign(
        {
            "iss": "https://login.example",
            "aud": "playcast",
            "sub": "ann",
            "iat": now,
            "exp": now + 60,
            "role": says,
        }
    )
    async with jwks_server(key) as server:
        issuer = ("--issuer", "https://login.example", "--jwks", server.url, "--any-room")
        verifier = verifier_of(options(*issuer, "--audience", "playcast", *words), None)
        if roles is None:
            with pytest.raises(TokenError, match="no role"):
                await verifier.verify(token)
        else:
            identity = await verifier.verify(token)
            assert (identity.roles, identity.marks) == (roles, marks)
        await verifier.close()


async def test_an_issuer_alone_is_enough():
    async with login_server() as server:
        words = ("--issuer", server.issuer, "--audience", "playcast")
        verifier = verifier_of(options(*words), None)
        assert (await verifier.verify(server.mint())).roles == {"host"}
        await verifier.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--issuer"),
        (("--issuer", "https://x.example"), "--audience or --authorized-party"),
        (("--dev", "--moderator-role", "mod"), "does not go with --moderator-role"),
        (("--dev", "--subscriber-role", "mod"), "does not go with --subscriber-role"),
    ],
)
def test_options_that_do_not_go_together_are_named(words, says):
    issuer = DevIssuer.generate() if "--dev" in words else None
    with pytest.raises(UsageError, match=says):
        verifier_of(options(*words), issuer)


def test_an_issuer_that_cannot_be_asked_needs_a_key_document():
    with pytest.raises(ValueError, match=r"issuer: .* https"):
        verifier_of(options("--issuer", "http://x.example", "--audience", "a"), None)


def test_servers_with_the_same_keys_take_each_others_invitations(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# now\nnew:{base64.b64encode(b'n' * 32).decode()}\n")
    words = ("--invitation-keys", str(path))
    token, until = invitations_of(options(*words)).make("den", "player", 60.0, "ann")
    stay = invitations_of(options(*words, "--invitation-stay", "90"))
    assert stay.verify(token).expires_at == until + 90.0
    with pytest.raises(TokenError):
        invitations_of(options()).verify(token)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read"), ("", "holds no key"), ("a:sesame", "line 1"), ("a", "ID:SECRET")],
)
def test_a_key_file_that_is_none_is_named_and_not_shown(tmp_path, content, says):
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=says) as caught:
        invitations_of(options("--invitation-keys", str(path)))
    assert "--invitation-keys" in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("stay", ["-1", "nan", "1e9", "soon"])
def test_a_stay_has_bounds(stay, capsys):
    with pytest.raises(SystemExit):
        options("--invitation-stay", stay)
    assert "takes 0.." in capsys.readouterr().err


@pytest.mark.parametrize("role", ["admin", "host", "moderator", "player", "viewer"])
async def test_playcast_token_mints_every_role(role, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    words = ["token", "--role", role, "--mark", "follower", "--mark", "subscriber", "--room", "*"]
    assert main(words) == 0
    identity = await DevIssuer.load().verifier().verify(capsys.readouterr().out.strip())
    assert (identity.roles, identity.marks) == ({role}, {"follower", "subscriber"})
