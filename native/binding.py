"""The one place that touches the compiled module: its two objects, return codes, handles."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType
from typing import Any, ClassVar, Self

from native.errors import HandleClosed, error_for

try:
    from native._core import ffi, lib
except ImportError as error:
    raise ImportError(
        f"Playcast's media core is not built or does not load ({error}): "
        "run `make setup`, or `pip install .` again."
    ) from error

__all__ = ["Handle", "check", "ffi", "lib", "text", "utf8"]


def text(pointer: Any) -> str:
    """The UTF-8 text at a `char *` of the core."""
    return str(ffi.string(pointer).decode("utf-8", "replace"))


def utf8(name: str, value: str, capacity: int) -> bytes:
    """`value` for a `char[capacity]` field. ValueError names `name` when it does not fit."""
    data = value.encode()
    if b"\0" in data or len(data) >= capacity:
        raise ValueError(f"{name} takes up to {capacity - 1} bytes without NUL, not {value!r}")
    return data


def check(code: int) -> int:
    """Pass a result on; raise NativeError for a negative errno."""
    if code < 0:
        raise error_for(-code, text(lib.pc_error_text()))
    return code


class Handle:
    """Something that the core owns until `close()`: also a context manager. Closing twice is fine.

    Calls may come from any thread, but not while another thread closes the same object.
    """

    _noun: ClassVar[str]

    def __init__(self, pointer: Any) -> None:
        self._pointer_or_none: Any = pointer
        self._closing = threading.Lock()

    @property
    def _pointer(self) -> Any:
        if self._pointer_or_none is None:
            raise HandleClosed(f"this {self._noun} is closed")
        return self._pointer_or_none

    @property
    def closed(self) -> bool:
        """True once closed (or, for a source, once a stream owns it)."""
        return self._pointer_or_none is None

    def _take(self) -> Any:
        """The pointer, which belongs to the caller from now on; None when it was taken before."""
        with self._closing:
            pointer, self._pointer_or_none = self._pointer_or_none, None
        return pointer

    def _release(self, pointer: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Give back everything the object holds. Nothing else may be called afterwards."""
        pointer = self._take()
        if pointer is not None:
            self._release(pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_pointer_or_none", None) is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()
