"""What ``playcast host`` does: server, display, track, hub and host, brought up and down in order.

Up: the two slow ones, the server's process and the display's, start at once and get ready while
this process imports what it needs (hence the imports inside of functions). Down, after Ctrl-C or a
failure: the host tells its viewers and the server, then the hub's and the stream's threads are
joined, then the children end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from peer.child import ChildError
from peer.cli_tokens import TOKEN_OPTIONS
from peer.display import VirtualDisplay, freedoom
from peer.host_words import refusal_words
from peer.interrupt import until_interrupted
from peer.server_child import ServerChild

if TYPE_CHECKING:
    from peer.host import Host
    from peer.hub import MediaHub
    from peer.report import HostReport
    from peer.signalling_client import SignallingClient
    from peer.signalling_settings import TokenSource
    from peer.status_faces import Face
    from peer.tracks import NativeTrack

log = logging.getLogger(__name__)

DEFAULT_SIZE = (1280, 720)
LOOPBACK = ("127.0.0.1",)
BY_INVITATION = ("followers", "subscribers", "invite")
"""Policies by which the token of a dev server's link lets nobody in."""
DEV_NOTES = (
    "Dev mode: the link works on this machine alone (playcast host --help: how to share).",
)


class HostingError(Exception):
    """The stream cannot start or go on. Says why, and what to do."""


class UsageError(Exception):
    """The options do not go together. Names them."""


