"""The three faces of a status, with a script of the simplest kind."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from peer.status_faces import JsonFace, LiveFace, PlainFace, clock_words, face_for, link_text

LINK = "http://127.0.0.1:8080/#room=play&token=" + "x" * 500


class Counter:
    """Reports are numbers; their tens are what matters."""

    def opening(self) -> list[str]:
        return ["Counting", LINK]

    def banner(self) -> Iterable[Text]:
        yield Text("Counting")
        yield link_text(LINK)

    def to_json(self, report: int) -> dict[str, Any]:
        return {"number": report}

    def key(self, report: int) -> tuple[object, ...]:
        return (report // 10,)

    def line(self, report: int) -> str:
        return f"number={report}"

    def panel(self, report: int, seconds: int) -> Text:
        return Text(f"the number is {report}")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_output_chooses_the_face() -> None:
    assert isinstance(face_for(Terminal(), as_json=True), JsonFace)
    assert isinstance(face_for(Terminal(), as_json=False), LiveFace)
    assert isinstance(face_for(io.StringIO(), as_json=False), PlainFace)


def test_json_is_one_object_a_report_and_words_go_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = io.StringIO()
    with JsonFace[int](out) as face:
        face.started(Counter())
        face.show(1)
        face.say("To play", LINK)
        face.show(2)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"number": 1},
        {"number": 2},
    ]
    assert capsys.readouterr().err == f"Counting\n{LINK}\nTo play: {LINK}\n"


def test_plain_lines_come_on_change_and_now_and_then_and_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("peer.status_faces.time.monotonic", lambda: now)
    out = io.StringIO()
    with PlainFace[int](out) as face:
        face.started(Counter())
        for after, number in ((0.0, 1), (0.0, 2), (1.0, 11), (9.5, 12), (1.0, 13), (1.0, 14)):
            now += after
            face.show(number)
    lines = out.getvalue().splitlines()
    assert lines == ["Counting", LINK, "number=1", "number=11", "number=13", "number=14"]


def test_a_terminal_gets_links_whole_and_is_given_back() -> None:
    out = Terminal()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with LiveFace[int](console) as face:
        face.started(Counter())
        face.show(7)
        face.say("To play", LINK + "2")
    text = out.getvalue()
    assert LINK in text
    assert LINK + "2" in text
    assert "the number is 7" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00:00"), (3723.9, "1:02:03")])
def test_a_clock(seconds: float, words: str) -> None:
    assert clock_words(seconds) == words
