"""The window: what it draws, in which colours, and what its user may do."""

from __future__ import annotations

import ctypes
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from native import Picture, ReceivedFrame, Source
from peer.display import VirtualDisplay
from peer.window import PictureWindow, WindowError

sdl2 = pytest.importorskip("sdl2")

FRAME = ReceivedFrame(0, 0, 0, True, False, 0, 0, 0, None)
BT709, BT601 = 1, 6


def picture(
    y: int,
    u: int,
    v: int,
    *,
    size: tuple[int, int] = (320, 180),
    matrix: int = BT709,
    full: bool = False,
) -> Picture:
    """One colour all over."""
    width, height = size
    quarter = (width // 2) * (height // 2)
    planes = [
        np.full(n, value, np.uint8)
        for n, value in ((width * height, y), (quarter, u), (quarter, v))
    ]
    return Picture(FRAME, width, height, matrix, full, np.concatenate(planes))


@pytest.fixture
async def display(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async with VirtualDisplay(320, 180) as display:
        monkeypatch.setenv("DISPLAY", display.name)
        monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
        yield display.name


@pytest.fixture
def window(display: str) -> Iterator[PictureWindow]:
    with PictureWindow("test") as window:
        yield window


def shown(
    display: str, window: PictureWindow, wanted: tuple[int, int, int]
) -> tuple[int, int, int]:
    """The colour in the middle of the display, once it is about the wanted one, or at last."""
    with Source.x11(display) as source:
        for _ in range(100):
            assert window.alive()
            blue, green, red = (int(value) for value in source.snapshot()[60, 80, :3])
            if max(abs(a - b) for a, b in zip((red, green, blue), wanted, strict=True)) <= 6:
                break
    return red, green, blue


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        (picture(63, 102, 240), (255, 0, 0)),
        (picture(81, 90, 240, matrix=BT601), (255, 0, 0)),
        (picture(76, 85, 255, matrix=BT601, full=True), (254, 0, 0)),
        (picture(180, 128, 128), (191, 191, 191)),
    ],
)
def test_colours_are_those_of_the_stream(
    display: str, window: PictureWindow, what: Picture, wanted: tuple[int, int, int]
) -> None:
    window.show(what)
    window.show(what)
    red, green, blue = shown(display, window, wanted)
    assert (red, green, blue) == pytest.approx(wanted, abs=6)


def test_the_stream_may_change_its_size(display: str, window: PictureWindow) -> None:
    window.show(picture(63, 102, 240))
    window.show(picture(180, 128, 128, size=(160, 90)))
    window.show(picture(180, 128, 128, size=(160, 90)))
    assert shown(display, window, (191, 191, 191)) == pytest.approx((191, 191, 191), abs=6)


def press(key: int) -> None:
    event = sdl2.SDL_Event()
    event.type = sdl2.SDL_KEYDOWN
    event.key.keysym.sym = key
    assert sdl2.SDL_PushEvent(ctypes.byref(event)) == 1


def test_its_user_may_end_it(window: PictureWindow) -> None:
    window.show(picture(180, 128, 128))
    assert window.alive()
    for key in (sdl2.SDLK_f, sdl2.SDLK_F11, sdl2.SDLK_a):
        press(key)
    assert window.alive()
    for key in (sdl2.SDLK_ESCAPE, sdl2.SDLK_q):
        press(key)
        assert not window.alive()
    event = sdl2.SDL_Event()
    event.type = sdl2.SDL_QUIT
    sdl2.SDL_PushEvent(ctypes.byref(event))
    assert not window.alive()
    window.close()


def test_without_a_display_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WindowError, match="finds no display"):
        PictureWindow("test")
