"""The three faces of the status."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from native import Codec
from peer.report import EncodeReport, HostReport, StageLatency, ViewerReport
from peer.status import JsonStatus, LiveStatus, PlainStatus, Streaming, panel, status_for

LINK = "http://127.0.0.1:8080/#room=play&token=" + "x" * 500
STREAMING = Streaming("display :0", "play", LINK, ("Dev mode.",))
REPORT = HostReport(
    width=1280,
    height=720,
    encoder="x264",
    encodes={
        (Codec.H264, 0): EncodeReport(59.94, 7_900_000, 2, 1280, 720),
        (Codec.VP8, 0): EncodeReport(0.0, 0, 0, 1280, 720),
    },
    stages={"encode": StageLatency(3.1, 5.2), "last_packet": StageLatency(4.4, 6.3)},
    skipped=3,
    late=1,
    viewers=(
        ViewerReport("anna", "connected", "H264", 1.2, 0.021, 12_300_000, 7, 0),
        ViewerReport("bob", "connecting", "", None, 0.0, 0, 0, 0),
    ),
    waiting=1,
    signalling="joined",
    trouble="",
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def draw(report: HostReport, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(panel(STREAMING, report, 3723))
    return out.getvalue()


def test_the_output_chooses_the_face() -> None:
    assert isinstance(status_for(Terminal(), as_json=True), JsonStatus)
    assert isinstance(status_for(Terminal(), as_json=False), LiveStatus)
    assert isinstance(status_for(io.StringIO(), as_json=False), PlainStatus)


def test_json_is_one_object_a_report_and_words_go_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = io.StringIO()
    with JsonStatus(out) as status:
        status.started(STREAMING)
        status.show(REPORT)
        status.show(replace(REPORT, skipped=4))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["drops"]["skipped"] for line in lines] == [3, 4]
    assert lines[0]["link"] == LINK
    assert lines[0]["fps"] == 59.9
    assert LINK in capsys.readouterr().err


def test_plain_lines_come_on_change_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("peer.status.time.monotonic", lambda: now)
    out = io.StringIO()
    with PlainStatus(out) as status:
        status.started(STREAMING)
        head = out.getvalue()
        assert LINK + "\n" in head
        status.show(REPORT)
        status.show(REPORT)
        now += 1
        status.show(replace(REPORT, trouble="no route"))
        now += 9.5
        status.show(replace(REPORT, trouble="no route"))
        now += 1
        status.show(replace(REPORT, trouble="no route"))
    lines = out.getvalue()[len(head) :].splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("viewers=1 fps=59.9 bitrate=7.90Mbit/s size=1280x720 skipped=3")
    assert lines[1].endswith("signalling: no route")


def test_the_panel_has_every_figure() -> None:
    text = draw(REPORT)
    for words in (
        *("● live", "display :0 · 1280×720 · room play · 1:02:03", "1 (+1)", "59.9"),
        *("7.90 Mbit/s", "H264 x264", "3 skipped, 1 late", "encode", "3.10", "5.20"),
        *("last packet sent", "6.30", "anna", "connected", "1.2 ms", "2.1 %", "12.3 MB"),
        *("bob", "connecting"),
    ):
        assert words in text


def test_the_panel_says_what_is_wrong() -> None:
    text = draw(replace(REPORT, viewers=(), stages={}, trouble="cannot reach the server"))
    assert "○ waiting for viewers" in text
    assert "cannot reach the server" in text
    assert "latency" not in text


def test_many_viewers_do_not_fill_the_screen() -> None:
    crowd = tuple(replace(REPORT.viewers[0], peer=f"viewer{n}") for n in range(100))
    text = draw(replace(REPORT, viewers=crowd))
    assert "viewer7" in text
    assert "viewer8" not in text
    assert "and 92 more" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_fits_any_width(width: int) -> None:
    assert max(len(line) for line in draw(REPORT, width).splitlines()) <= width


def test_a_terminal_gets_the_link_whole() -> None:
    out = Terminal()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with LiveStatus(console) as status:
        status.started(STREAMING)
        status.show(REPORT)
    assert LINK in out.getvalue()
    assert out.getvalue().endswith("\x1b[?25h")  # the cursor is back
