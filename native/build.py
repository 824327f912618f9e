"""Builds `native._core`, the media core, with cffi: the one place that knows libraries and flags.

setup.py runs this file for its `ffibuilder`. As a program it prints the flags for native/Makefile:
`python3 native/build.py cflags`, `python3 native/build.py libs`. A missing library ends either with
one sentence that names the Debian package.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent

# pkg-config's name, and the Debian package that brings it.
LIBRARIES = {
    "x264": "libx264-dev",
    "vpx": "libvpx-dev",
    "libavcodec": "libavcodec-dev",
    "libavutil": "libavutil-dev",
    "libcrypto": "libssl-dev",
    "xcb": "libxcb1-dev",
    "xcb-shm": "libxcb-shm0-dev",
    "xcb-damage": "libxcb-damage0-dev",
    "xcb-xfixes": "libxcb-xfixes0-dev",
    "xcb-randr": "libxcb-randr0-dev",
}

LANGUAGE_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-Wall"]


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


def pkg_config(option: str) -> list[str]:
    """The flags that pkg-config has for all libraries."""
    if shutil.which("pkg-config") is None:
        fail("pkg-config was not found: install it with `apt-get install pkg-config`.")
    for name, package in LIBRARIES.items():
        if subprocess.run(["pkg-config", "--exists", name], check=False).returncode != 0:
            fail(f"{name} was not found: install it with `apt-get install {package}`.")
    result = subprocess.run(
        ["pkg-config", option, *LIBRARIES], capture_output=True, text=True, check=True
    )
    return shlex.split(result.stdout)


def require_libyuv() -> None:
    """Debian's libyuv has no pkg-config file: link a program with it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "check.c"
        source.write_text(
            "#include <libyuv.h>\n"
            "int main(void) { return ARGBToI420(0, 0, 0, 0, 0, 0, 0, 0, 1, 1) == 0; }\n"
        )
        result = subprocess.run(
            [*compiler(), str(source), "-o", str(Path(folder) / "check"), "-lyuv"],
            capture_output=True,
            check=False,
        )
    if result.returncode != 0:
        fail("libyuv was not found: install it with `apt-get install libyuv-dev`.")


def cflags() -> list[str]:
    """What every C file of the core is compiled with, optimisation aside."""
    return [*LANGUAGE_FLAGS, *pkg_config("--cflags")]


def libs() -> list[str]:
    """What the core is linked with."""
    return [*pkg_config("--libs"), "-lyuv", "-lm", "-pthread"]


def builder() -> FFI:
    """The cffi builder of `native._core`."""
    from cffi import FFI

    require_libyuv()
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
        extra_compile_args=["-O3", *cflags()],
        extra_link_args=libs(),
        py_limited_api=True,
    )
    return ffi


if __name__ == "__main__":
    print(shlex.join({"cflags": cflags, "libs": libs}[sys.argv[1]]()))
else:
    ffibuilder = builder()