def run_host(options: argparse.Namespace) -> int:
    """Host until Ctrl-C. Returns the exit status."""
    try:
        _check(options)
        asyncio.run(until_interrupted(_run(options)))
    except UsageError as error:
        print(f"playcast host: error: {error}", file=sys.stderr)
        return 2
    except (HostingError, ChildError) as error:
        print(f"playcast host: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may be flushed into the broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raises :class:`UsageError` for options that do not go together."""
    parts = [n for n in ("monitor", "window", "region") if getattr(options, n) is not None]
    if options.source in ("pattern", "game"):
        given = [n for n in ("display", *parts) if getattr(options, n) is not None]
        if given:
            raise UsageError(f"--{given[0]} does not go with --source {options.source}: use x11")
    elif options.size and (options.source == "x11" or options.display or parts):
        raise UsageError("--size is the game's or the pattern's: of a display take a --region")
    given = [name for name in TOKEN_OPTIONS if getattr(options, name)]
    if given and not options.signalling:
        option = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{option} needs --signalling: our own server makes tokens itself")
    options.token_source = _token_source(options)
    if options.signalling:
        if options.token_source is None:
            options.token = options.token or os.environ.get("PLAYCAST_TOKEN")
        if not (options.token or options.token_source):
            raise UsageError(
                "--signalling needs --token (or $PLAYCAST_TOKEN), --token-command, --token-file or"
                " --login: what lets you in"
            )
        if options.port is not None:
            raise UsageError("--port is of our own server: it does not go with --signalling")


def _token_source(options: argparse.Namespace) -> TokenSource | None:
    from peer.cli_tokens import token_source_of
    from peer.signalling_settings import TokenUnavailable

    try:
        return token_source_of(options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except TokenUnavailable as error:
        raise HostingError(f"--login: {error}") from error


async def _run(options: argparse.Namespace) -> None:
    async with contextlib.AsyncExitStack() as stack:
        display = _virtual_display(options)
        server = None if options.signalling else _server(options)
        for child in (server, display):
            if child is not None:
                stack.push_async_callback(child.stop)
        address, _, _ = await asyncio.gather(
            server.start() if server else _nothing(),
            display.start() if display else _nothing(),
            asyncio.to_thread(_import_engine),
        )
        from peer.invitation_links import WORDS, InvitationLinks, page_of
        from peer.room_options import first_settings, room_settings
        from peer.signalling_client import (
            ClientState,
            SignallingClient,
            SignallingClientSettings,
            SignallingRefused,
        )
        from peer.status import HostScript, Streaming
        from peer.status_faces import face_for

        track = _open_track(options, display)
        stack.callback(track.stop)
        hub = _open_hub(options)
        stack.push_async_callback(hub.close)
        url, *others = [address.websocket_url] if address else options.signalling
        signalling = SignallingClient(
            SignallingClientSettings(
                url=url,
                other_urls=tuple(others),
                token=address.tokens["host"] if address else options.token or "",
                room=options.room,
                name=socket.gethostname()[:64],
                room_settings=first_settings(room_settings(options)),
                region=options.turn_region,
            ),
            fresh_token=options.token_source,
        )
        by_token = address is not None and options.policy not in BY_INVITATION
        face: Face[HostReport] = face_for(sys.stdout, as_json=options.json)
        script = HostScript(
            Streaming(
                source=_source_words(options, display),
                room=options.room,
                link=address.link(options.room) if address and by_token else "",
                notes=DEV_NOTES if address else (),
            )
        )

        def tell_link(name: str, link: str) -> None:
            script.links[name] = link
            face.say(WORDS[name], link)

        host = _make_host(options, track, hub, signalling)
        links = InvitationLinks(
            lambda role, for_s: host.invite(role, for_s=for_s),
            lambda: page_of(signalling.url),
            options.room,
            wanted=("play", "manage") if by_token else ("watch", "play", "manage"),
            on_link=tell_link,
            on_refusal=face.say,
        )
        observers: list[Callable[[HostReport], None]] = [face.show]
        if options.observing is not None:
            observers.append(await stack.enter_async_context(options.observing(options.room)))

        def tell_report(report: HostReport) -> None:
            if signalling.state is ClientState.JOINED:
                links.move()
            for observe in observers:
                observe(report)

        host.on_report, host.on_welcome = tell_report, lambda _: links.make()
        stack.callback(links.cancel)
        stack.enter_context(face)
        face.started(script)
        try:
            await _serve_until_something_ends(host, server, display)
        except SignallingRefused as error:
            words = refusal_words(error, options.room, renewable=options.token_source is not None)
            raise HostingError(words) from error


async def _serve_until_something_ends(
    host: Host, server: ServerChild | None, display: VirtualDisplay | None
) -> None:
    """Raises what ended it."""
    from peer.host import SourceGone

    hosting = asyncio.create_task(host.run())
    deaths = [asyncio.create_task(child.wait()) for child in (server, display) if child]
    try:
        await asyncio.wait({hosting, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        for death in deaths:
            if death.done():
                raise HostingError(death.result())
        await hosting
    except SourceGone as error:
        raise HostingError(str(error)) from error
    finally:
        for death in deaths:
            death.cancel()
        await host.close()
        await asyncio.gather(hosting, *deaths, return_exceptions=True)


# Parts ------------------------------------------------------------------------------------------


async def _nothing() -> None:
    return None


def _import_engine() -> None:
    """What takes long to import; meanwhile the children start."""
    import peer.host
    import peer.status  # noqa: F401


def _server(options: argparse.Namespace) -> ServerChild:
    ice = [word for text, _ in options.stun for word in ("--stun", text)]
    ice += [word for text, _ in options.turn for word in ("--turn", text)]
    return ServerChild(room=options.room, port=options.port, ice=ice)


def _virtual_display(options: argparse.Namespace) -> VirtualDisplay | None:
    """A display of our own where the options ask for a game, or there is no other display."""
    parts = (options.display, options.monitor, options.window, options.region)
    if options.source in ("x11", "pattern") or any(part is not None for part in parts):
        return None
    if options.source == "auto" and not options.size and os.environ.get("DISPLAY"):
        if _reachable(os.environ["DISPLAY"]):
            return None
        log.warning("$DISPLAY is %s, but cannot be reached", os.environ["DISPLAY"])
    width, height = options.size or DEFAULT_SIZE
    return VirtualDisplay(width, height, freedoom(width, height))


def _reachable(display: str) -> bool:
    from native import NativeError, Source

    try:
        Source.x11(display).close()
    except NativeError as error:
        return error.errno != errno.ENOTCONN  # of anything else the user is to hear
    return True


def _open_track(options: argparse.Namespace, display: VirtualDisplay | None) -> NativeTrack:
    from native import NativeError, Preset, RateControl, StreamSettings
    from peer.tracks import PatternTrack, ScreenTrack

    settings = StreamSettings(
        fps=options.fps,
        bitrate=options.bitrate,
        preset=Preset[options.preset.upper()],
        rate_control=RateControl[options.rate_control.upper()],
        rungs=options.rungs,
    )
    try:
        if options.source == "pattern":
            return PatternTrack(*(options.size or DEFAULT_SIZE), settings=settings)
        return ScreenTrack(
            display.name if display else options.display,
            monitor=options.monitor,
            window=options.window or 0,
            region=options.region,
            # On a display of our own nobody moves the pointer: it would sit in the game's middle.
            cursor=not options.no_cursor and display is None,
            settings=settings,
        )
    except NativeError as error:
        name = options.display or os.environ.get("DISPLAY")
        hint = f"--display is {name}" if name else "give --display, or --source game or pattern"
        raise HostingError(f"cannot capture: {error.strerror} ({hint})") from error


def _open_hub(options: argparse.Namespace) -> MediaHub:
    from native import NativeError
    from peer.hub import HubSettings, MediaHub

    bind = tuple(options.bind or (() if options.signalling else LOOPBACK))
    try:
        return MediaHub(
            HubSettings(
                bind=bind,
                port=options.udp_port,
                announced=tuple(options.announce),
                realtime=True,
            )
        )
    except NativeError as error:
        where = f"--udp-port {options.udp_port}, --bind {' '.join(bind) or 'every address'}"
        raise HostingError(f"cannot open the media sockets ({where}): {error.strerror}") from error
    except ValueError as error:
        raise HostingError(f"--announce: {error}") from error


def _make_host(
    options: argparse.Namespace,
    track: NativeTrack,
    hub: MediaHub,
    signalling: SignallingClient,
) -> Host:
    from native import Controller
    from peer.connection import ConnectionSettings
    from peer.host import Host, HostSettings
    from peer.room_options import room_settings
    from peer.sdp import VideoOffer

    return Host(
        track,
        hub,
        signalling,
        HostSettings(
            max_viewers=options.max_viewers,
            ice_servers=tuple(server for _, server in options.stun + options.turn),
            cm80=options.srtp_cm80,
            connection=ConnectionSettings(
                video=VideoOffer(flexfec=not options.no_fec),
                controller=Controller[options.controller.upper()],
                min_bitrate=options.min_bitrate or 0,
            ),
            room=room_settings(options),
        ),
    )


def _source_words(options: argparse.Namespace, display: VirtualDisplay | None) -> str:
    if options.source == "pattern":
        return "the test pattern"
    if display is not None:
        return f"a game on display {display.name}"
    name = options.display or os.environ.get("DISPLAY", "")
    for part in ("monitor", "window"):
        if getattr(options, part) is not None:
            return f"{part} {getattr(options, part)} of display {name}"
    return f"{'a region of ' if options.region else ''}display {name}"
