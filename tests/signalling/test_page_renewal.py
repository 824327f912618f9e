"""The page's signalling client renews its token, where the page has a callback for it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SIGNAL = Path(__file__).parents[2] / "signalling" / "web" / "signal.js"
SCRIPT = Path(__file__).parent / "signal_renewal.mjs"


def run(tmp_path: Path, callback: str) -> dict[str, list[object]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    # Modules by their name too: the page's folder has no package.json.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in ("signal.js", "backoff.js", "requests.js"):
        shutil.copy(SIGNAL.with_name(name), tmp_path)
    done = subprocess.run(
        [node, SCRIPT, tmp_path / "signal.js", callback],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_with_a_callback_the_session_goes_on(tmp_path: Path) -> None:
    found = run(tmp_path, "callback")
    first, second = found["words"]
    assert first == [["hello", "first"], ["token", "second"]]  # and nothing when it has none
    assert second == [["hello", "third"]]
    assert found["events"] == ["welcome", ["token-expired", True]]


def test_without_one_the_links_token_is_all_there_is(tmp_path: Path) -> None:
    found = run(tmp_path, "none")
    first, second = found["words"]
    assert first == second == [["hello", "of-the-link"]]
    assert found["events"] == ["welcome", ["token-expired", False]]
