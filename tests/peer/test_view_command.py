"""``playcast view``: what it refuses, and what it says. What it does is for the e2e tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from peer.cli import build_parser, main
from peer.signalling_client import SignallingRefused
from peer.view_command import _receiving
from peer.view_link import parse_link
from peer.view_words import advice_on, refusal_words
from peer.viewing import NoPicture, ViewingState

LINK = "http://127.0.0.1:8080/#room=play&token=a.b.c"


@pytest.fixture(autouse=True)
def _without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLAYCAST_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: LINK"),
        ([LINK, "--duration", "0"], "--duration: takes seconds greater than 0, not '0'"),
        ([LINK, "--duration", "-1"], "--duration"),
        ([LINK, "--wait", "soon"], "--wait: takes seconds greater than 0, not 'soon'"),
        ([LINK, "--jitter", "2001"], "--jitter: takes 0..2000, not '2001'"),
        ([LINK, "--codec", "av1"], "--codec: invalid choice: 'av1'"),
        ([LINK, "--bind", "localhost"], "--bind: takes an IP address"),
    ],
)
def test_a_wrong_option_is_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["view", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["play"],
            "LINK: 'play' is no http:// or https:// address. Take what playcast host prints",
        ),
        (["http://127.0.0.1:8080/"], "a shell cuts it off unless the link is in quotes"),
        (["http://127.0.0.1:8080/#room=play"], "$PLAYCAST_TOKEN may hold it too"),
        ([LINK, "--fullscreen"], "--fullscreen is the window's: it needs --window"),
        ([LINK, "--record", "game.mp4"], "--record takes a file that ends in .mkv"),
        ([LINK, "--snapshot", "now.jpg"], "--snapshot takes a file that ends in .png"),
        ([LINK, "--record", "/no/such/folder/game.mkv"], "there is no folder /no/such/folder"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", *words]) == 2
    assert said in capsys.readouterr().err


def test_mistakes_are_told_before_anything_heavy_is_imported() -> None:
    """A link that is no link costs no more than the interpreter's start."""
    program = (
        "import sys; from peer.cli import main; status = main(['view', 'play']);"
        "heavy = {'aiortc', 'av', 'numpy', 'native', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 2, ended.stderr


def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["view", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "examples:\n  playcast view 'http" in said
    assert "Exit status:" in said


def test_options_become_settings() -> None:
    words = ["--no-rtx", "--no-fec", "--codec", "vp8", "--jitter", "40", "--record", "a.mkv"]
    settings = _receiving(build_parser().parse_args(["view", LINK, *words]))
    assert (settings.wanted.rtx, settings.wanted.flexfec) == (False, False)
    assert [codec.name for codec in settings.wanted.codecs] == ["VP8"]
    assert (settings.jitter_target_ms, settings.keep_units) == (40, True)
    plain = _receiving(build_parser().parse_args(["view", LINK, "--window"]))
    assert (plain.wanted.rtx, plain.wanted.flexfec, plain.keep_units) == (True, True, False)
    assert plain.picture_depth == 1, "a window shows the newest picture"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (ViewingState.JOINING, "Does playcast host still run?"),
        (ViewingState.WAITING, "(room play of http://127.0.0.1:8080/). Start playcast host"),
        (ViewingState.CONNECTING, "no way to the host: reason. Both sides must reach each other"),
        (ViewingState.CONNECTED, "See what playcast host says"),
        (ViewingState.SILENT, "See what playcast host says"),
    ],
)
def test_every_end_without_a_picture_names_the_next_step(state: ViewingState, said: str) -> None:
    link = parse_link(LINK)
    assert said in advice_on(NoPicture(state, "reason", seen=False), link)
    gone = advice_on(NoPicture(state, "reason", seen=True), link)
    assert gone.startswith("the picture is gone: ")


def test_a_refusal_names_the_next_step() -> None:
    assert "Take the link that playcast host prints now" in refusal_words(
        SignallingRefused("token-expired", "the token has expired")
    )
    assert "Update the older" in refusal_words(
        SignallingRefused("version", "version 2 is not spoken")
    )
    assert refusal_words(SignallingRefused(None, "no server")) == "no server"
    expired = SignallingRefused("token-expired", "the token has expired")
    assert "Take the link" not in refusal_words(expired, by_link=False)
    assert "It must be good there now" in refusal_words(expired, by_link=False)
