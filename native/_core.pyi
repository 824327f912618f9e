"""The compiled media core, as cffi makes it out of core.cdef.h. Only native.binding imports it."""

from typing import Any

ffi: Any
lib: Any
