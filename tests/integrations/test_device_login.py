"""The device grant of RFC 8628 against a small authorization server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from integrations.device_login import (
    Authorization,
    Client,
    DeviceRequest,
    Endpoints,
    LoginEnded,
    LoginError,
    LoginUnreachable,
    Tokens,
)
from tests.integrations.login_server import CLIENT, LoginServer, login_server


@pytest.fixture
async def server() -> AsyncIterator[LoginServer]:
    async with login_server() as server:
        yield server


class Time:
    """Passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


async def login(server: LoginServer, time: Time, **client: str) -> tuple[DeviceRequest, Tokens]:
    endpoints = await Endpoints.discover(server.issuer)
    wanted = Client(**{"id": CLIENT, **client})
    async with Authorization(
        endpoints, wanted, sleep=time.sleep, clock=time.clock
    ) as authorization:
        request = await authorization.request()
        return request, await authorization.wait(request)


async def test_a_person_agrees_elsewhere_and_tokens_come(server: LoginServer) -> None:
    server.verdicts = ["authorization_pending", "authorization_pending"]
    time = Time()
    request, tokens = await login(server, time)
    assert (request.code, request.uri) == ("WDJB-MJHT", f"{server.url}/activate")
    assert request.complete_uri == f"{server.url}/activate?user_code=WDJB-MJHT"
    assert time.sleeps == [5.0, 5.0, 5.0]
    assert (tokens.refresh, tokens.expires_in) == ("refresh-1", 300.0)
    assert tokens.access.count(".") == tokens.id.count(".") == 2


async def test_who_is_told_to_slow_down_does_for_good(server: LoginServer) -> None:
    server.device_answer = {"interval": 2}
    server.verdicts = ["authorization_pending", "slow_down", "authorization_pending", "slow_down"]
    time = Time()
    await login(server, time)
    assert time.sleeps == [2.0, 2.0, 7.0, 7.0, 12.0]


async def test_a_server_that_does_not_answer_is_asked_ever_less_often(server: LoginServer) -> None:
    server.verdicts = ["down", "down", "authorization_pending"]
    time = Time()
    await login(server, time)
    assert time.sleeps == [5.0, 10.0, 20.0, 20.0]


@pytest.mark.parametrize("interval", [None, "soon", -1, True, 1e300])
async def test_an_interval_that_makes_no_sense_is_five_seconds(
    server: LoginServer, interval: Any
) -> None:
    server.device_answer = {"interval": interval}
    time = Time()
    await login(server, time)
    assert time.sleeps == [5.0]


@pytest.mark.parametrize(
    ("verdicts", "kind", "says"),
    [
        (["access_denied"], LoginEnded, "was refused"),
        (["authorization_pending", "expired_token"], LoginEnded, "nobody signed in"),
        (["authorization_pending"] * 1000, LoginEnded, "nobody signed in"),
        (["down"] * 1000, LoginEnded, "nobody signed in"),
        (["invalid_grant"], LoginError, "refuses the login: invalid_grant"),
        (["\x1b[2Jinvalid"], LoginError, r"the login: \[2Jinvalid"),
    ],
)
async def test_a_login_that_fails_says_why(
    server: LoginServer, verdicts: list[str], kind: type[LoginError], says: str
) -> None:
    server.verdicts = verdicts
    time = Time()
    with pytest.raises(kind, match=says):
        await login(server, time)
    assert time.now - 1000.0 < 600.0


async def test_a_client_that_is_not_registered_is_told_so(server: LoginServer) -> None:
    with pytest.raises(LoginError, match="invalid_client"):
        await login(server, Time(), id="somebody")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"device_authorization_endpoint": None}, "no device login"),
        ({"device_authorization_endpoint": "http://192.0.2.1/device"}, "https"),
        ({"token_endpoint": None}, "token_endpoint"),
        ({"token_endpoint": 7}, "token_endpoint"),
        ({"token_endpoint": "http://192.0.2.1/token"}, "https"),
        ({"revocation_endpoint": "ftp://x.example"}, "https"),
    ],
)
async def test_an_issuer_that_cannot_be_asked_in_safety_is_not(
    server: LoginServer, metadata: dict[str, Any], says: str
) -> None:
    server.metadata = metadata
    with pytest.raises(LoginError, match=says):
        await Endpoints.discover(server.issuer)


@pytest.mark.parametrize("issuer", ["http://login.example", "login.example", ""])
async def test_an_issuer_is_an_https_url(issuer: str) -> None:
    with pytest.raises(LoginError, match="issuer"):
        await Endpoints.discover(issuer)


@pytest.mark.parametrize(
    ("device", "tokens", "says"),
    [
        ({"device_code": None}, {}, "no code"),
        ({"user_code": 7}, {}, "no code"),
        ({"verification_uri": None}, {}, "no code"),
        ({}, {"access_token": 7}, "none"),
        ({}, {"refresh_token": ["a"]}, "none"),
        ({}, {"padding": "x" * 300_000}, "more than"),
    ],
)
async def test_answers_of_another_shape_are_refused(
    server: LoginServer, device: dict[str, Any], tokens: dict[str, Any], says: str
) -> None:
    server.device_answer, server.token_answer = device, tokens
    with pytest.raises(LoginError, match=says):
        await login(server, Time())


@pytest.mark.parametrize("path", ["/device", "/token"])
async def test_no_redirect_is_followed(server: LoginServer, path: str) -> None:
    """It could lead anywhere, with a refresh token in the form."""
    server.redirected = path
    with pytest.raises(LoginError, match=f"{path} answered 307"):
        await login(server, Time())
    assert server.serial == 0


async def test_what_is_shown_does_not_move_the_cursor(server: LoginServer) -> None:
    server.device_answer = {"user_code": "AB\x1b[1A\r\n-CD", "verification_uri_complete": 7}
    request, _ = await login(server, Time())
    assert (request.code, request.complete_uri) == ("AB[1A-CD", "")


async def test_tokens_are_refreshed_and_a_login_ends(server: LoginServer) -> None:
    _, tokens = await login(server, Time())
    endpoints = await Endpoints.discover(server.issuer)
    async with Authorization(endpoints, Client(id=CLIENT)) as authorization:
        fresh = await authorization.refresh(tokens.refresh)
        assert (fresh.refresh, fresh.access != tokens.access) == ("refresh-2", True)
        await authorization.revoke(fresh.refresh)
        assert server.revoked == ["refresh-2"]
        with pytest.raises(LoginEnded):
            await authorization.refresh(tokens.refresh)
    silent = Endpoints(issuer=server.issuer, device=endpoints.device, token=endpoints.token)
    async with Authorization(silent, Client(id=CLIENT)) as authorization:
        await authorization.revoke("refresh-3")
    assert len(server.revoked) == 1


async def test_who_cannot_be_reached_may_be_later() -> None:
    async with login_server() as gone:
        issuer = gone.issuer
        endpoints = await Endpoints.discover(issuer)
    with pytest.raises(LoginUnreachable, match="cannot fetch"):
        await Endpoints.discover(issuer)
    async with Authorization(endpoints, Client(id=CLIENT)) as authorization:
        with pytest.raises(LoginUnreachable, match="cannot reach"):
            await authorization.refresh("refresh-1")
