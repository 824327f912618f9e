"""Builds `native._core`, the media core, with cffi: the one place that knows libraries and flags.

setup.py runs this file. A missing library ends it with one sentence that names the Debian package.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent

# pkg-config's name, and the Debian package that brings it.
LIBRARIES = {
    "x264": "libx264-dev",
    "vpx": "libvpx-dev",
    "libcrypto": "libssl-dev",
    "xcb": "libxcb1-dev",
    "xcb-shm": "libxcb-shm0-dev",
    "xcb-damage": "libxcb-damage0-dev",
    "xcb-xfixes": "libxcb-xfixes0-dev",
    "xcb-randr": "libxcb-randr0-dev",
}

COMPILE_FLAGS = ["-O3", "-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-Wall"]


def fail(message: str) -> NoReturn:
    """End the build with one sentence."""
    sys.exit(f"playcast: {message}")


def compiler() -> list[str]:
    """The C compiler's command, checked to exist."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        fail(
            f"the C compiler {command[0]} was not found: "
            "install one with `apt-get install build-essential`."
        )
    return command


def pkg_config(option: str, name: str) -> list[str]:
    """The flags that pkg-config has for a library."""
    result = subprocess.run(
        ["pkg-config", option, name], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        package = LIBRARIES[name]
        fail(f"{name} was not found: install it with `apt-get install {package}`.")
    return shlex.split(result.stdout)


def require_libyuv(command: list[str]) -> None:
    """Debian's libyuv has no pkg-config file: link a program with it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "check.c"
        source.write_text(
            "#include <libyuv.h>\n"
            "int main(void) { return ARGBToI420(0, 0, 0, 0, 0, 0, 0, 0, 1, 1) == 0; }\n"
        )
        result = subprocess.run(
            [*command, str(source), "-o", str(Path(folder) / "check"), "-lyuv"],
            capture_output=True,
            check=False,
        )
    if result.returncode != 0:
        fail("libyuv was not found: install it with `apt-get install libyuv-dev`.")


def builder() -> FFI:
    """The cffi builder of `native._core`."""
    command = compiler()
    if shutil.which("pkg-config") is None:
        fail("pkg-config was not found: install it with `apt-get install pkg-config`.")
    compile_flags = [flag for name in LIBRARIES for flag in pkg_config("--cflags", name)]
    link_flags = [flag for name in LIBRARIES for flag in pkg_config("--libs", name)]
    require_libyuv(command)

    ffi = FFI()
    ffi.cdef((ROOT / "native/core.cdef.h").read_text(encoding="utf-8"))
    ffi.set_source(
        "native._core",
        '#include "core.h"',
        sources=sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("native/src/*.c")),
        depends=sorted(
            str(path.relative_to(ROOT))
            for path in [*ROOT.glob("native/src/*.h"), ROOT / "native/core.cdef.h"]
        ),
        include_dirs=["native/src"],
        extra_compile_args=[*COMPILE_FLAGS, *compile_flags],
        extra_link_args=[*link_flags, "-lyuv", "-lm", "-pthread", "-Wl,--no-undefined"],
        py_limited_api=True,
    )
    return ffi


ffibuilder = builder()
