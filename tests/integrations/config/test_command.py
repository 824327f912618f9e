"""``playcast config``, and that options of the commands exist and win over the configuration."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from integrations.config.command import reference, run_config, toml
from integrations.config.names import (
    FIELDS,
    MASK,
    TOKENS,
    ConfigError,
    Loaded,
    is_secret,
    variable_of,
)
from integrations.config.options import (
    COMMANDS,
    HOST,
    OVERRIDES,
    SERVE,
    configured,
    option_defaults,
    said_by_options,
)
from integrations.config.sources import load
from peer.cli import build_parser
from peer.cli_tokens import ONLY_LOGIN
from signalling.__main__ import build_parser as build_serve_parser
from signalling.messages import IceServer
from signalling.surroundings import Surroundings

ROOT = Path(__file__).parents[3]
SECRET = "hunter22-very-secret"


def test_check_says_that_all_is_right(capsys: pytest.CaptureFixture[str]):
    assert run_config(["check"], {"PLAYCAST_ENVIRONMENT": "staging"}) == 0
    assert "right: staging" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["check", "show"])
def test_what_is_wrong_is_told_whole_and_fails(what: str, capsys: pytest.CaptureFixture[str]):
    wrong = {
        "PLAYCAST_SERVER__PORT": "x",
        "PLAYCAST_SERVR": SECRET,
        "PLAYCAST_REDIS": f"redis://:{SECRET}@h:p",
    }
    assert run_config([what], wrong) == 1
    said = capsys.readouterr()
    assert said.out == ""
    for name in ("server.port", "PLAYCAST_SERVR", "redis.url"):
        assert name in said.err
    assert SECRET not in said.err


def test_show_is_toml_with_origins_and_without_secrets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    file = tmp_path / "playcast.toml"
    logins = [f"turn:u:{SECRET}@h:1", f"turn:u:{SECRET}@h:2"]
    file.write_text(f"[turn]\nstatic = {json.dumps(logins)}\n")
    environment = {"PLAYCAST_REDIS": f"redis://:{SECRET}@h", "PLAYCAST_SERVER__HOST": "::1"}
    assert run_config(["show", "--config", str(file)], environment) == 0
    said = capsys.readouterr().out
    assert SECRET not in said
    tree = tomllib.loads(said)
    assert tree["server"]["host"] == "::1"
    assert tree["redis"]["url"] == MASK
    assert tree["turn"]["static"] == [MASK, MASK]
    assert tree["sentry"]["dsn"] == ""
    (line,) = (line for line in said.splitlines() if line.startswith("server.host"))
    assert line.endswith("# environment PLAYCAST_SERVER__HOST")
    assert len(said.splitlines()) == len(FIELDS)


def test_show_as_json_says_the_same(capsys: pytest.CaptureFixture[str]):
    assert run_config(["show", "--json"], {"PLAYCAST_REDIS": f"redis://:{SECRET}@h"}) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["redis.url"] == {"value": MASK, "origin": "environment PLAYCAST_REDIS"}
    assert said["server.port"] == {"value": 8080, "origin": "default"}
    assert said.keys() == FIELDS.keys()


def test_every_setting_is_documented():
    for name, info in FIELDS.items():
        assert (info.description or "").rstrip().endswith("."), name


def test_the_reference_in_the_documents_is_the_trees():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert reference() in text, "playcast config reference prints what belongs there"


def test_secrets_are_masked_by_type():
    for info in FIELDS.values():
        if is_secret(info):
            assert toml(info.default) in ('""', "[]")


# The commands' own options -----------------------------------------------------------------------


def serve_options(words: list[str], environment: dict[str, str]):
    surroundings = Surroundings(defaults=option_defaults(load(environment=environment), SERVE))
    options = build_serve_parser(surroundings).parse_args(["serve", *words])
    surroundings.complete(options)
    return options


ENVIRONMENT = {
    "PLAYCAST_SERVER__PORT": "9000",
    "PLAYCAST_SERVER__ORIGINS": "https://a.example,https://b.example",
    "PLAYCAST_IDENTITY__ISSUER": "https://login.example",
    "PLAYCAST_IDENTITY__JWKS": "https://login.example/jwks",
    "PLAYCAST_IDENTITY__AUDIENCE": "playcast",
    "PLAYCAST_IDENTITY__ANY_ROOM": "true",
    "PLAYCAST_REDIS": "redis://h",
    "PLAYCAST_REDIS__LEASE_S": "7",
    "PLAYCAST_TURN__STUN": "stun:s.example:3478",
    "PLAYCAST_TURN__STATIC": "turn:u:p@t.example:3478",
    "PLAYCAST_LOGS__LEVEL": "info",
}


def test_settings_are_defaults_of_serves_options():
    options = serve_options([], ENVIRONMENT)
    assert options.port == 9000
    assert options.host == "127.0.0.1"
    assert options.origin == ["https://a.example", "https://b.example"]
    assert (options.issuer, options.audience, options.any_room) == (
        "https://login.example",
        "playcast",
        True,
    )
    assert (options.redis, options.redis_lease) == ("redis://h", 7.0)
    assert options.stun == [IceServer.parse("stun:s.example:3478")]
    assert options.turn == [IceServer.parse("turn:u:p@t.example:3478")]
    assert options.log_level == "info"


def test_every_option_of_serve_is_a_setting():
    """But for those of dev mode and of a parent process, and a secret that is a file there."""
    others = {"room", "ready_fd", "or_any_port", "invitation_keys"}
    options = vars(serve_options([], {})).keys() - {"command"}
    assert options - others == {*SERVE.values(), *OVERRIDES.values()}


def test_options_win_and_a_repeated_one_replaces_the_list():
    words = ["--port", "1", "--origin", "https://c.example", "--log-level", "error"]
    options = serve_options(words, ENVIRONMENT)
    assert (options.port, options.log_level) == (1, "error")
    assert options.origin == ["https://c.example"]
    assert options.issuer == "https://login.example"


def said(words: list[str], environment: dict[str, str]) -> Loaded:
    options = said_by_options(
        lambda around: build_serve_parser(around).parse_args(["serve", *words]),
        {**SERVE, **OVERRIDES},
    )
    return load(environment=environment, options=options)


def test_options_are_checked_together_with_the_rest():
    """What the profile asks for may stand in an option, and an option may break its rules."""
    production = {"PLAYCAST_ENVIRONMENT": "production"}
    reachable = ["--host", "0.0.0.0"]
    with pytest.raises(ConfigError, match="needs TLS"):
        said(reachable, production)
    with pytest.raises(ConfigError, match=r"identity.dev \(option --dev\)"):
        said(["--dev"], production)
    loaded = said([*reachable, "--proxy", "10.0.0.0/8"], production)
    assert loaded.origin("server.trusted_proxies") == "option --proxy"
    assert loaded.settings.server.trusted_proxies == ("10.0.0.0/8",)
    with pytest.raises(ConfigError, match="needs TLS"):
        said([], {**production, "PLAYCAST_SERVER__HOST": "::"})
    loaded = said(["--host", "::1"], {**production, "PLAYCAST_SERVER__HOST": "::"})
    assert loaded.settings.server.host == "::1"


def test_options_that_are_not_given_say_nothing():
    assert said([], {}).given == {}
    assert said([], ENVIRONMENT).given == load(environment=ENVIRONMENT).given


def test_without_configuration_serves_options_are_its_own():
    assert vars(serve_options(["--dev"], {})) == vars(serve_options(["--dev"], {"PATH": "/bin"}))
    assert serve_options(["--dev"], {}).origin == []


def test_a_default_of_no_option_is_a_mistake():
    with pytest.raises(ValueError, match="no option nonsense"):
        build_parser({"view": Surroundings(defaults={"nonsense": 1}).prepare})


@pytest.mark.parametrize("command", ["host", "view"])
def test_every_mapped_setting_is_an_option_of_the_command(command: str):
    parser = build_parser(
        {command: Surroundings(defaults=dict.fromkeys(COMMANDS[command].values())).prepare}
    )
    assert parser is not None


def test_settings_are_defaults_of_hosts_and_views_options():
    environment = {
        "PLAYCAST_HOST__FPS": "30",
        "PLAYCAST_HOST__BIND": "0.0.0.0",
        "PLAYCAST_HOST__SIGNALLING": "wss://a.example/ws wss://b.example/ws",
        "PLAYCAST_TOKEN": "tok",
        "PLAYCAST_VIEW__JITTER_MS": "40",
        "PLAYCAST_VIEW__SIGNALLING": "wss://b.example/ws",
    }
    host = options_of("host", ["--room", "den"], environment)
    assert (host.fps, host.bind, host.token) == (30, ["0.0.0.0"], "tok")
    assert (host.room, host.bitrate) == ("den", 8_000_000)
    assert host.signalling == ["wss://a.example/ws", "wss://b.example/ws"]
    view = options_of("view", ["LINK"], environment)
    assert (view.jitter, view.wait, view.signalling) == (40, 15.0, ["wss://b.example/ws"])


def options_of(command: str, words: list[str], environment: dict[str, str]):
    """The options as ``playcast host`` or ``view`` has them with this environment."""
    return configured(
        lambda around: build_parser({command: around.prepare}).parse_args([command, *words]),
        COMMANDS[command],
        environment=environment,
    )[1]


SERVERS = ["--signalling", "wss://c.example/ws", "--signalling", "wss://d.example/ws"]


def test_servers_of_the_command_line_are_in_the_place_of_those_of_the_environment():
    environment = {"PLAYCAST_HOST__SIGNALLING": "wss://a.example/ws"}
    options = options_of("host", [*SERVERS, "--token", "t"], environment)
    assert options.signalling == ["wss://c.example/ws", "wss://d.example/ws"]


@pytest.mark.parametrize("weak", TOKENS)
@pytest.mark.parametrize(
    "strong", [["--token", "t"], ["--token-command", "c"], ["--token-file", "f"], ["--login"]]
)
def test_a_source_of_tokens_on_the_command_line_wins_over_all_others(weak: str, strong: list[str]):
    options = vars(options_of("host", [*SERVERS, *strong], {variable_of(weak): "weak"}))
    names = [HOST[name] for name in TOKENS]
    said = {name: str(options[name]) for name in names if options[name] is not None}
    option, *value = strong
    assert said == {option[2:].replace("-", "_"): value[0] if value else ONLY_LOGIN}


def test_what_lets_a_host_in_elsewhere_is_nothing_to_its_own_server():
    environment = {"PLAYCAST_TOKEN": "tok", "PLAYCAST_HOST__FPS": "30"}
    assert options_of("host", [], environment).token is None
    assert options_of("host", ["--token", "t"], environment).token == "t", "which is refused"


def test_help_tells_the_real_defaults_whatever_is_configured(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        options_of("host", ["--help"], {"PLAYCAST_HOST__FPS": "30"})
    assert ended.value.code == 0
    assert "--fps FPS             at most (60)" in capsys.readouterr().out


def playcast(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLAYCAST")}
    return subprocess.run(
        [sys.executable, "-m", "peer.cli", *words],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command_is_reached_through_playcast():
    done = playcast("config", "check", PLAYCAST_LOGS__LEVEL="info")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["serve", "host"])
def test_a_command_refuses_a_wrong_configuration(command: str):
    done = playcast(command, PLAYCAST_HOST__FPS="999", PLAYCAST_SEVER__PORT="1")
    assert done.returncode == 2
    assert "host.fps" in done.stderr
    assert "did you mean PLAYCAST_SERVER__PORT?" in done.stderr
