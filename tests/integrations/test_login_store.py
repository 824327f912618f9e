"""Logins kept on the disk, the tokens that they give, and the two commands."""

import asyncio
import base64
import json
import re
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations.device_login import Authorization, Client, Endpoints, LoginError
from integrations.login_store import LoginStore, LoginTokens, StoredLogin, default_folder
from peer.cli import main
from peer.signalling_client import SignallingClient, SignallingClientSettings, TokenUnavailable
from signalling.auth import Verifier, VerifierSettings
from signalling.messages import Welcome
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from tests.integrations.login_server import CLIENT, LoginServer, login_server


@pytest.fixture
async def server() -> AsyncIterator[LoginServer]:
    async with login_server() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoginStore:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return LoginStore()


def a_login(issuer: str = "https://login.example", **changes: Any) -> StoredLogin:
    return StoredLogin(
        **{
            "issuer": issuer,
            "client_id": CLIENT,
            "scope": "openid",
            "audience": "",
            "token": "access",
            "device_endpoint": f"{issuer}/device",
            "token_endpoint": f"{issuer}/token",
            "revocation_endpoint": f"{issuer}/revoke",
            "refresh_token": "refresh-1",
            **changes,
        }
    )


async def sign_in(server: LoginServer, store: LoginStore, **changes: Any) -> None:
    async with Authorization(
        await Endpoints.discover(server.issuer), Client(id=CLIENT), sleep=_at_once
    ) as authorization:
        tokens = await authorization.wait(await authorization.request())
    store.write(a_login(server.issuer, refresh_token=tokens.refresh, **changes))
    server.asked.clear()


async def _at_once(seconds: float) -> None:
    await asyncio.sleep(0)


# The files --------------------------------------------------------------------------------------


def test_a_login_is_kept_where_only_its_owner_reads(store: LoginStore) -> None:
    first, second = a_login(), a_login("https://other.example", token="id")
    store.write(first)
    path = store.path(first.issuer)
    assert path.parent == default_folder() == store.folder
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert store.find() == store.find(first.issuer) == first
    store.write(second)
    store.write(msgspec.structs.replace(first, refresh_token="refresh-2"))
    assert store.issuers() == [first.issuer, second.issuer]
    assert store.find(first.issuer).refresh_token == "refresh-2"
    assert len(list(store.folder.iterdir())) == 2
    with pytest.raises(LoginError, match=r"which login\? There are https://login"):
        store.find()
    store.delete(first.issuer)
    assert store.find() == second
    with pytest.raises(LoginError, match="not signed in at https://login"):
        store.find(first.issuer)


def test_without_a_login_it_says_how_to_sign_in(store: LoginStore) -> None:
    with pytest.raises(LoginError, match="playcast login ISSUER"):
        store.find()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"issuer":7}', b"[" * 100_000])
def test_a_file_that_holds_no_login_is_refused(store: LoginStore, content: bytes) -> None:
    store.write(a_login())
    store.path("https://login.example").write_bytes(content)
    with pytest.raises(LoginError, match="holds no login"):
        store.find("https://login.example")


def test_a_file_that_others_may_read_is_refused(store: LoginStore) -> None:
    store.write(a_login())
    path = store.path("https://login.example")
    path.chmod(0o640)
    with pytest.raises(LoginError, match="others may read"):
        store.find()
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(LoginError, match="cannot read"):
        store.find()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LoginError, match=r"cannot keep the login in .*file"):
        LoginStore(tmp_path / "file").write(a_login())


# Tokens -----------------------------------------------------------------------------------------


async def test_a_token_is_kept_until_it_ends_soon(server: LoginServer, store: LoginStore) -> None:
    await sign_in(server, store)
    now = [0.0]
    source = LoginTokens(store, server.issuer, clock=lambda: now[0])
    now[0] = json.loads(payload(server.mint()))["iat"]
    first = await source()
    now[0] += server.lifetime_s - 70
    assert await source() == first
    now[0] += 20
    assert await source() != first
    assert [form["refresh_token"] for form in server.asked] == ["refresh-1", "refresh-2"]
    assert store.find().refresh_token == server.refresh_token == "refresh-3"


def payload(token: str) -> bytes:
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize(("expires_in", "until"), [(10, 5.0), (None, 30.0), (0, 0.0)])
async def test_a_token_that_is_no_jwt_lives_as_long_as_the_issuer_says(
    server: LoginServer, store: LoginStore, expires_in: int | None, until: float
) -> None:
    server.token_answer = {"access_token": "opaque", "expires_in": expires_in}
    await sign_in(server, store)
    now = [1000.0]
    source = LoginTokens(store, server.issuer, clock=lambda: now[0])
    await source()
    if until:
        now[0] = 1000.0 + until - 0.1
        await source()
        assert len(server.asked) == 1
    now[0] = 1000.0 + until
    await source()
    assert len(server.asked) == 2


