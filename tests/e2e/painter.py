"""Paints rectangles on an X display, as any client of libxcb does."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

from cffi import FFI

ffi = FFI()
# Of a screen, only the first member is needed; cookies are structs of one unsigned int.
ffi.cdef(
    """
    typedef struct { uint32_t root; } screen_t;
    typedef struct { screen_t *data; int rem, index; } screen_iterator_t;
    typedef struct { unsigned int sequence; } cookie_t;
    typedef struct { int16_t x, y; uint16_t width, height; } rectangle_t;

    void *xcb_connect(const char *display, int *screen);
    int xcb_connection_has_error(void *c);
    const void *xcb_get_setup(void *c);
    screen_iterator_t xcb_setup_roots_iterator(const void *setup);
    uint32_t xcb_generate_id(void *c);
    cookie_t xcb_create_gc(void *c, uint32_t gc, uint32_t on, uint32_t mask, const uint32_t *);
    cookie_t xcb_change_gc(void *c, uint32_t gc, uint32_t mask, const uint32_t *values);
    cookie_t xcb_poly_fill_rectangle(void *c, uint32_t on, uint32_t gc, uint32_t count,
                                     const rectangle_t *rectangles);
    cookie_t xcb_get_input_focus(void *c);
    void *xcb_get_input_focus_reply(void *c, cookie_t cookie, void **error);
    void xcb_disconnect(void *c);
    void free(void *memory);
    """
)
GC_FOREGROUND = 4


class Painter:
    """A client of the display ``name``. A context manager; what it painted stays."""

    def __init__(self, name: str) -> None:
        self._xcb = cast(Any, ffi.dlopen("libxcb.so.1"))
        self._libc = cast(Any, ffi.dlopen(None))
        self._connection = self._xcb.xcb_connect(name.encode(), ffi.NULL)
        if self._xcb.xcb_connection_has_error(self._connection):
            self._xcb.xcb_disconnect(self._connection)
            raise ConnectionError(f"cannot connect to display {name}")
        screens = self._xcb.xcb_setup_roots_iterator(self._xcb.xcb_get_setup(self._connection))
        self._root = screens.data.root
        self._gc = self._xcb.xcb_generate_id(self._connection)
        self._xcb.xcb_create_gc(self._connection, self._gc, self._root, 0, ffi.NULL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._xcb.xcb_disconnect(self._connection)

    def fill(self, x: int, y: int, width: int, height: int, rgb: tuple[int, int, int]) -> None:
        """Fill a rectangle of the root window. Not done before :meth:`finish`."""
        red, green, blue = rgb
        colour = ffi.new("uint32_t[1]", [red << 16 | green << 8 | blue])
        self._xcb.xcb_change_gc(self._connection, self._gc, GC_FOREGROUND, colour)
        rectangle = ffi.new("rectangle_t *", (x, y, width, height))
        self._xcb.xcb_poly_fill_rectangle(self._connection, self._root, self._gc, 1, rectangle)

    def finish(self) -> None:
        """Return when the server has painted everything: it answers in order."""
        cookie = self._xcb.xcb_get_input_focus(self._connection)
        reply = self._xcb.xcb_get_input_focus_reply(self._connection, cookie, ffi.NULL)
        if reply == ffi.NULL:
            raise ConnectionError("the display went away")
        self._libc.free(reply)
