"""The device login against node-oidc-provider, a certified OpenID provider, in a real process."""

import asyncio
import sys
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from integrations.login_store import LoginStore, LoginTokens
from peer.signalling_settings import TokenUnavailable
from signalling.auth import Verifier, VerifierSettings
from tests.integrations.node_package import node_package

CLIENT = "playcast-desktop"


@pytest.fixture(scope="module")
def script() -> Path:
    return node_package(
        "oidc-provider", "oidc-provider@^9.13.0", Path(__file__).parent / "oidc_provider.mjs"
    )


@pytest.fixture
async def issuer(script: Path) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *("node", str(script)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # it warns of what is not fit for production
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


class Forms(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form" and self.action is None:
            self.action = found["action"]
        elif tag in ("input", "button") and found.get("name", "abort") != "abort":
            self.fields[found["name"]] = found.get("value", "")


async def agree(uri: str) -> str:
    """What a person does in a browser: signs in, and says yes to everything. The last page."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        response = await browser.get(uri)
        for _ in range(8):
            page = await response.text()
            form = Forms(page)
            if form.action is None:
                return page
            fields = {"login": "ann", "password": "x"}
            answers = {name: value or fields.get(name, "") for name, value in form.fields.items()}
            response = await browser.post(urljoin(str(response.url), form.action), data=answers)
    raise AssertionError(f"it asks for ever: {page}")


async def test_a_person_signs_in_and_the_tokens_count_until_they_sign_out(
    issuer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    command = ("-m", "peer", "login", issuer, "--client-id", CLIENT)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *("--scope", "openid offline_access host"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(60):
        told = (await process.stdout.readline()).decode()
        uri = (await process.stdout.readline()).decode().removeprefix("or open ").strip()
        assert f"Open {issuer}/device on any device" in told
        page = await agree(uri)
        assert "Sign-in Success" in page, page
        assert await process.wait() == 0

    store = LoginStore()
    source = LoginTokens(store, issuer)
    before = store.find().refresh_token
    token = await source()
    assert store.find().refresh_token != before  # it rotates them

    verifier = Verifier(VerifierSettings(issuer=issuer, audience="playcast"))
    identity = await verifier.verify(token)
    assert (identity.subject, identity.roles) == ("ann", {"host", "moderator"})
    await verifier.close()

    kept = store.find()
    logout = await asyncio.create_subprocess_exec(sys.executable, "-m", "peer", "logout", issuer)
    assert await logout.wait() == 0
    store.write(kept)
    with pytest.raises(TokenUnavailable, match="the login has ended: sign in again"):
        await LoginTokens(store, issuer)()
