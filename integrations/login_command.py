"""``playcast login`` and ``playcast logout``: a desktop host signs in once, for many streams."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from peer.interrupt import until_interrupted

from .device_login import Authorization, Client, DeviceRequest, Endpoints, LoginError
from .login_store import LoginStore, StoredLogin, token_of

LOGIN_EXAMPLES = """\
examples:
  playcast login https://login.example --client-id playcast-desktop
      prints a page and a code; open the page on any device, type the code, agree
  playcast host --signalling wss://play.example/ws --login
      hosts as whoever signed in, for as long as the login lasts

The client must be registered with the issuer as a public one that may use the device grant.
"""


def run_login(arguments: Sequence[str]) -> int:
    """The command, without its name. Returns the exit status."""
    parser = _parser("login", "Sign in to an issuer of tokens, without a browser here.")
    parser.epilog = LOGIN_EXAMPLES
    parser.add_argument("issuer", metavar="ISSUER", help="as https://login.example")
    parser.add_argument("--client-id", required=True, metavar="ID", help="what we are to it")
    parser.add_argument(
        "--scope",
        default=Client(id="").scope,
        help="what to ask for; without offline_access some issuers end it soon (%(default)s)",
    )
    parser.add_argument("--audience", default="", metavar="NAME", help="for whom the token is")
    parser.add_argument(
        "--token",
        choices=("access", "id"),
        default="access",
        help="which of the issuer's tokens the server takes (%(default)s)",
    )
    return _run("login", _login(parser.parse_args(arguments), LoginStore()))


def run_logout(arguments: Sequence[str]) -> int:
    """The command, without its name. Returns the exit status."""
    parser = _parser("logout", "End a login, here and at the issuer.")
    parser.add_argument(
        "issuer", metavar="ISSUER", nargs="?", default="", help="where (the only one)"
    )
    return _run("logout", _logout(parser.parse_args(arguments), LoginStore()))


async def _login(options: argparse.Namespace, store: LoginStore) -> None:
    endpoints = await Endpoints.discover(options.issuer)
    client = Client(id=options.client_id, scope=options.scope, audience=options.audience)
    async with Authorization(endpoints, client) as authorization:
        request = await authorization.request()
        _tell(request)
        tokens = await authorization.wait(request)
    token_of(tokens, options.token)
    if not tokens.refresh:
        raise LoginError(
            "the issuer gave no refresh token, so the login would end with its first token:"
            " ask for another --scope, or allow it there"
        )
    login = StoredLogin(
        issuer=options.issuer,
        client_id=client.id,
        scope=client.scope,
        audience=client.audience,
        token=options.token,
        device_endpoint=endpoints.device,
        token_endpoint=endpoints.token,
        revocation_endpoint=endpoints.revocation,
        refresh_token=tokens.refresh,
    )
    store.write(login)
    print(f"Signed in. The login is kept in {store.path(login.issuer)}")


def _tell(request: DeviceRequest) -> None:
    print(f"Open {request.uri} on any device, and enter the code {request.code}")
    if request.complete_uri:
        print(f"or open {request.complete_uri}")
    print("Waiting for you to agree there …", flush=True)


async def _logout(options: argparse.Namespace, store: LoginStore) -> None:
    login = store.find(options.issuer)
    async with store.lock():
        login = store.find(login.issuer)
        store.delete(login.issuer)
    async with login.authorization() as authorization:
        try:
            await authorization.revoke(login.refresh_token)
        except LoginError as error:
            raise LoginError(f"the login is forgotten here, but {error}") from error
    print(f"Signed out of {login.issuer}")


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"playcast {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _run(name: str, work: Coroutine[Any, Any, None]) -> int:
    try:
        interrupted = asyncio.run(until_interrupted(work))
    except LoginError as error:
        print(f"playcast {name}: {error}", file=sys.stderr)
        return 1
    return 130 if interrupted else 0
