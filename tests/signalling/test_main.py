"""The server's command line."""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from signalling import DevIssuer
from signalling.__main__ import main
from signalling.dev import AUDIENCE, ISSUER
from signalling.limits import Limits
from signalling.messages import Hello, Welcome, decode_server, encode
from signalling.server_options import add_server_options, server_parts
from tests.signalling.redis import server as redis_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve"], "--issuer, or --dev"),
        (["serve", "--issuer", "x", "--jwks", "y"], "--audience or --authorized-party"),
        (["serve", "--dev", "--jwks", "y"], "--jwks"),
        (["serve", "--dev", "--redis", "http://h"], "--redis: takes redis://"),
        (["serve", "--dev", "--redis", "redis://h", "--redis-lease", "0"], "--redis-lease: must"),
        (
            ["serve", "--issuer", "x", "--jwks", "http://192.0.2.1/jwks", "--audience", "z"],
            "https",
        ),
    ],
)
def test_options_that_make_no_sense_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--port", "70000"], "--port: takes 0..65535"),
        (["serve", "--stun", "http://h"], "--stun: an ICE server is"),
        (["serve", "--room", "a/b"], "--room: takes 1 to 64"),
        (["token", "--role", "king"], "--role: invalid choice"),
        (["token", "--lifetime", "soon"], "--lifetime: takes a time"),
        (["token", "--lifetime", "0"], "--lifetime: takes a time"),
        (["token", "--room", "**"], "--room: takes 1 to 64"),
    ],
)
def test_a_wrong_value_is_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_dev_mode_stays_on_loopback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--dev", "--host", "0.0.0.0"]) == 1
    assert "loopback" in capsys.readouterr().err


def test_dev_mode_does_not_start_in_production(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYCAST_ENVIRONMENT", "production")
    assert main(["serve", "--dev"]) == 1
    assert "PLAYCAST_ENVIRONMENT" in capsys.readouterr().err


async def test_a_minted_token_is_good_for_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--room", "den", "--role", "host", "--subject", "ann", "--lifetime", "2h"]
    assert main(["token", *words]) == 0
    verifier = DevIssuer.load().verifier()
    identity = await verifier.verify(capsys.readouterr().out.strip())
    await verifier.close()
    assert (identity.subject, identity.room, identity.roles) == ("ann", "den", {"host"})


@asynccontextmanager
async def serving(*words: str, log: IO[bytes] | None = None) -> AsyncIterator[dict[str, object]]:
    """The server as a child; yields what it tells its parent. It must end well on SIGTERM."""
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signalling", "serve", "--ready-fd", str(write_end), *words),
        cwd=ROOT,
        pass_fds=(write_end,),
        stderr=log,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as ready:
            yield json.loads(await asyncio.to_thread(ready.readline))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def joins(url: str, token: str) -> bool:
    async with connect(url, proxy=None) as socket:
        await socket.send(encode(Hello(token, "den", "host")))
        return isinstance(decode_server(await socket.recv()), Welcome)


async def test_a_server_with_an_issuer_of_its_own(tmp_path: Path) -> None:
    issuer = DevIssuer.generate()
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(issuer.jwks()))
    words = ("--issuer", ISSUER, "--jwks", str(keys), "--audience", AUDIENCE, "--port", "0")
    async with serving(*words) as found:
        url = str(found["websocket_url"])
        assert found["tokens"] == {}
        token = issuer.mint("h", "den", "host")
        assert await joins(url, token)
        forged = DevIssuer.generate().mint("h", "den", "host").rpartition(".")[2]
        assert not await joins(url, f"{token.rpartition('.')[0]}.{forged}")


@pytest.mark.parametrize(
    ("shares_rooms", "shares_keys", "warned"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
async def test_servers_that_share_rooms_but_no_keys_of_invitations_say_so(
    tmp_path: Path, shares_rooms: bool, shares_keys: bool, warned: bool
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"new:{base64.b64encode(b'n' * 32).decode()}\n")
    words = ["--invitation-keys", str(keys)] if shares_keys else []
    with contextlib.ExitStack() as stack:
        if shares_rooms:
            redis = stack.enter_context(redis_server.single(tmp_path / "redis"))
            words += ["--redis", redis.url]
        log = stack.enter_context((tmp_path / "log").open("w+b"))
        async with serving("--dev", "--port", "0", *words, log=log):
            pass
        log.seek(0)
        lines = [line for line in log.read().decode().splitlines() if "invitations" in line]
    assert len(lines) == warned
    assert all(
        "give all servers of this Redis the same --invitation-keys" in line for line in lines
    )


async def test_the_usual_port_gives_way_when_told_to() -> None:
    async with serving("--dev", "--port", "0") as first:
        port = str(first["url"]).rstrip("/").rpartition(":")[2]
        async with serving("--dev", "--port", port, "--or-any-port") as second:
            assert second["url"] != first["url"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tls-cert", "x.pem"], "--tls-cert and --tls-key go together"),
        (["--proxy", "10.0.0.0/33"], "--proxy: '10.0.0.0/33'"),
        (["--metrics-from", "here"], "--metrics-from: 'here'"),
    ],
)
def test_options_of_the_network_that_make_no_sense_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--dev", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_certificate_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--dev", "--tls-cert", "no.pem", "--tls-key", "no.key"]) == 1
    assert "cannot read no.pem" in capsys.readouterr().err


def test_what_is_said_takes_the_place_of_what_was_brought_along(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_server_options(parser)
    brought = {
        "drain_s": 7.0,
        "limits": Limits(max_rooms=5, max_connections=6),
        "resume_window_s": 8,
    }
    assert server_parts(parser.parse_args([]), brought) == brought
    words = ["--drain", "1.5", "--max-rooms", "9", "--proxy", "10.0.0.0/8", "--proxy", "::1"]
    said = server_parts(parser.parse_args(words), brought)
    assert (said["drain_s"], said["resume_window_s"]) == (1.5, 8)
    assert (said["limits"].max_rooms, said["limits"].max_connections) == (9, 6)
    assert [str(network) for network in said["proxies"]] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("signals", "drains"),
    [([signal.SIGTERM, signal.SIGTERM], True), ([signal.SIGINT], False)],
)
async def test_the_first_sigterm_drains_and_a_second_signal_ends_at_once(
    signals: list[signal.Signals], drains: bool
) -> None:
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signalling", "serve", "--dev", "--port", "0"),
        *("--ready-fd", str(write_end), "--drain", "60"),
        cwd=ROOT,
        pass_fds=(write_end,),
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as ready:
            found = json.loads(await asyncio.to_thread(ready.readline))
        url = str(found["websocket_url"])
        async with asyncio.timeout(20):
            sockets = [await connect(url, proxy=None) for _ in range(12)]
            process.send_signal(signals[0])
            if drains:
                # The first few are told, and meanwhile nobody new is let in.
                ends = [asyncio.ensure_future(socket.recv()) for socket in sockets]
                told, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                assert all("shutting-down" in str(end.result()) for end in told)
                assert others
                for end in others:
                    end.cancel()
                with pytest.raises(InvalidStatus, match="503"):
                    await connect(url, proxy=None)
            for number in signals[1:]:
                process.send_signal(number)
            for socket in sockets:
                with contextlib.suppress(ConnectionClosed):
                    async for frame in socket:
                        assert "shutting-down" in str(frame)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
