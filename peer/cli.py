"""The ``playcast`` command: its options, and which module does what they ask for.

``serve``, ``token``, ``login``, ``config`` and others belong to other modules, who get them whole.
Nothing heavy is imported before it is known to be needed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from peer import option_values as values
from peer.cli_examples import DOCTOR_EXAMPLES, EXAMPLES, HOST_EXAMPLES, VIEW_EXAMPLES
from peer.cli_tokens import add_token_options
from peer.room_options import add_room_options

if TYPE_CHECKING:
    from signalling.surroundings import Surroundings

LOG_LEVELS = ("debug", "info", "warning", "error")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, 1 for a failure, 2 for wrong options, 130 where
    Ctrl-C came before there was anything to end in order.
    """
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        return 130


def _main(words: list[str]) -> int:
    if words[:1] in (["serve"], ["token"]):
        return _hand_over(words)
    if words[:1] == ["config"]:
        from integrations.config.command import run_config

        return run_config(words[1:])
    if words[:1] == ["audit"]:
        from signalling.audit.command import main as run_audit

        return run_audit(words[1:])
    if words[:1] in (["login"], ["logout"]):
        from integrations.login_command import run_login, run_logout

        return (run_login if words[0] == "login" else run_logout)(words[1:])
    if words[:1] in (["host"], ["view"]):
        from integrations.config.where import is_configured

        if is_configured(words, os.environ):
            return _run_configured(words)
    options = build_parser().parse_args(words)
    _log_to_stderr(options.log_level)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    if options.command == "doctor":
        from peer.doctor_command import run_doctor

        return run_doctor(options)
    if options.command == "view":
        from peer.view_command import run_view

        return run_view(options)
    from peer.host_command import run_host

    return run_host(options)


def _run_configured(words: list[str]) -> int:
    """Run ``host`` or ``view`` with defaults from files and the environment."""
    from integrations.config.command import tell
    from integrations.config.names import ConfigError
    from integrations.config.options import COMMANDS, configured
    from integrations.config.where import source_options
    from integrations.logs import configure_logs
    from integrations.scrub import Scrubber

    command = words[0]
    where, words = source_options().parse_known_args(words)

    def parse(around: Surroundings) -> argparse.Namespace:
        return build_parser({command: around.prepare}).parse_args(words)

    try:
        loaded, options = configured(
            parse,
            COMMANDS[command],
            file=where.config,
            secrets=where.secrets,
            environment=os.environ,
        )
    except ConfigError as error:
        tell(error, f"playcast {command}")
        return 2
    if command == "host":
        from integrations.host_events import host_observer

        try:
            options.observing = host_observer(loaded.settings)
        except ValueError as error:
            print(f"playcast host: {error}", file=sys.stderr)
            return 2
    if loaded.settings.logs.format == "json":
        settings = loaded.settings.logs.model_copy(update={"level": options.log_level})
        known = tuple(loaded.secrets())
        configure_logs(settings, Scrubber(lambda: known))
    else:
        _log_to_stderr(options.log_level)
    return _run(options)


