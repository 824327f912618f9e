"""``playcast serve`` with a Clerk instance; a session that outlives its tokens."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integrations.clerk import ClerkVerifier
from peer.signalling_client import (
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
)
from signalling.__main__ import main
from signalling.messages import Error, Role, ServerMessage, Welcome
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from tests.integrations.jwks_server import SigningKey, jwks_server
from tests.integrations.test_clerk import (
    FEATURES,
    ORGANIZATION,
    PARTY,
    claims,
    publishable_key,
    settings,
)

ROOT = Path(__file__).parents[2]
CLERK = ("--clerk-publishable-key", publishable_key(), "--authorized-party", PARTY)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (CLERK[:2], "needs --authorized-party"),
        (("--clerk-publishable-key", "sk_live_x", *CLERK[2:]), "is a secret"),
        (("--clerk-publishable-key", "pk_live_x", *CLERK[2:]), "names no Clerk instance"),
        ((*CLERK, "--authorized-party", "play.example"), "'play.example' is not an origin"),
        ((*CLERK, "--issuer", "https://x.example"), "does not go with --issuer"),
        ((*CLERK, "--dev"), "does not go with --clerk-publishable-key"),
        ((*CLERK, "--host-role", "org:admin"), "organizations"),
        ((*CLERK, "--email-domain", "a@b.example"), "not a domain"),
        ((*CLERK, "--jwks", "http://192.0.2.1/keys"), "https"),
        (("--issuer", "i", "--clerk-organization", "o"), "does not go with --clerk-organization"),
    ],
)
def test_options_that_make_no_sense_are_named(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words]) == 2
    text = capsys.readouterr().err
    assert said in text
    assert "sk_live_x" not in text


@contextlib.asynccontextmanager
async def serving(*words: str) -> AsyncIterator[str]:
    """The server as a child; yields its WebSocket's address."""
    read_end, write_end = os.pipe()
    command = ("-m", "signalling", "serve", "--port", "0", "--ready-fd", str(write_end))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, *words), cwd=ROOT, pass_fds=(write_end,)
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as ready:
            yield json.loads(await asyncio.to_thread(ready.readline))["websocket_url"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def member(url: str, role: Role, token: str = "") -> SignallingClientSettings:
    return SignallingClientSettings(url=url, token=token, room="arena", role=role)


async def outcome(entering: SignallingClientSettings) -> str:
    """``welcome``, or the code of the refusal."""
    async with SignallingClient(entering) as room, asyncio.timeout(10):
        try:
            async for message in room:
                assert isinstance(message, Welcome)
                return "welcome"
        except SignallingRefused as refused:
            return str(refused.code)
    raise AssertionError("it ended without a word")


async def test_a_session_outlives_its_tokens_and_a_rotation_of_the_keys() -> None:
    old, new = SigningKey("old"), SigningKey("new")
    async with jwks_server(old) as issuer, contextlib.AsyncExitStack() as stack:
        verifier = ClerkVerifier(settings(jwks=issuer.url, leeway_s=0.0, keys_cooldown_s=0.0))
        stack.push_async_callback(verifier.close)
        server = await stack.enter_async_context(
            SignallingServer(SignallingSettings(verifier=verifier, port=0))
        )
        given: list[str] = []
        renewed = asyncio.Event()

        async def fresh() -> str:
            key = issuer.keys[0]
            given.append(key.kid)
            if given == ["old", "old", "new", "new"]:
                renewed.set()
            if len(given) == 2:
                issuer.keys = [new]
            return key.sign(claims(exp=int(time.time()) + 3))

        room = await stack.enter_async_context(
            SignallingClient(member(server.websocket_url, "viewer"), fresh_token=fresh)
        )
        messages = aiter(room)
        async with asyncio.timeout(10):
            assert isinstance(await anext(messages), Welcome)
        rest = asyncio.create_task(everything(messages))
        waiting = asyncio.ensure_future(renewed.wait())
        await asyncio.wait([rest, waiting], timeout=30, return_when="FIRST_COMPLETED")
        assert waiting.done()
        assert issuer.asked == 2
        await room.close()
        assert not any(isinstance(message, Error | Welcome) for message in await rest)


async def everything(messages: AsyncIterator[ServerMessage]) -> list[ServerMessage]:
    return [message async for message in messages]


async def test_who_may_enter_as_what() -> None:
    key = SigningKey("ins_1")
    async with jwks_server(key) as issuer:
        words = (
            *(*CLERK, "--jwks", issuer.url),
            *("--allow-missing-party", "--clerk-organization", "org_1"),
            *("--host-role", "org:streams:host", "--email-domain", "studio.example"),
        )
        async with serving(*words) as url:
            known = {"email": "ann@studio.example", "email_verified": True}
            admin = {**known, "o": ORGANIZATION, "fea": FEATURES}

            async def enters(role: Role, **changes: object) -> str:
                return await outcome(member(url, role, key.sign(claims(**changes))))

            assert await enters("viewer", **known) == "welcome"
            assert await enters("host", **known) == "forbidden"
            assert await enters("host", **admin) == "welcome"
            assert await enters("host", **admin, azp=None) == "welcome"
            assert await enters("viewer", **{**known, "email_verified": False}) == "forbidden"
            assert await enters("viewer", **known, azp="https://evil.example") == "bad-token"
            assert await enters("viewer", **known, sts="pending") == "bad-token"
            assert await enters("viewer", **known, exp=int(time.time()) - 60) == "token-expired"
