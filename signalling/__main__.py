"""``python -m signalling serve|token``: what ``playcast serve`` and ``playcast token`` run.

``--ready-fd`` is for a program that starts the server as its child (``playcast host``): once it
listens, the server writes one line of JSON into that file descriptor and closes it::

    {"url": "http://127.0.0.1:8080/", "websocket_url": "ws://127.0.0.1:8080/ws",
     "tokens": {"host": "…", "viewer": "…"}}        (tokens in dev mode only)
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import re
import resource
import signal
import sys
import typing
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from .audit import AuditError
from .bus import Bus, BusUnavailable
from .dev import DevIssuer, DevModeError
from .ice_servers import StaticIceServers
from .identity_options import UsageError, add_identity_options, invitations_of, verifier_of
from .messages import IceServer, Role
from .redis.bus import RedisBus
from .redis.options import add_redis_options, bus_of
from .server import AddressInUse, BindError, SignallingServer, calm_garbage_collector
from .server_options import add_server_options, server_parts
from .settings import SignallingSettings
from .surroundings import Surroundings
from .tls import TlsError

log = logging.getLogger(__name__)

DEFAULT_PORT = 8080
DEV_TOKEN_LIFETIME_S = 7 * 24 * 3600.0

SERVE_EXAMPLES = """\
examples:
  playcast serve --dev
      a server for this machine alone; it makes its own key and prints tokens
  playcast serve --host 0.0.0.0 --issuer https://login.example --audience playcast
      a server for everyone whose token that issuer signed; put TLS in front of it, or give it
      --tls-cert and --tls-key
  playcast serve --host 0.0.0.0 --clerk-publishable-key pk_live_… \\
                 --authorized-party https://play.example
      whoever is signed in there may watch; whom the custom claim "role" names host may host
  playcast host --signalling ws://127.0.0.1:8080/ws --token "$(playcast token --role host)"
      a host that joins it
"""

TOKEN_EXAMPLES = """\
examples:
  playcast token
      a viewer's token for the room "play" of a dev server of yours on this machine
  playcast token --room arena --role host --lifetime 12h
"""


def main(arguments: Sequence[str] | None = None, surroundings: Surroundings | None = None) -> int:
    """The command. Returns the exit status."""
    surroundings = surroundings or Surroundings()
    options = build_parser(surroundings).parse_args(arguments)
    if options.command == "serve":
        surroundings.complete(options)
    # Without effect where logs are configured already.
    logging.basicConfig(
        level=options.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        if options.command == "token":
            return _token(options)
        _allow_many_connections()
        return _run(_serve(options, surroundings))
    except (UsageError, ValueError) as error:
        print(f"playcast {options.command}: {error}", file=sys.stderr)
        return 2
    except (AuditError, BindError, BusUnavailable, DevModeError, TlsError) as error:
        print(f"playcast {options.command}: {error}", file=sys.stderr)
        return 1


# serve ------------------------------------------------------------------------------------------


async def _serve(options: argparse.Namespace, surroundings: Surroundings) -> int:
    async with surroundings.enter(options) as parts:
        return await _serve_with(options, parts)


async def _serve_with(options: argparse.Namespace, parts: Mapping[str, Any]) -> int:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    issuer = DevIssuer.load_or_create() if options.dev else None
    ice_servers = StaticIceServers(options.stun + options.turn)
    own_keys = options.invitation_keys is None and "invitations" not in parts
    parts = {"invitations": invitations_of(options), "ice_servers": ice_servers, **parts}
    settings = SignallingSettings(
        verifier=verifier_of(options, issuer),
        host=options.host,
        port=options.port,
        origins=frozenset(options.origin),
        **server_parts(options, parts),
    )
    settings.verifier.watch_keys(settings.metrics.jwks_fetched)
    bus: RedisBus | None = None
    try:
        bus = await bus_of(
            options, watch=settings.metrics, resume_window_s=settings.resume_window_s
        )
        if bus is not None and own_keys:
            log.warning(
                "invitations that this server makes are good for it alone: give all servers of"
                " this Redis the same --invitation-keys"
            )
        if bus is not None and settings.rate_limiter is None:
            limiter = bus.rate_limiter(settings.limits)
            settings = dataclasses.replace(settings, rate_limiter=limiter)
        server = await _listen(settings, bus, options.or_any_port)
        calm_garbage_collector()
        try:
            tokens = _mint(issuer, options.room) if issuer else {}
            if options.ready_fd is not None:
                _tell_parent(options.ready_fd, server, tokens)
            else:
                _print_links(server, options.room, tokens)
            if await signals.get() == signal.SIGTERM:
                await _unless_hurried(server.drain(), signals)
        finally:
            await server.close()
    finally:
        if bus is not None:
            await bus.close()
        await settings.verifier.close()
    return 0


async def _unless_hurried(work: Coroutine[Any, Any, None], signals: asyncio.Queue[Any]) -> None:
    """Do it until another signal comes."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(signals.get())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _run(work: Coroutine[Any, Any, int]) -> int:
    """With uvloop where it is installed: it relays a sixth more on a core, or a third."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _allow_many_connections() -> None:
    """Each is a file; what a program may open is small by default, and may be raised this far."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _listen(
    settings: SignallingSettings, bus: Bus | None, or_any_port: bool
) -> SignallingServer:
    server = SignallingServer(settings, bus=bus)
    try:
        await server.start()
    except AddressInUse:
        if not or_any_port:
            raise
        server = SignallingServer(dataclasses.replace(settings, port=0), bus=bus)
        await server.start()
    return server


