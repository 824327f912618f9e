"""Colours on the display are the colours in the browser: conversion, VUI and decoder agree.

A wrong matrix (BT.601 for BT.709) or range is off by up to thirty on these patches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from peer.display import VirtualDisplay

from .chromium import Chromium
from .painter import Painter
from .picture import Planes, decoded_planes, decoded_rgb
from .playcast_process import PlaycastProcess

pytestmark = pytest.mark.e2e

WIDTH, HEIGHT = 640, 400
PATCH = 80
COLUMNS = WIDTH // PATCH
EDGE = 16
"""Pixels at each side of a patch that are not looked at: chroma of the next one reaches there."""
TOLERANCE = 3

COLOURS = {
    "black": (0, 0, 0),
    "near black": (8, 8, 8),
    "dark grey": (32, 32, 32),
    "grey 25 %": (64, 64, 64),
    "grey 50 %": (128, 128, 128),
    "grey 75 %": (192, 192, 192),
    "near white": (247, 247, 247),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "dark red": (128, 0, 0),
    "dark green": (0, 128, 0),
    "dark blue": (0, 0, 128),
    "light skin": (194, 150, 130),
    "dark skin": (115, 82, 68),
    "blue sky": (98, 122, 157),
    "foliage": (87, 108, 67),
    "orange": (214, 126, 44),
    "purple": (94, 60, 108),
    "bluish green": (103, 189, 170),
    "moderate red": (193, 90, 99),
    "yellow green": (157, 188, 64),
    "orange yellow": (224, 163, 46),
    "terminal background": (30, 30, 46),
    "terminal text": (205, 214, 244),
    "blood": (139, 0, 0),
    "gold": (255, 215, 0),
    "teal": (0, 128, 128),
    "pink": (255, 192, 203),
    "brown": (139, 69, 19),
    "lime": (191, 255, 0),
    "navy": (10, 20, 60),
    "violet": (143, 0, 255),
    "beige": (245, 245, 220),
    "slate": (112, 128, 144),
    "turquoise": (64, 224, 208),
}


BLUE_SHORT = 2.112402 - 2.0
"""What libyuv's x86 code lacks of BT.709's coefficient from Cb to blue: it has 7 bits for it, up to
2. Chromium draws by it where there is no GPU, so that saturated blue and yellow are off by up to
13, whoever sent them."""


async def test_flat_patches_are_within_3_of_the_display() -> None:
    """First in the decoder's frame, by the colour space that it is marked with; then on a canvas,
    where the browser has converted it by what it believes the colour space to be."""
    assert len(COLOURS) == COLUMNS * (HEIGHT // PATCH)
    async with VirtualDisplay(WIDTH, HEIGHT) as display, Chromium() as browser:
        with Painter(display.name) as painter:
            for colour, (x, y) in zip(COLOURS.values(), corners(), strict=True):
                painter.fill(x, y, PATCH, PATCH, colour)
            painter.finish()
        options = ("--display", display.name, "--bitrate", "8M")
        async with PlaycastProcess(*options) as host:
            page = await browser.open(host.link)
            # An unchanged screen is sent once a second, finer each time.
            await page.wait_for("playcast.stats?.framesDecoded >= 4", 20)
            planes = await decoded_planes(page)
            canvas = await decoded_rgb(page)

    assert planes.colour_space == {
        "primaries": "bt709",
        "transfer": "bt709",
        "matrix": "bt709",
        "fullRange": False,
    }
    exact = rgb_of_planes(planes)
    assert exact.shape == canvas.shape == (HEIGHT, WIDTH, 3)
    allowed = np.full(exact.shape, float(TOLERANCE))
    assert misses(exact, allowed) == {}, "in the decoder's frame"
    allowed[:, :, 2] += BLUE_SHORT * np.abs(doubled(planes.u) - 128.0)
    assert misses(canvas, allowed) == {}, "on the canvas"


def corners() -> list[tuple[int, int]]:
    """The upper left corner of each patch."""
    return [(i % COLUMNS * PATCH, i // COLUMNS * PATCH) for i in range(len(COLOURS))]


def misses(picture: NDArray[Any], allowed: NDArray[np.float64]) -> dict[str, Any]:
    """The patches that differ by more than allowed: what was painted, least and most seen."""
    found = {}
    for (name, colour), (x, y) in zip(COLOURS.items(), corners(), strict=True):
        inner = np.s_[y + EDGE : y + PATCH - EDGE, x + EDGE : x + PATCH - EDGE]
        seen = picture[inner].astype(float)
        if (np.abs(seen - colour) > allowed[inner]).any():
            found[name] = (colour, seen.min(axis=(0, 1)).tolist(), seen.max(axis=(0, 1)).tolist())
    return found


def rgb_of_planes(planes: Planes) -> NDArray[np.float64]:
    """BT.709 limited range to RGB, 0..255 (ITU-R BT.709-6, items 3.2 to 3.5), chroma doubled."""
    y = (planes.y - 16.0) / 219
    blue = y + 1.8556 * (doubled(planes.u) - 128.0) / 224
    red = y + 1.5748 * (doubled(planes.v) - 128.0) / 224
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    return np.clip(np.stack([red, green, blue], axis=2), 0, 1) * 255


def doubled(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A chroma plane in the size of the luma plane."""
    return plane.repeat(2, axis=0).repeat(2, axis=1)
