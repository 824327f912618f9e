"""The options that say how a host's room is run."""

from __future__ import annotations

import argparse
from typing import get_args

from msgspec import UNSET, convert

from peer import option_values as values
from signalling.messages import Configure, ControlPolicy, Policy, RoomSettings

_SETTINGS = {
    "policy": "policy",
    "capacity": "capacity",
    "public": "privacy",
    "title": "title",
    "steam_app": "steam_app_id",
    "controls": "control_policy",
    "turn_time": "turn_s",
    "pads": "pads",
    "no_keyboard": "keyboard",
    "no_chat": "chat",
    "lock": "locked",
}
"""Which setting of the room each option is."""

_CHOSEN = {"public": "public", "no_keyboard": False, "no_chat": False, "lock": True}
"""What an option without a value stands for."""


def add_room_options(host: argparse.ArgumentParser) -> None:
    """What is left out stays as the server has it."""
    room = host.add_argument_group("who may come in, and who plays")
    room.add_argument(
        "--policy",
        choices=get_args(Policy),
        help="who may come in: everyone with a good token (the server's default), only with a token"
        " of this room's, whom you let in, followers, subscribers, only the invited",
    )
    room.add_argument(
        "--capacity",
        type=values.whole(0, 1_000_000),
        metavar="N",
        help="how many may be in the room besides you and those who run it; 0 is any number (0)",
    )
    room.add_argument("--lock", action="store_true", help="nobody new comes in")
    room.add_argument("--public", action="store_true", help="list the room in the directory")
    room.add_argument("--title", type=values.title, metavar="TEXT", help="what is played")
    room.add_argument(
        "--steam-app", type=values.whole(0, 2**32 - 1), metavar="ID", help="and its number at Steam"
    )
    room.add_argument(
        "--controls",
        choices=get_args(ControlPolicy),
        help="who gets a game pad, the keyboard, the mouse: whom you give it, the first player who"
        " asks, players in turns (ask)",
    )
    room.add_argument(
        "--turn-time", type=values.seconds, metavar="SECONDS", help="how long a turn takes (120)"
    )
    room.add_argument("--pads", type=values.whole(0, 8), help="how many game pads there are (4)")
    room.add_argument("--no-keyboard", action="store_true", help="keyboard and mouse stay yours")
    room.add_argument("--no-chat", action="store_true", help="nobody writes to the others")


def room_settings(options: argparse.Namespace) -> Configure:
    """What the options say, and nothing else."""
    given = {name: getattr(options, name) for name in _SETTINGS}
    changes = {
        _SETTINGS[name]: _CHOSEN.get(name, value)
        for name, value in given.items()
        if value is not None and value is not False
    }
    return convert(changes, Configure)


def first_settings(changes: Configure) -> RoomSettings | None:
    """A room that nobody has set up, with these changes; ``None``: there are none."""
    given = {
        name: value
        for name in RoomSettings.__struct_fields__
        if (value := getattr(changes, name)) is not UNSET
    }
    return RoomSettings(**given) if given else None
