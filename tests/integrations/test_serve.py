"""``playcast serve`` with configuration, logs, reports and traces around it, as a process."""

import asyncio
import base64
import hmac
import json
import re
import ssl
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import connect

from integrations import serve
from signalling import DevIssuer
from signalling.invites import InvitationKey, Invitations, InvitationSettings
from signalling.messages import Hello, Ping, Span, Trace, encode
from signalling.tracing import ROOT_SPAN
from tests.integrations.otlp_server import otlp_server
from tests.integrations.sentry_server import sentry_server
from tests.integrations.served import certificate, ended, serving
from tests.signalling.redis import server as redis_server


def test_help_tells_the_defaults(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        serve.main(["--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "how far the issuer's clock may be from ours (5)" in said


async def test_it_serves_as_its_file_says_and_logs_json(tmp_path: Path):
    file = tmp_path / "playcast.toml"
    file.write_text(
        '[server]\nport = 0\nhost = "localhost"\n[identity]\ndev = true\n'
        '[logs]\nformat = "json"\nlevel = "info"\n'
    )
    async with serving(tmp_path, "--config", str(file)) as (process, url):
        assert url.startswith("http://localhost:")
        status, said = await ended(process)
    assert status == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert any("listening on" in line["event"] for line in lines)
    assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)


async def test_an_option_wins_over_the_file(tmp_path: Path):
    async with serving(
        tmp_path,
        *("--dev", "--host", "127.0.0.1", "--port", "0"),
        PLAYCAST_SERVER__HOST="localhost",
    ) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert (await ended(process))[0] == 0


async def test_dev_mode_knows_the_profile_of_the_file(tmp_path: Path):
    file = tmp_path / "playcast.toml"
    file.write_text('environment = "production"\n')
    async with serving(tmp_path, "--config", str(file), "--dev") as (process, url):
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    assert (process.returncode, url) == (2, "")
    assert b"production" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PLAYCAST_SENTRY__DSN", "https://nothing", "sentry.dsn"),
        ("PLAYCAST_TELEMETRY__HEADERS", "x", "telemetry.headers"),
    ],
)
async def test_what_is_wrong_ends_it_with_2(tmp_path: Path, name: str, value: str, said: str):
    async with serving(tmp_path, "--dev", **{name: value}) as (process, _):
        async with asyncio.timeout(30):
            _, told = await process.communicate()
    assert process.returncode == 2
    assert said in told.decode()


async def test_it_runs_with_reports_and_traces(tmp_path: Path):
    async with sentry_server() as sentry, otlp_server() as collector:
        environment = {
            "PLAYCAST_SENTRY__DSN": sentry.dsn,
            "PLAYCAST_TELEMETRY__ENDPOINT": collector.endpoint,
        }
        async with serving(tmp_path, "--dev", "--port", "0", **environment) as (process, url):
            assert url
            status, said = await ended(process)
    assert status == 0, said


