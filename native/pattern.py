"""The frame number and time that the test pattern carries in its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from native.binding import check, ffi, lib

if TYPE_CHECKING:  # numpy takes longer to import than the rest of this package
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PatternCode:
    """What a picture of the pattern says about itself."""

    frame: int
    time_us: int
    """CLOCK_MONOTONIC in microseconds, the low 48 bits."""


def _pointer(name: str, array: NDArray[np.uint8], inner: tuple[int, ...]) -> Any:
    if array.dtype != "uint8" or array.ndim != 1 + len(inner) or array.size == 0:
        raise ValueError(f"{name} takes rows of uint8, not {array.dtype} of shape {array.shape}")
    if min(array.strides) <= 0 or array.strides[0] < array.shape[1] * array.strides[1]:
        raise ValueError(f"{name} takes rows in order that do not overlap")
    return ffi.cast("uint8_t *", array.ctypes.data)


def read_pattern(luma: NDArray[np.uint8]) -> PatternCode | None:
    """Read the code out of height x width of luma; None when there is no valid one.

    A view will do: `picture[:, :, 1]` takes the green of BGRX.
    """
    pointer = _pointer("luma", luma, (0,))
    frame, time_us = ffi.new("uint32_t *"), ffi.new("uint64_t *")
    height, width = luma.shape
    found = lib.pc_pattern_read(
        pointer, width, height, luma.strides[0], luma.strides[1], frame, time_us
    )
    return PatternCode(frame[0], time_us[0]) if check(found) else None


def write_pattern(bgrx: NDArray[np.uint8], frame: int, time_us: int) -> None:
    """Paint the code into height x width x 4 of BGRX pixels, in place."""
    pointer = _pointer("bgrx", bgrx, (0, 0))
    height, width, channels = bgrx.shape
    if channels != 4 or bgrx.strides[1:] != (4, 1) or not bgrx.flags.writeable:
        raise ValueError("bgrx takes writable rows of four bytes a pixel")
    lib.pc_pattern_write(pointer, width, height, bgrx.strides[0], frame, time_us)
