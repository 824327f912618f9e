"""What each profile refuses, and what does not go together."""

import asyncio
from pathlib import Path

import pytest

from integrations.config.names import ConfigError
from integrations.config.sources import load
from tests.integrations.served import certificate

REACHABLE = {"PLAYCAST_SERVER__HOST": "0.0.0.0"}
PROXY = {"PLAYCAST_SERVER__TRUSTED_PROXIES": "10.0.0.0/8"}
SERIOUS = ("staging", "production")


def wrong(environment: dict[str, str], file: Path | None = None) -> set[str]:
    try:
        load(file=file, environment=environment)
    except ConfigError as error:
        return {problem.name for problem in error.problems}
    return set()


def under(names: dict[str, str]) -> dict[str, str]:
    return {f"PLAYCAST_{name}": value for name, value in names.items()}


@pytest.mark.parametrize("profile", ["development", "test", *SERIOUS])
def test_dev_mode_is_for_developers(profile: str):
    environment = under({"ENVIRONMENT": profile, "IDENTITY__DEV": "true"})
    assert wrong(environment) == ({"identity.dev"} if profile in SERIOUS else set())


def test_dev_mode_stays_on_loopback():
    dev = under({"IDENTITY__DEV": "yes"})
    assert wrong({**dev, **REACHABLE}) == {"identity.dev"}
    assert wrong({**dev, "PLAYCAST_SERVER__HOST": "::1"}) == set()


@pytest.mark.parametrize("profile", SERIOUS)
def test_others_reach_a_serious_server_by_tls_alone(profile: str, tmp_path: Path):
    serious = {**REACHABLE, "PLAYCAST_ENVIRONMENT": profile}
    assert wrong(serious) == {"server.tls.certificate"}
    assert wrong({**serious, **PROXY}) == set()
    assert wrong(REACHABLE) == set()
    pem, key = asyncio.run(certificate(tmp_path))
    tls = under({"SERVER__TLS__CERTIFICATE": str(pem), "SERVER__TLS__KEY": str(key)})
    assert wrong({**serious, **tls}) == set()


def test_certificate_and_key_come_together_and_are_there(tmp_path: Path):
    (tmp_path / "c").write_text("x")
    there = under({"SERVER__TLS__CERTIFICATE": str(tmp_path / "c")})
    assert wrong(there) == {"server.tls.key"}
    (tmp_path / "k").write_text("no key")
    unusable = {**there, **under({"SERVER__TLS__KEY": str(tmp_path / "k")})}
    assert wrong(unusable) == {"server.tls.certificate"}
    missing = under({"SERVER__TLS__KEY": str(tmp_path / "none")})
    assert wrong(missing) == {"server.tls.certificate", "server.tls.key"}


def test_origins_and_networks_have_their_form():
    for origin in ("play.example", "https://play.example/", "ftp://x", "https://"):
        assert wrong(under({"SERVER__ORIGINS": origin})) == {"server.origins"}
    plain = under({"SERVER__ORIGINS": "http://play.example"})
    assert wrong(plain) == set()
    assert wrong({**plain, "PLAYCAST_ENVIRONMENT": "production"}) == {"server.origins"}
    for network in ("10.0.0.1/8", "proxy.example"):
        assert wrong(under({"SERVER__TRUSTED_PROXIES": network})) == {"server.trusted_proxies"}


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"CLERK_PUBLISHABLE_KEY": "pk_x"}, {"identity.authorized_parties"}),
        (
            {
                "CLERK_PUBLISHABLE_KEY": "pk_x",
                "AUTHORIZED_PARTIES": "https://a",
                "ISSUER": "i",
                "AUDIENCE": "a",
            },
            {"identity.issuer", "identity.audience"},
        ),
        ({"ISSUER": "i"}, {"identity.jwks", "identity.audience"}),
        ({"JWKS": "j"}, {"identity.issuer"}),
        ({"ISSUER": "i", "JWKS": "j"}, {"identity.audience"}),
        ({"ISSUER": "i", "JWKS": "j", "AUTHORIZED_PARTIES": "https://a"}, set()),
        ({"ISSUER": "i", "JWKS": "j", "AUDIENCE": "a"}, set()),
    ],
)
def test_an_issuer_is_named_whole(said: dict[str, str], names: set[str]):
    assert wrong({f"PLAYCAST_IDENTITY__{name}": value for name, value in said.items()}) == names


def test_redis_is_checked_as_it_will_be_used():
    assert wrong({"PLAYCAST_REDIS": "mysql://x"}) == {"redis.url"}
    assert wrong(under({"REDIS": "redis://x", "REDIS__LEASE_S": "0.1"})) == {"redis.lease_s"}
    assert wrong(under({"REDIS__PREFIX": "a b"})) == {"redis.prefix"}
    assert wrong(under({"REDIS": "rediss://x", "REDIS__CA": "/no/such/file"})) == {"redis.ca"}
    assert wrong(under({"REDIS": "redis://x", "REDIS__KEY": "/no/such/file"})) == {"redis.key"}
    assert wrong(under({"EVENTS__PUBLISH": "true"})) == {"events.publish"}
    assert wrong(under({"EVENTS__PUBLISH": "true", "REDIS": "redis://x"})) == set()


def test_what_is_not_installed_is_told_before_it_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("integrations.config.rules.find_spec", lambda name: None)
    on = {"SENTRY__DSN": "https://key@sentry.example/7", "TELEMETRY__ENDPOINT": "http://h:4318"}
    assert wrong(under(on)) == {"sentry.dsn", "telemetry.endpoint"}
    assert wrong({}) == set()


def test_reports_and_traces_have_addresses():
    assert wrong(under({"SENTRY__DSN": "https://sentry.example/7"})) == {"sentry.dsn"}
    assert wrong(under({"SENTRY__DSN": "https://key@sentry.example/7"})) == set()
    assert wrong(under({"TELEMETRY__ENDPOINT": "collector:4318"})) == {"telemetry.endpoint"}
    assert wrong(under({"TELEMETRY__HEADERS": "a=b,c"})) == {"telemetry.headers"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_secrets_stand_in_no_file_that_everybody_may_read(tmp_path: Path, mode: int):
    file = tmp_path / "playcast.toml"
    file.write_text('[redis]\nurl = "redis://u:p@h"\n')
    file.chmod(mode)
    names = {"redis.url"} if mode == 0o644 else set()
    assert wrong({"PLAYCAST_ENVIRONMENT": "production"}, file) == names
    assert wrong({}, file) == set()
    elsewhere = {"PLAYCAST_ENVIRONMENT": "production", "PLAYCAST_REDIS": "redis://h"}
    assert wrong(elsewhere, file) == set()


@pytest.mark.parametrize(
    ("names", "names_wrong"),
    [
        ({"TURN__REGIONS": "eu=turn:a", "TURN__SECRET": "x"}, set()),
        ({"TURN__REGIONS": "eu=turn:a"}, {"turn.secret"}),
        ({"TURN__REGIONS": "eu=turn:a us=turn:b", "TURN__SECRET": "eu=x"}, {"turn.secret"}),
        ({"TURN__REGIONS": "turn:a", "TURN__SECRET": "x"}, {"turn.regions"}),
        ({"TURN__HOME": "eu"}, {"turn.home"}),
        ({"AUDIT__KEY": "short"}, {"audit.key"}),
        ({"AUDIT__KEY": "k" * 32}, set()),
    ],
)
def test_turn_servers_and_the_audit_log(names: dict[str, str], names_wrong: set[str]):
    assert wrong(under(names)) == names_wrong
