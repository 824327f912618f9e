"""Where pictures come from: an X11 display, or the generated test pattern."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from native.binding import Handle, check, ffi, lib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Region(NamedTuple):
    """A rectangle of the root window, in pixels."""

    x: int
    y: int
    width: int
    height: int


class Source(Handle):
    """A source of pictures. A stream takes it over; until then it is its opener's to close."""

    _noun: ClassVar[str] = "source"

    @classmethod
    def x11(
        cls,
        display: str | None = None,
        *,
        monitor: str | None = None,
        window: int = 0,
        region: Region | tuple[int, int, int, int] | None = None,
        cursor: bool = True,
    ) -> Self:
        """Open an X display (`$DISPLAY` by default) for capture.

        At most one of `monitor` (a RandR name), `window` (an X id) and `region` (x, y, width,
        height in pixels of the root) says what of it; by default everything. `cursor` draws the
        pointer into the picture.

        NativeError with ENOTCONN: cannot connect; with EOPNOTSUPP: MIT-SHM or DAMAGE is missing.
        InvalidArgument: no such monitor or window, or an empty region.
        """
        settings = ffi.new("struct pc_x11_settings *")
        display_text = None if display is None else ffi.new("char[]", display.encode())
        monitor_text = None if monitor is None else ffi.new("char[]", monitor.encode())
        settings.display = display_text or ffi.NULL
        settings.monitor = monitor_text or ffi.NULL
        settings.window = window
        if region is not None:
            x, y, width, height = region
            if width <= 0 or height <= 0:
                raise ValueError(f"region takes a width and height above 0, not {width} x {height}")
            settings.x, settings.y, settings.width, settings.height = x, y, width, height
        settings.cursor = cursor
        out = ffi.new("struct pc_source **")
        check(lib.pc_source_open_x11(settings, out))
        return cls(out[0])

    @classmethod
    def pattern(
        cls, width: int = 1280, height: int = 720, *, motion: bool = True, seed: int = 1
    ) -> Self:
        """Open the generated test pattern, which carries its frame number and time in its pixels.

        Width and height in pixels, even, at least 320 x 180. With `motion` every pixel changes in
        each frame, as in a game; without it little does, as on a desktop.
        InvalidArgument: a size that the pattern does not come in.
        """
        settings = ffi.new("struct pc_pattern_settings *")
        settings.width, settings.height = width, height
        settings.motion = int(motion)
        settings.seed = seed
        out = ffi.new("struct pc_source **")
        check(lib.pc_source_open_pattern(settings, out))
        return cls(out[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, now."""
        width, height = ffi.new("int *"), ffi.new("int *")
        check(lib.pc_source_size(self._pointer, width, height))
        return width[0], height[0]

    def snapshot(self) -> NDArray[np.uint8]:
        """Take one picture now: an array of height x width x 4 (blue, green, red, unused)."""
        import numpy as np  # here, because it takes longer to import than the rest of the package

        width, height = ffi.new("int *"), ffi.new("int *")
        size = self.size
        while True:
            pixels = np.empty(size[0] * size[1] * 4, dtype=np.uint8)
            code = lib.pc_source_snapshot(
                self._pointer, ffi.from_buffer("uint8_t[]", pixels), pixels.size, width, height
            )
            if code == -errno.ENOSPC and self.size != size:
                size = self.size
                continue
            check(code)
            return pixels[: width[0] * height[0] * 4].reshape(height[0], width[0], 4)

    def _release(self, pointer: Any) -> None:
        lib.pc_source_close(pointer)