def dev_token(directory: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> str:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    return DevIssuer.load_or_create().mint(f"user-{role}", "play", role, 600.0)


async def said(socket, kind: str) -> dict:
    async with asyncio.timeout(10):
        async for frame in socket:
            message = json.loads(frame)
            if message["type"] == kind:
                return message
    raise AssertionError(f"no {kind}")


async def test_a_viewers_trace_runs_from_its_click_through_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And every line that the server logs about it has the trace's id, the room and the user."""
    token = dev_token(tmp_path, monkeypatch, "viewer")
    trace, click = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    async with otlp_server() as collector:
        environment = {
            "PLAYCAST_TELEMETRY__ENDPOINT": collector.endpoint,
            "PLAYCAST_LOGS__FORMAT": "json",
        }
        words = ("--dev", "--port", "0", "--log-level", "info")
        async with serving(tmp_path, *words, **environment) as (process, url):
            async with connect(url.replace("http", "ws") + "ws") as socket:
                context = f"00-{trace}-{click}-01"
                await socket.send(encode(Hello(token, "play", "viewer", traceparent=context)))
                await said(socket, "welcome")
                at = time.time() * 1000
                spans = [Span(ROOT_SPAN, at - 900, 850.0), Span("ice", at - 300, 120.0)]
                await socket.send(encode(Trace(spans)))
                await socket.send(encode(Ping(1.0)))
                await said(socket, "pong")
                async with ClientSession() as http, http.get(url + "metrics") as answer:
                    metrics = await answer.text()
            status, log = await ended(process)
            spans = await collector.until(3)
    assert status == 0
    found = {span.name: span for span in spans}
    assert found.keys() == {ROOT_SPAN, "ice", "signalling.join"}
    assert {span.trace for span in spans} == {trace}
    assert found[ROOT_SPAN].span == click
    assert found["ice"].parent == found["signalling.join"].parent == click
    assert "playcast_first_frame_seconds_count 1.0" in metrics
    assert 'playcast_messages_received_total{type="trace"} 1.0' in metrics
    assert 'playcast_jwks_fetches_total{outcome="ok"} 1.0' in metrics
    assert 'playcast_records_total{type="viewer.joined"} 1.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    assert token not in log
    lines = [json.loads(line) for line in log.splitlines()]
    (joined,) = (line for line in lines if line["event"].startswith("joined"))
    assert (joined["room"], joined["user"], joined["trace"]) == ("play", "user-viewer", trace)
    about = [line for line in lines if line.get("connection") == joined["connection"]]
    assert len(about) >= 2
    assert all(line["trace"] == trace for line in about)


async def test_keys_of_invitations_that_are_a_secret_are_shared_keys(tmp_path: Path):
    keys = f"new:{base64.b64encode(b'n' * 32).decode()}"
    with redis_server.single(tmp_path / "redis") as redis:
        words = ("--dev", "--port", "0", "--redis", redis.url)
        for environment, warned in (
            ({}, True),
            ({"PLAYCAST_IDENTITY__INVITATION_KEYS": keys}, False),
        ):
            async with serving(tmp_path, *words, **environment) as (process, url):
                assert url
                status, said = await ended(process)
            assert (status, "the same --invitation-keys" in said) == (0, warned)


async def test_metrics_are_for_who_has_the_token(tmp_path: Path):
    environment = {"PLAYCAST_SERVER__METRICS_TOKEN": "for-prometheus"}
    async with (
        serving(tmp_path, "--dev", "--port", "0", **environment) as (_, url),
        ClientSession() as http,
    ):
        for wrong in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": "for-prometheus"}):
            async with http.get(url + "metrics", headers=wrong) as answer:
                assert answer.status == 404
        headers = {"Authorization": "Bearer for-prometheus"}
        async with http.get(url + "metrics", headers=headers) as answer:
            assert answer.status == 200
            assert "playcast_connections 0.0" in await answer.text()


async def test_limits_are_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    token = dev_token(tmp_path, monkeypatch, "viewer")
    environment = {"PLAYCAST_SERVER__LIMITS__RATES": "ping=0.001/2"}
    async with (
        serving(tmp_path, "--dev", "--port", "0", **environment) as (_, url),
        connect(url.replace("http", "ws") + "ws") as socket,
    ):
        await socket.send(encode(Hello(token, "play", "viewer")))
        for number in range(3):
            await socket.send(encode(Ping(float(number))))
        for _ in range(2):
            await said(socket, "pong")
        assert (await said(socket, "error"))["code"] == "rate-limited"


async def test_tls_is_as_configured(tmp_path: Path):
    pem, key = await certificate(tmp_path)
    environment = {
        "PLAYCAST_SERVER__TLS__CERTIFICATE": str(pem),
        "PLAYCAST_SERVER__TLS__KEY": str(key),
    }
    async with serving(tmp_path, "--dev", "--port", "0", **environment) as (_, url):
        assert url.startswith("https://")
        trust = ssl.create_default_context(cafile=str(pem))
        async with ClientSession() as http, http.get(url + "healthz", ssl=trust) as answer:
            assert answer.status == 200


async def test_secrets_that_rotate_are_used_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """TURN credentials are made with the new secret; the new key of invitations lets in."""
    token = dev_token(tmp_path, monkeypatch, "viewer")
    keys = [InvitationKey.generate(), InvitationKey.generate()]
    secrets = tmp_path / "secrets"
    secrets.mkdir()

    def write(turn: str, key: InvitationKey) -> None:
        line = f"{key.id}:{base64.b64encode(key.secret).decode()}\n"
        for name, text in (("turn__secret", turn), ("identity__invitation_keys", line)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).replace(secrets / name)

    async def first_of(url: str, shown: str) -> dict:
        async with connect(url.replace("http", "ws") + "ws") as socket, asyncio.timeout(10):
            await socket.send(encode(Hello(shown, "play", "viewer")))
            return json.loads(await socket.recv())

    def is_made_with(secret: str, server: dict) -> bool:
        digest = hmac.digest(secret.encode(), server["username"].encode(), "sha1")
        return server["credential"] == base64.b64encode(digest).decode()

    write("turn-secret-one", keys[0])
    words = ("--dev", "--port", "0", "--secrets", str(secrets), "--log-level", "info")
    regions = "here=turn:turn.example:3478?transport=udp"
    async with serving(tmp_path, *words, PLAYCAST_TURN__REGIONS=regions) as (process, url):
        assert is_made_with("turn-secret-one", (await first_of(url, token))["ice_servers"][0])
        invitations = Invitations(InvitationSettings(keys=(keys[1],)))
        invitation, _ = invitations.make("play", "viewer", 60.0, "me")
        assert (await first_of(url, invitation))["type"] == "error"

        write("turn-secret-two", keys[1])
        changed: set[str] = set()
        async with asyncio.timeout(30):
            while len(changed) < 2:
                line = (await process.stderr.readline()).decode()
                changed |= set(re.findall(r"secret (\S+) has changed", line))
                assert "turn-secret" not in line
        assert changed == {"turn.secret", "identity.invitation_keys"}
        assert is_made_with("turn-secret-two", (await first_of(url, token))["ice_servers"][0])
        assert (await first_of(url, invitation))["type"] == "welcome"
