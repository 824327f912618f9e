import asyncio
import os
import select
import sys
from pathlib import Path

import pytest

from peer.signalling_settings import TokenUnavailable
from peer.token_source import CommandTokens, FileTokens

TOKEN = "aaa.bbb-_.ccc"


def python(script: str) -> str:
    return f"{sys.executable} -c '{script}'"


async def test_a_command_is_run_for_each_token(tmp_path: Path) -> None:
    count = tmp_path / "count"
    source = CommandTokens(f"sh -c 'echo x >> {count}; echo token-$(wc -l < {count}); echo more'")
    assert await source() == "token-1"
    assert await source() == "token-2"


async def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert await CommandTokens(f"printf '%s;' a > {made}")() == f"a;>;{made};"
    assert not made.exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-program-here", "no-such-program-here cannot be run: No such file"),
        (python("raise SystemExit(3)"), "failed with status 3"),
        (python('import sys; sys.exit("line\\nsign in first")'), "status 1: sign in first"),
        ("true", "there is no token in what true wrote"),
        ("echo two words", "is no token"),
        (python('print("x" * 9000)'), "is no token"),
        (python('print("é")'), "is no token"),
    ],
)
async def test_what_goes_wrong_is_said_in_words(command: str, says: str) -> None:
    with pytest.raises(TokenUnavailable, match=says):
        await CommandTokens(command)()


async def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! $$ > {pids}; echo {TOKEN}; wait"
    with pytest.raises(TokenUnavailable, match=r"within 0\.5 s"):
        await CommandTokens(f"sh -c '{script}'", timeout_s=0.5)()
    for pid in pids.read_text().split():
        await gone(int(pid))


async def test_a_command_whose_caller_gives_up_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    asking = asyncio.create_task(CommandTokens(f"sh -c 'echo $$ > {pids}; sleep 600'")())
    pid = int(await asyncio.to_thread(pids.read_text))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await gone(pid)


async def gone(pid: int) -> None:
    """Until the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    assert await asyncio.to_thread(ended.poll, 10_000)
    os.close(descriptor)


async def test_a_flood_of_output_is_not_kept() -> None:
    flood = python('import os\nfor _ in range(300): os.write(1, b"a b" * 10000)')
    with pytest.raises(TokenUnavailable, match="is no token"):
        await CommandTokens(flood)()


@pytest.mark.parametrize("command", ["", "  ", "'open"])
def test_what_is_no_command_is_misuse(command: str) -> None:
    with pytest.raises(ValueError, match=r"empty|command line"):
        CommandTokens(command)


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = FileTokens(path)
    with pytest.raises(TokenUnavailable, match="No such file"):
        await source()
    path.write_text(f"\n{TOKEN}\n")
    assert await source() == TOKEN
    fresh = tmp_path / "fresh"
    fresh.write_text("next")
    fresh.rename(path)
    assert await source() == "next"
    path.write_text("")
    with pytest.raises(TokenUnavailable, match="there is no token in"):
        await source()
