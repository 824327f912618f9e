"""What a viewer's status says."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from peer.room_view import RoomReport
from peer.view_report import PatternReport, Spread, ViewReport
from peer.view_status import RecordingReport, Viewed, ViewScript, view_panel
from signalling.messages import ControlState

REPORT = ViewReport(
    state="connected",
    trouble="",
    path="192.0.2.7:40000",
    codec="H264",
    width=1280,
    height=720,
    fps=59.94,
    bitrate_bps=7_900_000,
    repair_bps=400_000,
    delay=Spread(12.34, 20, 31.5),
    measured=True,
    network=Spread(1, 2, 3),
    assembly=Spread(4, 5, 6),
    decode=Spread(1.5, 2, 2.5),
    rtt_ms=4.2,
    loss=0.021,
    lost=40,
    recovered_rtx=30,
    recovered_fec=9,
    frames=1234,
    frames_dropped=1,
    freezes=2,
    frozen_ms=700,
    idrs=3,
    idr_requests=2,
    pattern=PatternReport(0, 1240, 6),
)
RECORDING = RecordingReport("game.mkv", 1200, 12_300_000, 62.5)
NOTHING = ViewReport("joining", "cannot reach the server")


ROOM = RoomReport(
    peer="me",
    role="player",
    policy="open",
    locked=False,
    title="",
    viewers=3,
    members=(),
    controls=(
        ControlState("pad:1", "me", until=1030.4),
        ControlState("pad:2", "anna"),
        ControlState("mouse", "anna", queue=["bob", "me"]),
    ),
    rtt_ms=8.0,
    at=1000.0,
)


def draw(
    report: ViewReport,
    recording: RecordingReport | None = None,
    width: int = 110,
    room: RoomReport | None = None,
) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(
        view_panel("http://h/ · room play", Viewed(report, recording, room), 3723)
    )
    return out.getvalue()


def test_the_panel_tells_what_a_person_wants_to_know() -> None:
    text = draw(REPORT, RECORDING)
    for part in (
        "● live  http://h/ · room play · 1280×720 · 1:02:03",
        "59.9",
        "7.90 Mbit/s",
        "192.0.2.7:40000",
        "capture → picture (measured)",
        "2.1 %",
        "2 (0.7 s)",
        "3 (2 asked)",
        "6 missing",
        "recording game.mkv: 1:02, 12.3 MB, 1200 frames",
    ):
        assert part in text, part
    assert "(estimated)" in draw(replace(REPORT, measured=False))
    assert "whole" in draw(replace(REPORT, pattern=PatternReport(0, 9, 0)))


def test_the_panel_says_what_we_are_and_have() -> None:
    text = draw(REPORT, room=ROOM)
    standing = "you are a player · you have pad:1 for 30 s · you wait for mouse (number 2)"
    assert f"{standing} · server 8 ms" in text


def test_json_has_everything() -> None:
    script = ViewScript("http://h/", "play")
    first = script.to_json(Viewed(NOTHING))
    assert (first["state"], first["delay"], first["recording"]) == ("joining", None, None)
    assert first["room_state"] is None
    second = script.to_json(Viewed(REPORT, RECORDING, ROOM))
    assert (second["page"], second["room"], second["fps"]) == ("http://h/", "play", 59.94)
    assert second["delay"] == {"p50_ms": 12.34, "p95_ms": 20, "p99_ms": 31.5}
    assert second["pattern"] == {"first": 0, "last": 1240, "missing": 6}
    assert second["recording"] == {
        "file": "game.mkv",
        "frames": 1200,
        "bytes": 12_300_000,
        "seconds": 62.5,
    }
    assert (second["room_state"]["role"], second["room_state"]["peer"]) == ("player", "me")


def test_a_plain_line_is_for_what_a_person_wants_to_know() -> None:
    script = ViewScript("http://h/", "play")
    assert script.opening() == ["Viewing room play of http://h/"]
    assert (
        script.line(Viewed(NOTHING, RECORDING))
        == "state=joining recorded=12.3MB trouble: cannot reach the server"
    )
    assert script.line(Viewed(REPORT, RECORDING, ROOM)) == (
        "state=connected fps=59.9 bitrate=7.90Mbit/s size=1280x720 codec=H264 delay=12.3/31.5ms"
        " network=1.0/3.0ms assembly=4.0/6.0ms decode=1.5/2.5ms rtt=4.2ms lost=40 rtx=30 fec=9"
        " dropped=1 freezes=2 recorded=12.3MB role=player pad:1=you"
    )
    key = script.key(Viewed(REPORT, RECORDING, ROOM))
    assert script.key(Viewed(replace(REPORT, fps=12.0), RECORDING, replace(ROOM, at=1.0))) == key
    assert script.key(Viewed(REPORT, RECORDING, replace(ROOM, role="viewer"))) != key


def test_the_panel_says_what_is_in_the_way() -> None:
    text = draw(NOTHING)
    assert "○ joining" in text
    assert "cannot reach the server" in text
    silent = draw(replace(REPORT, state="silent", fps=0.0, trouble="the host does not answer"))
    assert "○ silent" in silent
    assert "the host does not answer" in silent


@pytest.mark.parametrize("width", [20, 60, 100, 200])
def test_the_panel_fits_any_width(width: int) -> None:
    assert all(len(line) <= width for line in draw(REPORT, RECORDING, width).splitlines())
