import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "native/build.py", what],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_library_is_linked():
    flags = build("libs").stdout.split()
    for name in [
        "x264",
        "vpx",
        "yuv",
        "avcodec",
        "crypto",
        "xcb",
        "xcb-shm",
        "xcb-damage",
        "xcb-xfixes",
    ]:
        assert f"-l{name}" in flags


def test_a_missing_library_is_one_sentence_that_names_its_package(tmp_path: Path):
    result = build("libs", PKG_CONFIG_LIBDIR=str(tmp_path), PKG_CONFIG_PATH="")
    assert result.returncode == 1
    assert result.stderr == (
        "playcast: x264 was not found: install it with `apt-get install libx264-dev`.\n"
    )


def test_a_missing_compiler_is_named():
    code = "import native.build"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CC": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "playcast: the C compiler no-such-compiler was not found: "
        "install one with `apt-get install build-essential`.\n"
    )