def build_parser(
    prepare: Mapping[str, Callable[[argparse.ArgumentParser], None]] | None = None,
) -> argparse.ArgumentParser:
    """The options of every command. ``prepare`` has a last word on a command's parser."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="playcast",
        description="Stream a game from this machine into people's browsers.",
        epilog=EXAMPLES,
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"playcast {_version()}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )
    _add_host(
        commands.add_parser(
            "host",
            help="stream a display, a game or a test picture",
            description="Stream a display, a game or a test picture to everyone who has the link.",
            epilog=HOST_EXAMPLES,
            formatter_class=formatter,
        )
    )
    _add_view(
        commands.add_parser(
            "view",
            help="watch a stream: statistics, a window, a recording",
            description="Watch the stream of a link that playcast host prints.",
            epilog=VIEW_EXAMPLES,
            formatter_class=formatter,
        )
    )
    # Listed for the help; main() hands them over before they are parsed.
    commands.add_parser("serve", help="serve the web viewer and signalling, without a host")
    commands.add_parser("token", help="make a token for a dev server of yours")
    commands.add_parser("login", help="sign in to an issuer of tokens, to host with --login")
    commands.add_parser("logout", help="end a login")
    commands.add_parser("config", help="check the configuration, or show it")
    commands.add_parser("audit", help="verify or export the audit log of a server")
    doctor = commands.add_parser(
        "doctor",
        help="check what this machine needs to host",
        description="Check what this machine needs to host, and say how to fix what is missing.",
        epilog=DOCTOR_EXAMPLES,
        formatter_class=formatter,
    )
    doctor.add_argument("--display", metavar="NAME", help="the X display to check ($DISPLAY)")
    _add_socket_options(doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    _add_log_level(doctor)
    for name, change in (prepare or {}).items():
        change(commands.choices[name])
    return parser


def _add_host(host: argparse.ArgumentParser) -> None:
    host.set_defaults(observing=None)
    source = host.add_argument_group("what to stream")
    source.add_argument(
        "--source",
        choices=("auto", "x11", "pattern", "game"),
        default="auto",
        help="a display, a test picture, or a game on a virtual display; auto is $DISPLAY when"
        " there is one, else the game (%(default)s)",
    )
    source.add_argument("--display", metavar="NAME", help="the X display ($DISPLAY)")
    part = source.add_mutually_exclusive_group()
    part.add_argument("--monitor", metavar="NAME", help="one monitor of it, as xrandr names it")
    part.add_argument(
        "--window", type=values.window, metavar="ID", help="one window, as xwininfo has it"
    )
    part.add_argument("--region", type=values.region, metavar="WxH+X+Y", help="one part, in pixels")
    source.add_argument("--no-cursor", action="store_true", help="leave the pointer out")
    source.add_argument(
        "--size", type=values.size, metavar="WxH", help="of the game's display or the test picture"
    )

    video = host.add_argument_group("how to encode it")
    video.add_argument("--fps", type=values.whole(1, 240), default=60, help="at most (%(default)s)")
    video.add_argument(
        "--bitrate",
        type=values.bitrate,
        default=8_000_000,
        metavar="BITS",
        help="a second at most, as 8M; less where a viewer's network takes less (8M)",
    )
    video.add_argument(
        "--preset",
        choices=("ultrafast", "superfast", "veryfast"),
        default="ultrafast",
        help="of x264: slower is finer (%(default)s)",
    )
    video.add_argument(
        "--rate-control",
        choices=("frame", "vbv"),
        default="frame",
        help="one decision a frame, or x264's by rows: slower, never over (%(default)s)",
    )

    network = host.add_argument_group("how to follow the network")
    network.add_argument(
        "--controller",
        choices=("train", "gcc", "fixed"),
        default="train",
        help="who finds each viewer's rate: ours, from each frame's burst; Google's algorithm, for"
        " comparison; nobody, so that --bitrate is always sent (%(default)s)",
    )
    network.add_argument(
        "--min-bitrate",
        type=values.bitrate,
        metavar="BITS",
        help="a second that the controller keeps, whatever the network says (150k)",
    )
    network.add_argument(
        "--rungs",
        type=values.whole(1, 3),
        default=3,
        help="encodes at most, where viewers' networks differ: who cannot follow the others gets a"
        " smaller one of its own (%(default)s)",
    )
    network.add_argument(
        "--no-fec",
        action="store_true",
        help="repair losses by retransmission alone, never by packets sent in advance",
    )

    reach = host.add_argument_group("how to be reached")
    reach.add_argument(
        "--port", type=values.whole(0, 65535), help="TCP port of the web viewer; 0 is any (8080)"
    )
    _add_socket_options(reach)
    reach.add_argument(
        "--announce",
        action="append",
        default=[],
        metavar="ADDRESS[:PORT]",
        help="an address that viewers see instead (NAT, container); repeatable",
    )
    for name, example in (("stun", "stun:HOST:PORT"), ("turn", "turn:USER:PASSWORD@HOST:PORT")):
        reach.add_argument(
            f"--{name}",
            action="append",
            default=[],
            type=values.ice_server,
            metavar=example,
            help=f"a {name.upper()} server for host and viewers; repeatable",
        )
    _add_signalling(
        reach,
        "join this server (wss://HOST/ws), and start none; repeatable: servers of the same"
        " rooms, in the order to try them",
    )
    _add_turn_region(reach)
    add_token_options(reach, fixed=True)
    reach.add_argument("--room", type=values.room, default="play", help="(%(default)s)")
    reach.add_argument(
        "--max-viewers", type=values.whole(1, 10_000), default=32, help="at a time (%(default)s)"
    )
    reach.add_argument(
        "--srtp-cm80",
        action="store_true",
        help="offer SRTP_AES128_CM_SHA1_80 too, for viewers without AES-GCM (costs CPU)",
    )

    add_room_options(host)
    host.add_argument("--json", action="store_true", help="print one JSON object a second")
    _add_log_level(host)


def _add_view(view: argparse.ArgumentParser) -> None:
    view.add_argument("link", metavar="LINK", help="what playcast host prints, in quotes")
    what = view.add_argument_group("what to do with the picture")
    what.add_argument("--window", action="store_true", help="show it")
    what.add_argument("--fullscreen", action="store_true", help="the window fills the screen")
    what.add_argument("--record", type=Path, metavar="FILE.mkv", help="keep it as it comes")
    what.add_argument("--snapshot", type=Path, metavar="FILE.png", help="keep the first picture")
    what.add_argument(
        "--duration", type=values.seconds, metavar="SECONDS", help="end after so long (at Ctrl-C)"
    )

    what.add_argument(
        "--ask",
        action="append",
        default=[],
        type=values.control,
        metavar="CONTROL",
        help="ask the room for pad:1, keyboard or mouse; repeatable",
    )

    how = view.add_argument_group("how to receive it")
    how.add_argument(
        "--codec", choices=("h264", "vp8"), help="only this one (what the host prefers)"
    )
    how.add_argument(
        "--jitter",
        type=values.whole(0, 2000),
        default=0,
        metavar="MS",
        help="even out so many milliseconds of the network's jitter (%(default)s: show at once)",
    )
    how.add_argument("--no-rtx", action="store_true", help="do not ask for lost packets again")
    how.add_argument("--no-fec", action="store_true", help="no forward error correction (FlexFEC)")
    how.add_argument(
        "--threads",
        type=values.whole(0, 64),
        default=0,
        help="that decode; 0 chooses (%(default)s)",
    )
    how.add_argument(
        "--srtp-cm80",
        action="store_true",
        help="accept SRTP_AES128_CM_SHA1_80 too, from hosts without AES-GCM",
    )

    reach = view.add_argument_group("how to reach the host")
    reach.add_argument(
        "--wait",
        type=values.seconds,
        default=15.0,
        metavar="SECONDS",
        help="for a picture, at the start and when it is lost (%(default)g)",
    )
    _add_socket_options(reach, "127.0.0.1 for a link of this machine, else every address")
    _add_signalling(
        reach,
        "another server of the link's room (wss://HOST/ws), where the link's own cannot be reached;"
        " repeatable",
    )
    reach.add_argument("--relay-only", action="store_true", help="by TURN servers alone")
    reach.add_argument(
        "--name", type=values.name, default="", help="what others in the room call you"
    )
    _add_turn_region(reach)
    add_token_options(reach)

    view.add_argument("--json", action="store_true", help="print one JSON object a second")
    _add_log_level(view)


def _add_signalling(group: argparse._ActionsContainer, meaning: str) -> None:
    group.add_argument(
        "--signalling",
        action="append",
        default=[],
        type=values.server_url,
        metavar="URL",
        help=meaning,
    )


def _add_turn_region(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--turn-region",
        type=values.turn_region,
        default="",
        metavar="NAME",
        help="where this machine is, as the server's operator calls it: for a TURN server near it",
    )


def _add_socket_options(
    group: argparse._ActionsContainer,
    default: str = "127.0.0.1; with --signalling every address",
) -> None:
    group.add_argument(
        "--bind",
        action="append",
        type=values.address,
        metavar="ADDRESS",
        help=f"send and receive media here; repeatable; 0.0.0.0 is every address ({default})",
    )
    group.add_argument(
        "--udp-port",
        type=values.whole(0, 65535),
        default=0,
        help="for all media; 0 is any (%(default)s)",
    )


def _add_log_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="warning", help="(%(default)s)")


def _hand_over(words: list[str]) -> int:
    """Become the signalling server's command; ``serve`` with the configuration around it."""
    from peer.server_child import COMMAND, environment

    python, module = COMMAND[:-1], COMMAND[-1]
    if words[0] == "serve":
        module, words = "integrations.serve", words[1:]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(python[0], [*python, module, *words], environment())


def _log_to_stderr(level: str) -> None:
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level != "debug":
        for library in ("aioice", "aiortc"):  # they tell every address at "info"
            logging.getLogger(library).setLevel(logging.WARNING)


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at the time: the live status puts lines above its panel."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def _version() -> str:
    try:
        return version("playcast")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
