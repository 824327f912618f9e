"""Child processes: what they say, how they end, and that they end with us."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peer.child import Child, ChildError, find_program, read_line


async def test_an_obituary_has_status_and_last_words() -> None:
    child = await Child.start("sh", ("/bin/sh", "-c", "echo first; echo last >&2; exit 3"))
    await child.wait()
    assert child.obituary() == "sh ended (status 3): last"
    await child.stop()


async def test_stop_ends_it_and_may_be_repeated() -> None:
    child = await Child.start("cat", ("/bin/sleep", "1000"))
    await child.stop()
    assert child.returncode == -signal.SIGTERM
    await child.stop()


async def test_one_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.child.STOP_TIMEOUT", 0.05)
    read_end, write_end = os.pipe()
    script = f"trap '' TERM; echo ready >&{write_end}; while :; do sleep 1000; done"
    child = await Child.start("sh", ("/bin/bash", "-c", script), pass_fds=(write_end,))
    os.close(write_end)
    assert await read_line(os.fdopen(read_end, "rb", 0), 10) == b"ready\n"
    await child.stop()
    assert child.returncode == -signal.SIGKILL


def test_a_child_ends_with_its_killed_parent() -> None:
    """The pipe's end is the child's: it closes when the last process that has it is gone."""
    read_end, write_end = os.pipe()
    script = f"""
import asyncio, os
from peer.child import Child
async def main():
    await Child.start("sleep", ("/bin/sleep", "1000"), pass_fds=({write_end},))
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    parent = subprocess.run(
        [sys.executable, "-c", script],
        pass_fds=(write_end,),
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    os.close(write_end)
    assert parent.returncode == -signal.SIGKILL
    readable, _, _ = select.select([read_end], [], [], 10)
    assert readable, "the child is still there"
    assert os.read(read_end, 1) == b""
    os.close(read_end)


async def test_read_line_gives_up() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb", 0), pytest.raises(asyncio.TimeoutError):
        await read_line(os.fdopen(read_end, "rb", 0), 0.01)


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(ChildError, match="apt-get install no-such-package"):
        find_program("no-such-program", "no-such-package")
