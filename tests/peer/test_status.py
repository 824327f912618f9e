"""What a host's status says."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from native import Codec
from peer.report import EncodeReport, HostReport, StageLatency, ViewerReport
from peer.room_view import MemberReport, RoomReport
from peer.status import HostScript, Streaming, panel
from signalling.messages import ControlState

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
ROOM = RoomReport(
    peer="me",
    role="host",
    policy="approval",
    locked=True,
    title="Doom",
    viewers=3,
    members=(
        MemberReport("anna", "Anna", "player", False, False, ("pad:1",), ()),
        MemberReport("bob", "", "player", True, False, (), ("pad:1",)),
        MemberReport("carl", "Carl", "viewer", False, True, (), ()),
    ),
    controls=(
        ControlState("pad:1", "anna", until=1075.0, queue=["bob", "stranger"]),
        ControlState("pad:2"),
        ControlState("mouse", "bob", away=True),
    ),
    rtt_ms=12.4,
    at=1000.0,
)


def draw(report: HostReport, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(panel(STREAMING, report, 3723))
    return out.getvalue()


def test_the_panel_has_every_figure() -> None:
    text = draw(REPORT)
    for words in (
        *("● live", "display :0 · 1280×720 · room play · 1:02:03", "1 (+1)", "59.9"),
        *("7.90 Mbit/s", "H264 x264", "3 skipped, 1 late", "encode", "3.10", "5.20"),
        *("last packet sent", "6.30", "anna", "connected", "1.2 ms", "2.1 %", "12.3 MB"),
        *("bob", "connecting"),
    ):
        assert words in text


def test_the_panel_shows_the_room() -> None:
    text = draw(replace(REPORT, room=ROOM), 120)
    for words in (
        "you let people in · locked · 3 watching · server 12 ms",
        "Anna, 0:01:15 left; next: bob, stranger",
        "bob (away)",
        "Carl: let them in, or not, as manager",
    ):
        assert words in text
    assert "pad:2" not in text, "what nobody has or wants is not shown"
    assert "anna" not in text, "she has a name"


def test_json_has_everything() -> None:
    script = HostScript(STREAMING)
    script.links["play"] = "http://play"
    row = script.to_json(replace(REPORT, room=ROOM))
    assert (row["fps"], row["room"], row["link"]) == (59.9, "play", LINK)
    assert row["links"] == {"watch": LINK, "play": "http://play"}
    room = row["room_state"]
    assert (room["policy"], room["locked"], room["role"]) == ("approval", True, "host")
    assert room["controls"][0]["queue"] == ["bob", "stranger"]
    assert [member["waiting"] for member in room["members"]] == [False, False, True]
    assert script.to_json(REPORT)["room_state"] is None


def test_a_plain_line_is_for_what_a_person_wants_to_know() -> None:
    script = HostScript(STREAMING)
    assert LINK in "".join(script.opening())
    assert script.line(REPORT).startswith(
        "viewers=1 fps=59.9 bitrate=7.90Mbit/s size=1280x720 skipped=3"
    )
    in_room = replace(REPORT, room=ROOM)
    assert script.line(replace(in_room, trouble="no route")).endswith(
        "pad:1=Anna mouse=bob asks=bob:pad:1 at-the-door=1 locked signalling: no route"
    )
    key = script.key(in_room)
    assert script.key(replace(in_room, skipped=9, room=replace(ROOM, at=1001.0))) == key
    let_in = tuple(replace(member, waiting=False) for member in ROOM.members)
    assert script.key(replace(in_room, room=replace(ROOM, members=let_in))) != key
    handed_over = (ControlState("pad:1", "bob"),)
    assert script.key(replace(in_room, room=replace(ROOM, controls=handed_over))) != key


def test_a_host_without_a_link_prints_none() -> None:
    script = HostScript(replace(STREAMING, link=""))
    assert script.links == {}
    assert script.opening() == ["Streaming display :0 in room play", "Dev mode."]
    assert [line.plain.strip() for line in script.banner()] == ["Dev mode."]


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
