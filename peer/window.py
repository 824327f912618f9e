"""A window for the picture, through SDL (PySDL2), drawn as soon as a picture is there.

The planes go to the graphics card as they are, which scales them and converts their colours. There
is no waiting for the display's refresh: a picture is shown at once, as games do it with vsync off.
"""

from __future__ import annotations

import ctypes
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from native import Picture

BLIND_DRIVERS = (b"offscreen", b"dummy", b"evdev")
BT601 = (5, 6)  # MatrixCoefficients of ITU-T H.273


class WindowError(Exception):
    """There is no window to be had. Says why, and what to do."""


class PictureWindow:
    """One window. Use it from one thread; a context manager."""

    def __init__(self, title: str, *, fullscreen: bool = False) -> None:
        """Opens nothing yet: the first picture gives the size. Raises :class:`WindowError`."""
        try:
            import sdl2
        except ImportError as error:  # of the package, or of the library that it loads
            raise WindowError(
                f'--window needs SDL2: pip install "playcast[window]" ({error})'
            ) from error
        self._sdl = sdl2
        self._title = title.encode()
        self._fullscreen = fullscreen
        self._window: Any = None
        self._renderer: Any = None
        self._texture: Any = None
        self._format = (0, 0, 0)
        sdl2.SDL_SetHint(sdl2.SDL_HINT_NO_SIGNAL_HANDLERS, b"1")  # Ctrl-C is the command's
        sdl2.SDL_SetHint(sdl2.SDL_HINT_RENDER_SCALE_QUALITY, b"linear")
        failed = sdl2.SDL_Init(sdl2.SDL_INIT_VIDEO) != 0
        # Without a display SDL draws into memory, which is of use where that is asked for.
        blind = not failed and sdl2.SDL_GetCurrentVideoDriver() in BLIND_DRIVERS
        if failed or (blind and "SDL_VIDEODRIVER" not in os.environ):
            reason = self._error() if failed else "$DISPLAY and $WAYLAND_DISPLAY lead to none"
            sdl2.SDL_QuitSubSystem(sdl2.SDL_INIT_VIDEO)
            raise WindowError(
                f"--window finds no display ({reason}); --record and --snapshot need none"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def show(self, picture: Picture) -> None:
        """Draw a picture now. Raises :class:`WindowError`."""
        sdl = self._sdl
        if self._window is None:
            self._open(picture.width, picture.height)
        format_ = (picture.width, picture.height, self._colours_of(picture))
        if self._format != format_:
            self._make_texture(*format_)
        planes = [
            argument
            for plane in (picture.y, picture.u, picture.v)
            for argument in (
                plane.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
                plane.shape[1],
            )
        ]
        self._check(sdl.SDL_UpdateYUVTexture(self._texture, None, *planes))
        self._draw()

    def alive(self) -> bool:
        """Take what the user did. False once the window was closed, or Escape or Q pressed."""
        sdl, event = self._sdl, self._sdl.SDL_Event()
        alive = True
        while sdl.SDL_PollEvent(ctypes.byref(event)):
            if event.type == sdl.SDL_QUIT:
                alive = False
            if event.type == sdl.SDL_KEYDOWN:
                match event.key.keysym.sym:
                    case sdl.SDLK_ESCAPE | sdl.SDLK_q:
                        alive = False
                    case sdl.SDLK_f | sdl.SDLK_F11:
                        self._toggle_fullscreen()
            if event.type == sdl.SDL_WINDOWEVENT and self._texture is not None:
                self._draw()
        return alive

    def close(self) -> None:
        """Closing twice is fine."""
        sdl = self._sdl
        if self._texture is not None:
            sdl.SDL_DestroyTexture(self._texture)
        if self._renderer is not None:
            sdl.SDL_DestroyRenderer(self._renderer)
        if self._window is not None:
            sdl.SDL_DestroyWindow(self._window)
        self._window = self._renderer = self._texture = None
        sdl.SDL_QuitSubSystem(sdl.SDL_INIT_VIDEO)

    def _open(self, width: int, height: int) -> None:
        sdl = self._sdl
        flags = sdl.SDL_WINDOW_RESIZABLE | sdl.SDL_WINDOW_ALLOW_HIGHDPI
        if self._fullscreen:
            flags |= sdl.SDL_WINDOW_FULLSCREEN_DESKTOP
        centred = sdl.SDL_WINDOWPOS_CENTERED
        self._window = sdl.SDL_CreateWindow(self._title, centred, centred, width, height, flags)
        if not self._window:
            raise WindowError(f"cannot open a window: {self._error()}")
        self._renderer = sdl.SDL_CreateRenderer(self._window, -1, 0)
        if not self._renderer:
            raise WindowError(f"cannot draw in a window: {self._error()}")

    def _colours_of(self, picture: Picture) -> int:
        sdl = self._sdl.surface
        if picture.full_range:
            return int(sdl.SDL_YUV_CONVERSION_JPEG)
        bt601 = picture.matrix in BT601
        return int(sdl.SDL_YUV_CONVERSION_BT601 if bt601 else sdl.SDL_YUV_CONVERSION_BT709)

    def _make_texture(self, width: int, height: int, colours: int) -> None:
        sdl = self._sdl
        # A texture is converted as the mode was when it was made.
        sdl.surface.SDL_SetYUVConversionMode(colours)
        if self._texture is not None:
            sdl.SDL_DestroyTexture(self._texture)
        self._texture = sdl.SDL_CreateTexture(
            self._renderer,
            sdl.SDL_PIXELFORMAT_IYUV,
            sdl.SDL_TEXTUREACCESS_STREAMING,
            width,
            height,
        )
        if not self._texture:
            raise WindowError(f"cannot draw {width} x {height} pixels: {self._error()}")
        # Scales to the window, with bars where the shapes differ.
        self._check(sdl.SDL_RenderSetLogicalSize(self._renderer, width, height))
        self._format = (width, height, colours)

    def _draw(self) -> None:
        sdl = self._sdl
        self._check(sdl.SDL_RenderClear(self._renderer))
        self._check(sdl.SDL_RenderCopy(self._renderer, self._texture, None, None))
        sdl.SDL_RenderPresent(self._renderer)

    def _toggle_fullscreen(self) -> None:
        sdl = self._sdl
        self._fullscreen = not self._fullscreen
        if self._window is not None:
            mode = sdl.SDL_WINDOW_FULLSCREEN_DESKTOP if self._fullscreen else 0
            sdl.SDL_SetWindowFullscreen(self._window, mode)

    def _check(self, code: int) -> None:
        if code != 0:
            raise WindowError(f"cannot draw: {self._error()}")

    def _error(self) -> str:
        return str(self._sdl.SDL_GetError().decode("utf-8", "replace")) or "SDL does not say why"
