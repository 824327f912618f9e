"""Runs every fuzz target for a short, fixed number of inputs. `make fuzz` runs them for long."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = sorted(path.stem for path in ROOT.glob("tests/fuzz/fuzz_*.c"))
INPUTS = 20_000


@pytest.mark.sanitizer
@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(target: str, tmp_path: Path):
    program = ROOT / "build/native/fuzz" / target
    compiled = subprocess.run(
        [
            "make",
            "-C",
            "native",
            "--silent",
            "-j2",
            f"PYTHON={sys.executable}",
            f"../build/native/fuzz/{target}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr

    seeds = ROOT / "tests/fuzz/corpus" / target
    found = tmp_path / "found"  # the first folder named is where libFuzzer adds to
    found.mkdir()
    result = subprocess.run(
        [
            program,
            f"-runs={INPUTS}",
            "-seed=1",
            "-timeout=20",
            f"-artifact_prefix={tmp_path}/",
            found,
            *([seeds] if seeds.is_dir() else []),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    inputs = {path.name: path.read_bytes().hex() for path in tmp_path.iterdir() if path.is_file()}
    assert result.returncode == 0, f"{result.stdout}\ninputs: {inputs}"
    assert f"Done {INPUTS} runs" in result.stdout, result.stdout
