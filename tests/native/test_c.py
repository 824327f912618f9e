"""Runs every tests/c/test_*.c: optimised, under ASan with UBSan, and under TSan."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(path.stem for path in ROOT.glob("tests/c/test_*.c"))
USES = '#include "uninstrumented.h"'
JOBS = f"-j{os.cpu_count() or 1}"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", "native", "--silent", f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def build():
    """Build a variant once, all programs at a time; each test then checks its own program."""
    built = set()

    def build_variant(variant: str) -> None:
        if variant not in built:
            make(JOBS, "--keep-going", f"build-{variant}")
            built.add(variant)

    return build_variant


def launcher(variant: str) -> list[str]:
    """ThreadSanitizer's shadow does not fit every kernel's address randomisation."""
    if variant != "tsan" or shutil.which("setarch") is None:
        return []
    command = ["setarch", "-R"]
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if allowed else []


@pytest.mark.sanitizer
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("variant", ["test", "asan", "tsan"])
def test_c(build, variant: str, program: str, tmp_path: Path):
    build(variant)
    target = f"../build/native/{variant}/{program}"
    compiled = make(target)
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr

    environment = {
        "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
        **os.environ,
    }
    # Into a file: a pipe would stay open for as long as anything that the program started runs.
    log = tmp_path / "log"
    with log.open("wb") as output:
        result = subprocess.run(
            [*launcher(variant), str(ROOT / "build/native" / variant / program)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
    said = log.read_text(errors="replace")
    assert result.returncode == 0, said
    assert "ok " in said, f"{program} ran no test"


@pytest.mark.sanitizer
@pytest.mark.parametrize(
    "program", [name for name in PROGRAMS if USES in (ROOT / f"tests/c/{name}.c").read_text()]
)
def test_thread_sanitizer_finds_what_it_is_told(build, program: str):
    """It asks a function of the program's, which nobody misses where it is hidden."""
    build("tsan")
    path = ROOT / "build/native/tsan" / program
    symbols = subprocess.run(
        ["nm", "--dynamic", "--defined-only", path], capture_output=True, text=True, check=True
    ).stdout
    assert "__tsan_default_suppressions" in symbols
