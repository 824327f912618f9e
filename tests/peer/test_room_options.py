"""How the room is run, from the options."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from peer.cli import build_parser, main
from peer.room_options import first_settings, room_settings
from signalling.messages import Configure, RoomSettings


def settings(*words: str) -> Configure:
    return room_settings(build_parser().parse_args(["host", *words]))


def test_what_is_left_out_stays_as_the_server_has_it() -> None:
    assert settings() == Configure()


def test_every_option_is_a_setting() -> None:
    words = (
        "--policy approval --capacity 8 --lock --public --title Doom --steam-app 2280"
        " --controls turns --turn-time 60 --pads 2 --no-keyboard --no-chat"
    )
    wanted = Configure(
        policy="approval",
        locked=True,
        capacity=8,
        privacy="public",
        title="Doom",
        steam_app_id=2280,
        control_policy="turns",
        turn_s=60.0,
        pads=2,
        keyboard=False,
        chat=False,
    )
    assert settings(*words.split()) == wanted
    assert UNSET not in [getattr(wanted, name) for name in Configure.__struct_fields__]


def test_a_new_room_begins_with_what_is_said() -> None:
    assert first_settings(settings()) is None
    assert first_settings(settings("--policy", "approval", "--pads", "2")) == RoomSettings(
        policy="approval", pads=2
    )


def test_none_is_a_number_too() -> None:
    assert settings("--pads", "0", "--capacity", "0") == Configure(pads=0, capacity=0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "friends"], "--policy: invalid choice: 'friends'"),
        (["--pads", "9"], "--pads: takes 0..8, not '9'"),
        (["--capacity", "-1"], "--capacity: takes 0..1000000"),
        (["--title", "x" * 121], "--title: takes at most 120 characters"),
        (["--title", "a\nb"], "--title: takes at most 120 characters, in one line"),
        (["--turn-time", "0"], "--turn-time: takes seconds greater than 0"),
        (["--steam-app", "doom"], "--steam-app: takes 0..4294967295"),
        (["--controls", "all"], "--controls: invalid choice"),
    ],
)
def test_a_wrong_option_is_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["host", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
