"""The virtual display, with and without a game."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from native import Codec, Source, Stream, StreamSettings, Tap
from peer.child import ChildError
from peer.display import DisplayError, Program, VirtualDisplay, find_iwad, freedoom


def contents(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_a_display_of_the_size_that_was_asked_for() -> None:
    async with VirtualDisplay(640, 360) as display:
        assert display.name.startswith(":")
        with Source.x11(display.name) as source:
            assert source.size == (640, 360)


async def test_two_displays_live_side_by_side_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with VirtualDisplay(320, 200) as one, VirtualDisplay(320, 200) as other:
        assert one.name != other.name
        sockets = [Path(f"/tmp/.X11-unix/X{display.name[1:]}") for display in (one, other)]
        assert all(socket.exists() for socket in sockets)
    assert not any(socket.exists() for socket in sockets)
    assert contents(tmp_path) == []


async def test_the_game_fills_the_display_and_moves() -> None:
    async with VirtualDisplay(640, 400, freedoom(640, 400)) as display:
        # Only what changes on the display becomes a frame: the melting title screen is many.
        settings = StreamSettings(fps=60, keepalive_fps=1)
        with (
            Source.x11(display.name) as eye,
            Stream(Source.x11(display.name), settings) as stream,
            Tap(stream, Codec.H264) as tap,
        ):
            loop = asyncio.get_running_loop()
            arrived = asyncio.Event()
            loop.add_reader(tap.fileno(), arrived.set)
            try:
                async with asyncio.timeout(20):
                    pictures: list[np.ndarray] = []
                    while len(pictures) < 60:
                        if tap.read() is None:
                            arrived.clear()
                            await arrived.wait()
                            continue
                        picture = eye.snapshot()[:, :, :3]
                        if picture.any() and not any((picture == p).all() for p in pictures[-1:]):
                            pictures.append(picture)
            finally:
                loop.remove_reader(tap.fileno())
        last = pictures[-1]
        for edge in (last[:, 0], last[:, -1], last[0], last[-1]):
            assert edge.any(), "there is a black bar at an edge"


async def test_the_end_of_the_program_is_told() -> None:
    program = Program(("/bin/sh", "-c", "echo no memory >&2; exit 4"))
    async with VirtualDisplay(320, 200, program) as display:
        assert await display.wait() == "sh ended (status 4): no memory"


async def test_the_program_finds_its_files_display_and_nothing_of_our_home() -> None:
    program = Program(
        ("/bin/sh", "-c", 'echo "$DISPLAY $GREETING $(cat note) ${SECRET-none}" >&2'),
        environment={"GREETING": "hello"},
        files={"note": "read me"},
    )
    os.environ["SECRET"] = "ours"
    try:
        async with VirtualDisplay(320, 200, program) as display:
            words = await display.wait()
            assert words.endswith(f": {display.name} hello read me none")
    finally:
        del os.environ["SECRET"]


async def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.display.IWAD_DIRECTORIES", ("/nonexistent",))
    with pytest.raises(DisplayError, match="apt-get install freedoom"):
        find_iwad()

    def missing(name: str, package: str) -> str:
        raise ChildError(f"{name} is not installed: apt-get install {package}")

    monkeypatch.setattr("peer.display.find_program", missing)
    with pytest.raises(ChildError, match="apt-get install chocolate-doom"):
        freedoom(640, 400)
    with pytest.raises(ChildError, match="apt-get install xvfb"):
        async with VirtualDisplay(640, 400):
            pass


async def test_a_display_that_does_not_come_up_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.display.find_program", lambda name, package: "/bin/false")
    with pytest.raises(DisplayError, match="Xvfb ended"):
        async with VirtualDisplay(640, 400):
            pass


@pytest.mark.parametrize("size", [(0, 400), (640, 9000)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="width and height"):
        VirtualDisplay(*size)
