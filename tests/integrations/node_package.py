"""npm packages that a test takes its counterpart from, installed once for the checkout."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "build"


def node_package(folder: str, package: str, script: Path) -> Path:
    """Where ``script`` is, in a folder in which node finds ``package``. Skips without npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(f"npm is not installed: {package} cannot be asked")
    home = BUILD / folder
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            (home / "package.json").write_text('{"private": true}')
            words = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund")
            try:
                done = subprocess.run(
                    [*words, "--fetch-retries=0", package],
                    cwd=home,
                    capture_output=True,
                    text=True,
                    timeout=90,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                pytest.skip(f"npm's registry cannot be reached: {package} is not there")
            if done.returncode != 0:
                reason = (done.stderr.strip().splitlines() or ["?"])[0]
                pytest.skip(f"npm cannot install {package}: {reason}")
            (home / "installed").touch()
        copy = home / script.name
        copy.write_bytes(script.read_bytes())
    return copy
