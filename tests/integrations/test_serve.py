"""``playcast serve`` with configuration, logs, reports and traces around it, as a process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integrations.otlp_server import otlp_server
from tests.integrations.sentry_server import sentry_server

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def serving(
    directory: Path, *words: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The server, and the address it says it has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLAYCAST")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peer.cli", "serve", *words),
        cwd=ROOT,
        env={**kept, "XDG_RUNTIME_DIR": str(directory), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield process, line.decode().rpartition(" ")[2].strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    return process.returncode, said.decode()


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
    assert (process.returncode, url) == (1, "")
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