async def test_the_id_token_is_a_choice(server: LoginServer, store: LoginStore) -> None:
    await sign_in(server, store, token="id")
    assert json.loads(payload(await LoginTokens(store, server.issuer)()))["aud"] == CLIENT
    server.token_answer = {"id_token": None}
    with pytest.raises(TokenUnavailable, match="gave no id token"):
        await LoginTokens(store, server.issuer)()


async def test_many_programs_share_a_login_whose_refresh_token_changes(
    server: LoginServer, store: LoginStore
) -> None:
    """The server takes a second use of a refresh token for theft, and ends the login."""
    await sign_in(server, store)
    sources = [LoginTokens(LoginStore(), server.issuer) for _ in range(4)]
    tokens = await asyncio.gather(*(source() for source in sources for _ in range(3)))
    assert len(set(tokens)) == 4
    assert server.refresh_token == store.find().refresh_token == "refresh-5"


async def test_who_gives_up_waiting_does_not_lose_the_login(
    server: LoginServer, store: LoginStore
) -> None:
    await sign_in(server, store)
    source = LoginTokens(store, server.issuer)
    server.gate.clear()
    while not server.arrivals.locked():
        await server.arrivals.acquire()
    asking = asyncio.create_task(source())
    await server.arrivals.acquire()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    server.gate.set()
    assert await source()
    assert store.find().refresh_token == server.refresh_token == "refresh-2"


async def test_a_login_that_has_ended_asks_for_another(
    server: LoginServer, store: LoginStore
) -> None:
    await sign_in(server, store)
    source = LoginTokens(store, server.issuer)
    server.refresh_token = "another"
    with pytest.raises(TokenUnavailable, match=f"sign in again .playcast login {server.issuer}"):
        await source()
    store.delete(server.issuer)
    with pytest.raises(TokenUnavailable, match="not signed in"):
        await source()


async def test_an_outage_of_the_issuer_passes(server: LoginServer, store: LoginStore) -> None:
    await sign_in(server, store)
    login = store.find()
    store.write(msgspec.structs.replace(login, token_endpoint="http://127.0.0.1:1/token"))
    source = LoginTokens(store, server.issuer)
    with pytest.raises(TokenUnavailable, match="cannot reach"):
        await source()
    store.write(login)
    assert await source()


# The commands -----------------------------------------------------------------------------------


async def playcast(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peer", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, complaint = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), complaint.decode()


async def test_login_then_a_session_then_logout(server: LoginServer, store: LoginStore) -> None:
    server.device_answer = {"interval": 0}
    server.verdicts = ["authorization_pending"]
    status, said, complaint = await playcast("login", server.issuer, "--client-id", CLIENT)
    assert (status, complaint) == (0, "")
    assert re.search(r"Open \S+/activate on any device, and enter the code WDJB-MJHT", said)
    assert str(store.path(server.issuer)) in said

    verifier = Verifier(VerifierSettings(issuer=server.issuer, audience="playcast"))
    async with SignallingServer(SignallingSettings(verifier=verifier, port=0)) as signalling:
        joining = SignallingClientSettings(url=signalling.websocket_url, token="", room="den")
        source = LoginTokens(store, server.issuer)
        async with SignallingClient(joining, fresh_token=source) as room, asyncio.timeout(10):
            welcome = await anext(aiter(room))
            assert isinstance(welcome, Welcome)
            assert welcome.role == "host"
    await verifier.close()

    last = server.refresh_token
    status, said, complaint = await playcast("logout")
    assert (status, complaint) == (0, "")
    assert server.revoked == [last]
    status, _, complaint = await playcast("logout")
    assert (status, "not signed in" in complaint) == (1, True)


async def test_a_login_without_a_refresh_token_is_refused_at_once(
    server: LoginServer, store: LoginStore
) -> None:
    server.device_answer, server.token_answer = {"interval": 0}, {"refresh_token": None}
    status, _, complaint = await playcast("login", server.issuer, "--client-id", CLIENT)
    assert (status, "no refresh token" in complaint) == (1, True)
    assert not store.path(server.issuer).exists()


@pytest.fixture
def said(store: LoginStore, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("--token-command", "'"), 2, "--token-command cannot be read as a command line"),
        (("--login",), 1, "--login: you are not signed in"),
        (("--login", "https://login.example"), 1, "not signed in at https://login.example"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("host", "--signalling", "ws://127.0.0.1:1/ws", "--source", "pattern"),
        ("view", "http://127.0.0.1:1/#room=den"),
    ],
)
def test_where_tokens_come_from_is_said_once_and_makes_sense(
    command: tuple[str, ...],
    words: tuple[str, ...],
    status: int,
    says: str,
    said: Callable[[], str],
) -> None:
    assert main([*command, *words]) == status
    assert says in said()
