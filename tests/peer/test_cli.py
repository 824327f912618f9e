"""The command: what it refuses, what it says, and that it leaves nothing behind."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from peer.cli import build_parser, main
from peer.signalling_client import (
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
)
from signalling.messages import (
    Admit,
    Ban,
    ControlTake,
    Kick,
    Offer,
    PeerJoined,
    PeerLeft,
    Waiting,
    Welcome,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DISPLAY", raising=False)


# Wrong options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["host", "--source", "camera"], "--source: invalid choice: 'camera' (choose from"),
        (["host", "--fps", "0"], "--fps: takes 1..240, not '0'"),
        (["host", "--fps", "a" * 99], "--fps: takes 1..240"),
        (["host", "--bitrate", "8G"], "--bitrate: takes 100k to 500M bits a second, not '8G'"),
        (["host", "--bitrate", "10"], "--bitrate: takes 100k"),
        (["host", "--size", "1280"], "--size: takes WIDTHxHEIGHT"),
        (["host", "--size", "1281x720"], "--size: takes WIDTHxHEIGHT, even"),
        (["host", "--region", "1280x720"], "--region: takes WIDTHxHEIGHT+X+Y"),
        (["host", "--window", "firefox"], "--window: takes a window's id"),
        (["host", "--window", "1", "--monitor", "HDMI-1"], "not allowed with argument --window"),
        (["host", "--port", "65536"], "--port: takes 0..65535"),
        (["host", "--udp-port", "-1"], "--udp-port: takes 0..65535"),
        (["host", "--bind", "localhost"], "--bind: takes an IP address, not 'localhost'"),
        (["host", "--turn", "turn:h"], "--turn: an ICE server is"),
        (["host", "--signalling", "http://h/ws"], "--signalling: takes ws://HOST/ws or wss://"),
        (["host", "--signalling", "ws://h:port/ws"], "--signalling: takes ws://HOST/ws or wss://"),
        (["host", "--token", "t", "--login"], "--login: not allowed with argument --token"),
        (
            ["host", "--token-file", "t", "--token-command", "c"],
            "not allowed with argument --token",
        ),
        (
            ["view", "LINK", "--token-file", "t", "--login", "i"],
            "not allowed with argument --token",
        ),
        (["host", "--room", "a b"], "--room: takes 1 to 64 letters"),
        (["host", "--max-viewers", "0"], "--max-viewers: takes 1..10000"),
        (["host", "--preset", "slow"], "--preset: invalid choice"),
        (["host", "--rate-control", "crf"], "--rate-control: invalid choice"),
        (["host", "--colour"], "unrecognized arguments: --colour"),
        (["hots"], "invalid choice: 'hots'"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_option_is_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "pattern", "--display", ":0"], "--display does not go with --source pattern"),
        (["--source", "game", "--region", "2x2+0+0"], "--region does not go with --source game"),
        (["--source", "x11", "--size", "640x360"], "--size is the game's or the pattern's"),
        (["--signalling", "ws://h/ws"], "--signalling needs --token"),
        (["--signalling", "ws://h/ws", "--token", "t", "--port", "1"], "--port is of our own"),
        (["--token", "t"], "--token needs --signalling"),
        (["--token-file", "t"], "--token-file needs --signalling"),
        (["--login"], "--login needs --signalling"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["host", *words]) == 2
    assert said in capsys.readouterr().err


def test_values_are_read() -> None:
    options = build_parser().parse_args(
        ["host", "--bitrate", "2.5M", "--size", "1920x1080", "--window", "0x1c00007"]
    )
    assert (options.bitrate, options.size, options.window) == (2_500_000, (1920, 1080), 0x1C00007)
    assert build_parser().parse_args(["host", "--region", "640x360+10+20"]).region == (
        *(10, 20),
        *(640, 360),
    )


@pytest.mark.parametrize("words", [[], ["host"], ["view"], ["doctor"]])
def test_help_teaches_by_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "examples:\n  playcast " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["serve", "token", "login", "config", "audit"])
def test_commands_of_other_packages_teach_by_example(command: str) -> None:
    words = [sys.executable, "-m", "peer", command, "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "examples:\n  playcast " in told


# The process ------------------------------------------------------------------------------------


class Run:
    """A running ``playcast``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.out, self.err = process.stdout, process.stderr

    async def link(self) -> str:
        while line := (await self.err.readline()).decode():
            if "http://" in line:
                return line.split()[-1]
        raise AssertionError("no link")

    async def links(self) -> dict[str, str]:
        """The links to watch, to play and to manage the room."""
        words = {"browser": "watch", "watch": "watch", "play": "play", "manage": "manage"}
        found: dict[str, str] = {}
        while len(found) < 3:
            line = (await self.err.readline()).decode()
            assert line, "no links"
            name = next((words[word] for word in line.split(": ")[0].split() if word in words), "")
            if name and "http://" in line:
                found[name] = line.split()[-1]
        return found

    async def report(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(await self.out.readline())
        return found

    async def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Returns the exit status, and what was still said on standard error."""
        self.process.send_signal(number)
        _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def playcast(*words: str) -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peer", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 20,
    )
    try:
        async with asyncio.timeout(40):
            yield Run(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def fails(*words: str) -> str:
    """Run to the end, which must be a failure without a traceback. What it said."""
    async with playcast(*words) as run:
        _, said = await run.process.communicate()
    assert run.process.returncode == 1
    assert b"Traceback" not in said
    return said.decode()


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def x_socket(number: str) -> bool:
    return Path(f"/tmp/.X11-unix/X{number}").exists()


def shared_memory_owners() -> set[int]:
    """The processes that made the System V segments there are (proc(5): shmid, cpid)."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    creator = lines[0].split().index("cpid")
    return {int(line.split()[creator]) for line in lines[1:]}


def viewer(link: str) -> SignallingClient:
    parts = urlsplit(link)
    fragment = parse_qs(parts.fragment)
    settings = SignallingClientSettings(
        url=f"ws://{parts.netloc}/ws",
        token=fragment["token"][0],
        room=fragment["room"][0],
        role="viewer",
    )
    return SignallingClient(settings)


PATTERN = ("host", "--source", "pattern", "--size", "320x180", "--port", "0", "--json")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_host_offers_reports_and_ends_cleanly(number: int) -> None:
    async with playcast(*PATTERN) as run:
        link = await run.link()
        async with viewer(link) as me:
            messages = aiter(me)
            while not isinstance(await anext(messages), Offer):
                pass
            report = await run.report()
            assert (report["width"], report["height"]) == (320, 180)
            assert report["link"] == link
            ending = asyncio.ensure_future(run.end(number))
            while not isinstance(message := await anext(messages), PeerLeft):
                pass
            assert message.reason == "bye"
        status, said = await ending
        assert status == 0
        assert "Traceback" not in said
        assert "rror" not in said
    assert await refused(urlsplit(link).port or 0)


async def test_a_room_is_run_by_the_link_to_manage_it() -> None:
    async with playcast(*PATTERN, "--policy", "approval", "--title", "Doom") as run:
        links = await run.links()
        async with viewer(links["manage"]) as manager, viewer(links["watch"]) as me:
            managers, mine = aiter(manager), aiter(me)
            welcome = await anext(managers)
            assert isinstance(welcome, Welcome)
            assert (welcome.role, welcome.settings.title) == ("moderator", "Doom")
            waiting = await anext(mine)
            assert isinstance(waiting, Waiting)
            while True:
                message = await anext(managers)
                if isinstance(message, PeerJoined) and message.waiting:
                    break
            room: Any = {"members": []}
            while not any(member["waiting"] for member in room["members"]):
                room = (await run.report())["room_state"]
            assert room["policy"] == "approval"
            reading = asyncio.ensure_future(drain(managers))
            await manager.request(Admit(waiting.peer))
            while not isinstance(await anext(mine), Offer):
                pass
            await manager.request(Kick(waiting.peer, "enough for today"))
            with pytest.raises(SignallingRefused, match="enough for today"):
                await drain(mine)
            reading.cancel()


async def test_a_viewer_says_what_it_is_and_has() -> None:
    async with playcast(*PATTERN, "--controls", "free") as run:
        links = await run.links()
        words = ("view", links["play"], "--ask", "pad:1", "--ask", "pad:9")
        async with playcast(*words) as wrong:
            assert await wrong.process.wait() == 2
        async with playcast(*words[:4], "--json") as view, viewer(links["manage"]) as manager:
            assert b"Viewing room" in await view.err.readline()
            assert await view.err.readline() == b"You are in the room, as a player.\n"
            assert await view.err.readline() == b"You have pad:1 now.\n"
            room: Any = (await view.report())["room_state"]
            assert room["controls"][0]["holder"] == room["peer"]
            held: dict[str, Any] = {}
            while room["peer"] not in held:
                members = (await run.report())["room_state"]["members"]  # type: ignore[index]
                held = {member["peer"]: member["holds"] for member in members}
            assert held[room["peer"]] == ["pad:1"]
            managers = aiter(manager)
            await anext(managers)
            reading = asyncio.ensure_future(drain(managers))
            await manager.request(ControlTake("pad:1"))
            taken = b"You do not have pad:1 any more: the host has taken it back.\n"
            assert await view.err.readline() == taken
            await manager.request(Ban(room["peer"]))
            reading.cancel()
            said = (await view.err.read()).decode()
            assert await view.process.wait() == 1
        assert "you are kept out" in said
        assert "Only the host can change that" in said
        assert "Traceback" not in said


async def test_a_room_for_the_invited_has_a_link_that_invites() -> None:
    async with playcast(*PATTERN, "--policy", "invite") as run:
        links = await run.links()
        assert "token=invite." in links["watch"]
        async with viewer(links["watch"]) as me:
            messages = aiter(me)
            while not isinstance(await anext(messages), Offer):
                pass


async def drain(messages: AsyncIterator[object]) -> None:
    async for _ in messages:
        pass


async def test_a_hosted_game_leaves_nothing_behind() -> None:
    async with playcast("host", "--size", "640x400", "--port", "0", "--json") as run:
        async with viewer(await run.link()) as me:
            messages = aiter(me)
            while not isinstance(await anext(messages), Offer):
                pass
        report = await run.report()
        assert (report["width"], report["height"]) == (640, 400)
        number = str(report["source"]).rpartition(":")[2]
        assert x_socket(number)
        status, _ = await run.end()
    assert status == 0
    assert not x_socket(number)
    assert run.process.pid not in shared_memory_owners()


async def test_the_server_ends_with_a_killed_host() -> None:
    async with playcast(*PATTERN) as run:
        port = urlsplit(await run.link()).port or 0
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await run.end(signal.SIGKILL)
        assert await reader.read() == b""  # the server has closed it, by ending
        writer.close()
    assert await refused(port)


async def test_ctrl_c_while_starting_is_clean_too() -> None:
    async with playcast(*PATTERN, "--log-level", "debug") as run:
        while b"started the signalling server" not in await run.err.readline():
            pass
        status, said = await run.end()
    assert status == 0
    assert "Traceback" not in said


class Hanging:
    """Takes connections and never says anything."""

    def __init__(self) -> None:
        self.port = 0
        self.taken = asyncio.Event()

    async def hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken.set()
        await reader.read()
        writer.close()


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    hanging = Hanging()
    async with await asyncio.start_server(hanging.hold, "127.0.0.1", 0) as server:
        hanging.port = server.sockets[0].getsockname()[1]
        yield hanging


@asynccontextmanager
async def interrupted(*words: str, when: bytes) -> AsyncIterator[Run]:
    """Ctrl-C as soon as that is said, and no traceback."""
    async with playcast(*words) as run:
        while when not in (line := await run.out.readline()):
            assert line, (await run.err.read()).decode()
        yield run
        run.process.send_signal(signal.SIGINT)
        said = (await run.out.read()) + (await run.err.read())
        await run.process.wait()
        assert b"Traceback" not in said


@pytest.mark.parametrize("source", [["--token", "a.b.c"], ["--token-command", "sleep 600"]])
async def test_ctrl_c_while_connecting_ends_a_host(hanging: Hanging, source: list[str]) -> None:
    words = ("host", "--source", "pattern", "--size", "320x180", "--bind", "127.0.0.1")
    server = ("--signalling", f"ws://127.0.0.1:{hanging.port}/ws")
    async with interrupted(*words, *server, *source, when=b"Streaming") as run:
        pass
    assert run.process.returncode == 0


async def test_ctrl_c_while_connecting_ends_a_viewer(hanging: Hanging) -> None:
    link = f"http://127.0.0.1:{hanging.port}/#room=play&token=a.b.c"
    async with interrupted("view", link, when=b"Viewing") as run:
        pass
    assert run.process.returncode == 1, "there was no picture"


async def test_ctrl_c_while_waiting_ends_a_viewer() -> None:
    """For the host, who is not there, and for somebody to let us in."""
    async with playcast("serve", "--dev", "--port", "0") as server:
        page = (await server.out.readline()).decode().split()[-1]
        async with playcast("token", "--subject", "anna") as mint:
            token = (await mint.out.read()).decode().strip()
        link = f"{page}#room=play&token={token}"
        async with interrupted("view", link, when=b"there is no host") as run:
            pass
        assert run.process.returncode == 1
        await server.end()
    async with playcast(*PATTERN, "--policy", "approval") as host:
        link = (await host.links())["watch"]
        async with interrupted("view", link, when=b"asked to let you in") as run:
            pass
        assert run.process.returncode == 1
        await host.end()


async def test_ctrl_c_during_a_login_is_no_login(hanging: Hanging) -> None:
    """``playcast login … && playcast host --login`` must not go on."""
    async with playcast("login", f"http://127.0.0.1:{hanging.port}", "--client-id", "x") as run:
        await hanging.taken.wait()
        status, said = await run.end()
    assert status == 130
    assert "Traceback" not in said


async def test_ctrl_c_in_the_middle_of_an_examination_is_clean() -> None:
    async with interrupted("doctor", when=b"encoder") as run:
        pass
    assert run.process.returncode == 130


async def test_a_reader_that_goes_away_ends_the_host_quietly() -> None:
    async with playcast(*PATTERN) as run:
        await run.report()
        run.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        said = await run.err.read()
        assert await run.process.wait() == 0
    assert b"Traceback" not in said


async def test_a_busy_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await fails("host", "--source", "pattern", "--port", str(port))
    assert f"port {port}" in said
    assert "--port" in said


async def test_a_busy_udp_port_is_a_clear_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = await fails(*PATTERN, "--udp-port", str(port))
    assert f"--udp-port {port}" in said


async def test_an_unreadable_display_is_a_clear_error() -> None:
    said = await fails("host", "--source", "x11", "--display", ":9999", "--port", "0")
    assert "cannot capture" in said
    assert ":9999" in said


async def test_no_display_at_all_is_a_clear_error() -> None:
    said = await fails("host", "--source", "x11", "--port", "0")
    assert "--display" in said


async def test_a_refusal_is_a_clear_error() -> None:
    """Of a token that is none, one of a viewer's, and of an address that is another."""
    async with playcast(*PATTERN) as run:
        link = await run.link()
        server = f"ws://{urlsplit(link).netloc}"
        words = ("host", "--source", "pattern", "--size", "320x180", "--bind", "127.0.0.1")
        viewers = parse_qs(urlsplit(link).fragment)["token"][0]
        none = await fails(*words, "--signalling", f"{server}/ws", "--token", "a.b.c")
        forbidden = await fails(*words, "--signalling", f"{server}/ws", "--token", viewers)
        elsewhere = await fails(*words, "--signalling", f"{server}/", "--token", viewers)
        await run.end()
    assert "the server refuses the token" in none
    assert "must be allowed to host" in forbidden
    assert "HTTP status 200: is the address right? It is the WebSocket's" in elsewhere


async def test_token_and_serve_are_handed_over() -> None:
    async with playcast("token", "--role", "host", "--room", "den") as run:
        out, _ = await run.process.communicate()
        assert run.process.returncode == 0
        assert out.count(b".") == 2
    async with playcast("serve", "--dev", "--port", "0") as run:
        assert b"Serving the web viewer on http://127.0.0.1:" in await run.out.readline()
        status, _ = await run.end()
        assert status == 0
    async with playcast("serve") as run:
        _, said = await run.process.communicate()
        assert run.process.returncode == 2
        assert b"--dev" in said


async def test_version() -> None:
    async with playcast("--version") as run:
        out, _ = await run.process.communicate()
    assert out.startswith(b"playcast ")
    assert run.process.returncode == 0
