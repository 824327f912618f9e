"""The picture that all senders of a live run stream, and how close what came is to it.

It is the generated pattern. Chromium's page cannot make that, and plays its first pictures forth
and back (a "clip"), with the code of number and time painted over.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from native import Picture, Source

CLIP_FRAMES = 48
KEEP_EVERY = 31
"""Pictures between two that are compared: a prime, so that all of a clip has its turn."""
CODE_SHARE = 7
"""The code is in the upper seventh of the picture: left out of the comparison."""
BLOCK = 16
NOISE_SHARE = 0.03
"""… and so are the worst blocks, up to this share: a patch of the pattern is noise that is never
the same."""
BT709 = 1

Plane = NDArray[np.uint8]


@dataclass(frozen=True)
class Kept:
    """A decoded picture's luma, at the size it was sent in."""

    luma: Plane
    matrix: int
    full_range: bool

    @classmethod
    def of(cls, picture: Picture) -> Kept:
        """A copy."""
        return cls(picture.y.copy(), picture.matrix, picture.full_range)


def clip_index(number: int) -> int:
    """Forth and back, without showing an end twice."""
    turn = number % (2 * CLIP_FRAMES - 2)
    return turn if turn < CLIP_FRAMES else 2 * CLIP_FRAMES - 2 - turn


def sequence(width: int, height: int) -> Iterator[Plane]:
    """The pictures from number 0 on, as BGRX."""
    with Source.pattern(width, height) as source:
        while True:
            yield source.snapshot()


def i420(bgrx: Plane) -> bytes:
    """Without padding, BT.601 in limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgrx), format="bgra")
    return frame.reformat(format="yuv420p").to_ndarray().tobytes()


def mean_psnr_db(kept: Mapping[int, Kept], width: int, height: int, *, clip: bool) -> float:
    """Of the luma of the pictures by number, at the size that they were drawn in; 0 = none were."""
    wanted = {number: clip_index(number) if clip else number for number in kept}
    last = max(wanted.values(), default=-1)
    sources = dict.fromkeys(wanted.values(), np.empty(0, np.uint8))
    for index, bgrx in enumerate(itertools.islice(sequence(width, height), last + 1)):
        if index in sources:
            sources[index] = bgrx
    found = [_psnr_db(kept[number], sources[index]) for number, index in wanted.items()]
    return math.fsum(found) / len(found) if found else 0.0


def _psnr_db(kept: Kept, bgrx: Plane) -> float:
    height, width = bgrx.shape[:2]
    luma = kept.luma
    if luma.shape != (height, width):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray")
        luma = frame.reformat(width=width, height=height).to_ndarray().astype(np.uint8)
    top = height // CODE_SHARE
    error = luma[top:].astype(np.float32) - _luma(kept, bgrx)[top:]
    rows, columns = error.shape[0] // BLOCK, width // BLOCK
    blocks = (error * error)[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    means = np.sort(blocks.mean(axis=(1, 3)).ravel())
    kept_blocks = means[: math.ceil(means.size * (1 - NOISE_SHARE))]
    return 10 * math.log10(255.0**2 / max(float(kept_blocks.mean()), 1e-3))


def _luma(kept: Kept, bgrx: Plane) -> NDArray[np.float32]:
    red, blue = (0.2126, 0.0722) if kept.matrix == BT709 else (0.299, 0.114)
    weights = np.array([blue, 1 - red - blue, red], np.float32)
    luma: NDArray[np.float32] = bgrx[:, :, :3].astype(np.float32) @ weights
    return luma if kept.full_range else luma * np.float32(219 / 255) + np.float32(16)
