import stat
import threading

import pytest

from signalling.auth import TokenError, TokenExpired
from signalling.dev import (
    ENVIRONMENT,
    DevIssuer,
    DevModeError,
    default_key_path,
    require_loopback,
)
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings


@pytest.fixture(scope="module")
def issuer():
    return DevIssuer.generate()


async def test_a_minted_token_is_what_was_asked_for(issuer):
    identity = await issuer.verifier().verify(issuer.mint("me", "doom", "host", 60))
    assert (identity.subject, identity.room, identity.roles) == ("me", "doom", {"host"})


@pytest.mark.parametrize("role", ["admin", "host", "moderator", "player", "viewer"])
async def test_it_mints_every_role_and_mark(issuer, role):
    identity = await issuer.verifier().verify(issuer.mint("me", "*", f"{role} follower"))
    assert (identity.roles, identity.marks) == ({role}, {"follower"})


async def test_a_token_lives_as_long_as_asked(issuer):
    with pytest.raises(TokenExpired):
        await issuer.verifier().verify(issuer.mint("me", "doom", "host", -1))


async def test_another_issuers_token_is_refused(issuer):
    with pytest.raises(TokenError):
        await issuer.verifier().verify(DevIssuer.generate().mint("me", "doom", "host"))


async def test_who_loads_the_key_mints_for_the_running_server(tmp_path):
    path = tmp_path / "new" / "dev-key.pem"
    server = DevIssuer.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    await server.verifier().verify(DevIssuer.load(path).mint("me", "doom", "viewer"))
    assert DevIssuer.load_or_create(path).jwks() == server.jwks()


def test_of_many_that_start_at_once_all_get_one_key(tmp_path):
    path = tmp_path / "dev-key.pem"
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(DevIssuer.load_or_create(path).jwks()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(jwks == found[0] for jwks in found)


def test_a_missing_key_says_what_to_do(tmp_path):
    with pytest.raises(DevModeError, match="playcast serve"):
        DevIssuer.load(tmp_path / "dev-key.pem")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "dev-key.pem"
    DevIssuer.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(DevModeError, match="others may read"):
        DevIssuer.load_or_create(path)


def test_what_is_no_key_file_is_refused(tmp_path):
    path = tmp_path / "dev-key.pem"
    path.touch(0o600)
    with pytest.raises(DevModeError, match="no private key"):
        DevIssuer.load(path)
    link = tmp_path / "link.pem"
    link.symlink_to(path)
    with pytest.raises(DevModeError, match="cannot read"):
        DevIssuer.load_or_create(link)
    with pytest.raises(DevModeError, match="cannot read"):
        DevIssuer.load(tmp_path)
    with pytest.raises(DevModeError, match="cannot write"):
        DevIssuer.load_or_create(path / "below-a-file.pem")


def test_the_key_lives_where_only_this_session_sees_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_key_path() == tmp_path / "playcast" / "dev-key.pem"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_key_path() == tmp_path / ".cache" / "playcast" / "dev-key.pem"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_let_through(host):
    require_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.1", "localhost.example", "127.0.0.1.example", "host"]
)
def test_a_dev_server_does_not_start_for_others(host, issuer):
    settings = SignallingSettings(verifier=issuer.verifier(), host=host, port=0)
    with pytest.raises(DevModeError, match=r"--host 127\.0\.0\.1"):
        SignallingServer(settings)


@pytest.mark.parametrize("said", ["production", " Production ", "staging", "prod"])
def test_dev_mode_does_not_start_where_it_is_serious(issuer, monkeypatch, said):
    settings = SignallingSettings(verifier=issuer.verifier(), port=0)
    monkeypatch.setenv(ENVIRONMENT, said)
    with pytest.raises(DevModeError, match=ENVIRONMENT):
        SignallingServer(settings)
    for harmless in ("", "development", "test"):
        monkeypatch.setenv(ENVIRONMENT, harmless)
        SignallingServer(settings)
