"""Values come from where they should, and everything wrong is told at once, without secrets."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.config.names import (
    FIELDS,
    ConfigError,
    Loaded,
    Value,
    is_secret,
    variable_of,
)
from integrations.config.sources import load

SECRET = "hunter22-very-secret"


def toml_file(directory: Path, text: str) -> Path:
    path = directory / "playcast.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def problems(**sources) -> dict[str, str]:
    """What is wrong, by name."""
    with pytest.raises(ConfigError) as refused:
        load(**{"environment": {}, **sources})
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.problems)
    found = {problem.name: str(problem) for problem in refused.value.problems}
    assert len(found) == len(refused.value.problems), "one problem a name"
    return found


def outcome(**sources) -> Loaded | ConfigError:
    try:
        return load(**{"environment": {}, **sources})
    except ConfigError as error:
        return error


def test_defaults_need_nothing():
    loaded = load(environment={})
    assert loaded.settings.server.port == 8080
    assert loaded.settings.environment == "development"
    assert loaded.origin("server.port") == "default"


def test_the_stronger_source_wins_and_each_is_named(tmp_path: Path):
    file = toml_file(
        tmp_path,
        'environment = "staging"\n[server]\nport = 1\nhost = "::1"\n[redis]\nurl = "redis://file"\n'
        '[logs]\nlevel = "debug"\n',
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "redis__url").write_text("redis://directory\n")
    (secrets / "server__port").write_text("2")
    environment = {"PLAYCAST_SERVER__PORT": "3", "PATH": "/bin", "PLAYCASTER": "no"}
    loaded = load(file=file, secrets=secrets, environment=environment)
    assert {
        name: loaded.origin(name)
        for name in ("server.port", "redis.url", "server.host", "logs.level", "logs.format")
    } == {
        "server.port": "environment PLAYCAST_SERVER__PORT",
        "redis.url": f"secret file {secrets / 'redis__url'}",
        "server.host": f"file {file}",
        "logs.level": f"file {file}",
        "logs.format": "profile staging",
    }
    settings = loaded.settings
    assert settings.server.port == 3
    assert settings.redis.url.get_secret_value() == "redis://directory"
    assert settings.logs.level == "debug"
    assert settings.logs.format == "json"


def test_the_environment_may_say_where_files_are(tmp_path: Path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sentry__dsn").write_text("http://key@127.0.0.1/1")
    file = toml_file(tmp_path, "[server]\nport = 7\n")
    loaded = load(
        environment={"PLAYCAST_CONFIG": str(file), "PLAYCAST_SECRETS": str(tmp_path / "s")}
    )
    assert loaded.settings.server.port == 7
    assert loaded.settings.sentry.dsn.get_secret_value() == "http://key@127.0.0.1/1"


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example,https://b.example",
        '["https://a.example", "https://b.example"]',
        " https://a.example  https://b.example ",
    ],
)
def test_lists_in_the_environment(text: str):
    loaded = load(environment={"PLAYCAST_SERVER__ORIGINS": text})
    assert loaded.settings.server.origins == ("https://a.example", "https://b.example")


def test_short_names_and_empty_variables():
    loaded = load(
        environment={
            "PLAYCAST_REDIS": "redis://short",
            "PLAYCAST_TOKEN": "tok",
            "PLAYCAST_SERVER__PORT": "",
            "PLAYCAST_ENVIRONMENT": " Staging ",
        }
    )
    assert loaded.settings.redis.url.get_secret_value() == "redis://short"
    assert loaded.settings.host.token.get_secret_value() == "tok"
    assert loaded.settings.server.port == 8080
    assert loaded.settings.environment == "staging"
    assert loaded.settings.logs.format == "json"
    both = {"PLAYCAST_REDIS__URL": "redis://long", "PLAYCAST_REDIS": "redis://short"}
    assert load(environment=both).settings.redis.url.get_secret_value() == "redis://long"


SIGN_IN = {
    "host.token": "tok",
    "host.token_command": "gettoken --fresh",
    "host.token_file": "/run/token",
    "host.login": "https://login.example",
}
"""What each of them may say."""


def said(loaded: Loaded) -> dict[str, str]:
    """What the settings say of where tokens come from, and who says it."""
    named = [name for name in SIGN_IN if name in loaded.given and loaded.given[name].value]
    return {name: loaded.origin(name) for name in named}


@pytest.mark.parametrize("weak", SIGN_IN)
@pytest.mark.parametrize("strong", SIGN_IN)
def test_the_strongest_source_alone_says_where_tokens_come_from(
    tmp_path: Path, weak: str, strong: str
):
    last = weak.rpartition(".")[2]
    file = toml_file(tmp_path, f'[host]\n{last} = "{SIGN_IN[weak]}"\nfps = 30\n')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    assert said(load(file=file, environment={})) == {weak: f"file {file}"}

    inside = secrets / strong.replace(".", "__")
    inside.write_text(SIGN_IN[strong])
    kept = {"file": file, "secrets": secrets}
    assert said(load(**kept, environment={})) == {strong: f"secret file {inside}"}

    variable = variable_of(weak)
    environment = {variable: SIGN_IN[weak]}
    loaded = load(**kept, environment=environment)
    assert said(loaded) == {weak: f"environment {variable}"}

    options = {strong: Value(SIGN_IN[strong], "option --it")}
    loaded = load(**kept, environment=environment, options=options)
    assert said(loaded) == {strong: "option --it"}
    assert loaded.settings.host.fps == 30


def test_two_that_one_source_names_are_a_conflict_where_they_are(tmp_path: Path):
    file = toml_file(tmp_path, '[host]\ntoken_file = "/run/token"\ntoken_command = "x"\n')
    found = problems(file=file)
    assert found == {
        "host.token_file": f"host.token_file (file {file}): does not go with host.token_command"
        f" (file {file}): take one of them away"
    }
    both = {"PLAYCAST_TOKEN": SECRET, "PLAYCAST_HOST__LOGIN": "*"}
    assert problems(environment=both) == {
        "host.login": "host.login (environment PLAYCAST_HOST__LOGIN): does not go with host.token"
        " (environment PLAYCAST_TOKEN): take one of them away"
    }
    # What a stronger source wins over counts no more than any other value that it wins over.
    loaded = load(file=file, environment={"PLAYCAST_TOKEN": "tok"})
    assert said(loaded) == {"host.token": "environment PLAYCAST_TOKEN"}


def test_an_empty_source_of_tokens_says_nothing(tmp_path: Path):
    file = toml_file(tmp_path, '[host]\nlogin = ""\ntoken = "tok"\n')
    assert said(load(file=file, environment={"PLAYCAST_HOST__LOGIN": ""})) == {
        "host.token": f"file {file}"
    }


def test_servers_are_a_list_and_each_is_checked(tmp_path: Path):
    file = toml_file(tmp_path, '[host]\nsignalling = "wss://a.example/ws"\n')
    assert load(file=file, environment={}).settings.host.signalling == ("wss://a.example/ws",)
    two = {"PLAYCAST_HOST__SIGNALLING": "wss://a.example/ws,wss://b.example/ws"}
    settings = load(file=file, environment=two).settings
    assert settings.host.signalling == ("wss://a.example/ws", "wss://b.example/ws")
    for name in ("host.signalling", "view.signalling"):
        found = problems(environment={variable_of(name): "wss://a.example/ws https://b.example"})
        assert "'https://b.example' is not a ws:// or wss:// address" in found[name]


def test_everything_wrong_is_told_at_once_by_name(tmp_path: Path):
    file = toml_file(
        tmp_path,
        f"""
        environment = "prodution"
        [server]
        hots = "x"
        port = 99999
        tls = 3
        origins = ["https://a.example/path"]
        [redis]
        url = "redis://u:{SECRET}@host:port"
        lease_s = "long"
        [serverr]
        port = 1
        [sentry]
        dsn = "{SECRET}"
        [turn]
        static = ["turn:u:{SECRET}"]
        [identity]
        issuer = "http://127.0.0.1:9"
        """,
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "redis__ulr").write_text(SECRET)
    found = problems(
        file=file,
        secrets=secrets,
        environment={
            "PLAYCAST_SERVR__PORT": SECRET,
            "PLAYCAST_SERVER__LIMITS__ROOMS": "many",
            "PLAYCAST_TELEMETRY__HEADERS": SECRET,
        },
    )
    assert found.keys() == {
        "environment",
        "server.hots",
        "server.port",
        "server.tls",
        "server.origins",
        "server.limits.rooms",
        "redis.lease_s",
        "serverr",
        "sentry.dsn",
        "turn.static",
        "identity.jwks",
        "identity.audience",
        "telemetry.headers",
        "PLAYCAST_SERVR__PORT",
        str(secrets / "redis__ulr"),
    }
    assert "did you mean production?" in found["environment"]
    assert "did you mean server.host?" in found["server.hots"]
    assert "did you mean PLAYCAST_SERVER__PORT?" in found["PLAYCAST_SERVR__PORT"]
    assert "did you mean redis__url?" in found[str(secrets / "redis__ulr")]
    assert "environment PLAYCAST_SERVER__LIMITS__ROOMS" in found["server.limits.rooms"]
    assert "'many'" in found["server.limits.rooms"]
    assert "99999" in found["server.port"]
    assert str(file) in found["server.port"]
    assert "[server.tls]" in found["server.tls"]
    assert "number 1" in found["turn.static"]


@pytest.mark.parametrize("name", [name for name, info in FIELDS.items() if is_secret(info)])
def test_a_wrong_secret_is_not_repeated(name: str):
    """Of the wrong kind, or of the right kind and wrong; nor is a right one in any repr."""
    from pydantic import ValidationError

    from integrations.config.tree import Settings

    section, _, last = name.partition(".")
    found = outcome(environment={variable_of(name): SECRET})
    assert SECRET not in f"{found!r} {found}"
    if isinstance(found, Loaded):
        assert SECRET not in f"{found.settings!r} {found.settings}"
        assert SECRET in list(found.secrets())
    else:
        assert found.problems[0].name == name
    with pytest.raises(ValidationError) as refused:
        Settings(**{section: {last: {SECRET: SECRET}}})
    assert SECRET not in str(refused.value)


def test_files_that_cannot_be_read_are_told_of(tmp_path: Path):
    missing = tmp_path / "missing.toml"
    assert "No such file" in problems(file=missing)[str(missing)]
    assert "No such file" in problems(secrets=tmp_path / "none")[str(tmp_path / "none")]
    broken = toml_file(tmp_path, f'x = "{SECRET}" = 1')
    assert "is not TOML" in problems(file=broken)[str(broken)]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "redis__url").write_bytes(b"\xff\xfe")
    assert "UTF-8" in problems(secrets=tmp_path / "d")["redis.url"]


def test_hidden_files_of_a_secret_directory_are_passed_over(tmp_path: Path):
    (tmp_path / "..data").mkdir()
    (tmp_path / ".keep").write_text("x")
    assert load(secrets=tmp_path, environment={}).given == {}


values = st.one_of(
    st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.lists(st.text(max_size=5))
)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), values, max_size=6))
def test_any_values_are_taken_or_refused_by_name(tmp_path_factory, said: dict):
    """Through a file, as JSON's part of TOML: no other exception, no value from nowhere."""
    lines = []
    for name, value in said.items():
        if isinstance(value, float) or (isinstance(value, int) and abs(value) > 2**62):
            value = str(value)
        lines.append(f"{name} = {json.dumps(value)}")
    path = tmp_path_factory.mktemp("t") / "x.toml"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    found = outcome(file=path)
    if isinstance(found, Loaded):
        assert {name for name, v in found.given.items() if v.origin.startswith("file")} == {*said}
    else:
        assert {problem.name for problem in found.problems} <= {*FIELDS, str(path)}


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_a_file_or_is_refused(tmp_path_factory, text: str):
    path = tmp_path_factory.mktemp("t") / "x.toml"
    path.write_text(text, encoding="utf-8")
    found = outcome(file=path)
    assert isinstance(found, Loaded) or found.problems