def _mint(issuer: DevIssuer, room: str) -> dict[Role, str]:
    return {
        "host": issuer.mint("dev-host", room, "host", DEV_TOKEN_LIFETIME_S),
        "viewer": issuer.mint("dev-viewer", room, "viewer", DEV_TOKEN_LIFETIME_S),
    }


def _tell_parent(descriptor: int, server: SignallingServer, tokens: dict[Role, str]) -> None:
    line = {"url": server.url, "websocket_url": server.websocket_url, "tokens": tokens}
    try:
        with open(descriptor, "w") as pipe:
            pipe.write(json.dumps(line) + "\n")
    except OSError as error:
        raise UsageError(f"--ready-fd {descriptor}: {error.strerror}") from error


def _print_links(server: SignallingServer, room: str, tokens: dict[Role, str]) -> None:
    print(f"Serving the web viewer on {server.url}", flush=True)
    if tokens:
        link = server.url + "#" + urlencode({"room": room, "token": tokens["viewer"]})
        host = f"--signalling {server.websocket_url} --room {room} --token {tokens['host']}"
        print("Dev mode: for this machine alone.")
        print(f"  watch: {link}")
        print(f"  host:  playcast host {host}", flush=True)


# token ------------------------------------------------------------------------------------------


def _token(options: argparse.Namespace) -> int:
    issuer = DevIssuer.load_or_create()
    words = " ".join([options.role, *options.mark])
    print(issuer.mint(options.subject, options.room, words, options.lifetime))
    return 0


# Options ----------------------------------------------------------------------------------------


def build_parser(surroundings: Surroundings) -> argparse.ArgumentParser:
    """The options of ``serve`` and ``token``."""
    parser = argparse.ArgumentParser(prog="playcast", description="Signalling of Playcast.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|token")
    formatter = argparse.RawDescriptionHelpFormatter

    serve = commands.add_parser(
        "serve",
        help="serve the web viewer and signalling, without a host",
        description="Serve the web viewer and signalling: hosts and viewers find each other here.",
        epilog=SERVE_EXAMPLES,
        formatter_class=formatter,
    )
    serve.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (%(default)s)"
    )
    serve.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="TCP port; 0 is any (%(default)s)"
    )
    serve.add_argument(
        "--origin", action="append", default=[], metavar="URL", help="pages that may connect too"
    )
    for name, example in (("stun", "stun:HOST:PORT"), ("turn", "turn:USER:PASSWORD@HOST:PORT")):
        serve.add_argument(
            f"--{name}",
            action="append",
            default=[],
            type=_ice_server,
            metavar=example,
            help=f"a {name.upper()} server that clients are told of; repeatable",
        )
    serve.add_argument(
        "--room",
        type=_room,
        default="play",
        help="dev mode: the room to print links for (%(default)s)",
    )
    add_identity_options(serve)
    add_redis_options(serve)
    add_server_options(serve)
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    serve.add_argument("--or-any-port", action="store_true", help=argparse.SUPPRESS)

    token = commands.add_parser(
        "token",
        help="make a token for a dev server of yours",
        description="Make a token that the dev servers you run on this machine accept.",
        epilog=TOKEN_EXAMPLES,
        formatter_class=formatter,
    )
    token.add_argument(
        "--room", type=_room_or_any, default="play", help="room; * is any (%(default)s)"
    )
    token.add_argument(
        "--role", choices=typing.get_args(Role), default="viewer", help="(%(default)s)"
    )
    token.add_argument(
        "--mark",
        action="append",
        default=[],
        choices=("follower", "subscriber"),
        help="what the bearer is to the host; repeatable",
    )
    token.add_argument(
        "--subject", metavar="NAME", default="dev", help="who it is for (%(default)s)"
    )
    token.add_argument(
        "--lifetime", type=_seconds, default=3600.0, metavar="TIME", help="as 30m, 12h or 7d (1h)"
    )
    for command in (serve, token):
        command.add_argument(
            "--log-level", choices=("debug", "info", "warning", "error"), default="warning"
        )
    surroundings.prepare(serve)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"takes 0..65535, not {text!r}")
    return int(text)


def _room(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise argparse.ArgumentTypeError("takes 1 to 64 letters, digits, - and _")
    return text


def _room_or_any(text: str) -> str:
    return text if text == "*" else _room(text)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError("takes a time as 90s, 30m, 12h or 7d")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _ice_server(text: str) -> IceServer:
    try:
        return IceServer.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
