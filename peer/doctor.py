"""``playcast doctor``: can this machine host? Every answer that is no says how to make it a yes.

Each check is a function that returns a sentence when all is well, and raises :class:`Problem`
otherwise; :data:`CHECKS` lists them in the order in which a stream needs them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from native import (
    Codec,
    Hub,
    NativeError,
    Source,
    Stream,
    StreamSettings,
    Tap,
    library_versions,
)
from peer.child import ChildError
from peer.display import VirtualDisplay, freedoom
from peer.server_child import ServerChild
from peer.signalling_client import SignallingClient, SignallingClientSettings
from signalling.messages import Welcome

TIMEOUT_S = 15.0
"""No check may take longer."""

UDP_SEGMENT = 103  # linux/udp.h; Python has no name for it
BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "firefox-esr", "firefox")


class Problem(Exception):
    """A check that failed: what is wrong, and how to fix it."""

    def __init__(self, what: str, fix: str, *, fatal: bool = True) -> None:
        super().__init__(what)
        self.fix = fix
        self.fatal = fatal
        """Whether hosting is impossible; else it is worse than it could be."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class DoctorSettings:
    """What is to be checked."""

    display: str | None = None
    """``None`` is ``$DISPLAY``."""
    udp_port: int = 0
    bind: tuple[str, ...] = ("127.0.0.1",)


Check = Callable[[DoctorSettings], Awaitable[str]]


async def examine(settings: DoctorSettings) -> AsyncIterator[Finding]:
    """Make every check, one after the other."""
    for name, check in CHECKS.items():
        try:
            async with asyncio.timeout(TIMEOUT_S):
                yield Finding(name, "ok", await check(settings))
        except Problem as problem:
            status: Literal["warning", "failed"] = "failed" if problem.fatal else "warning"
            yield Finding(name, status, str(problem), problem.fix)
        except TimeoutError:
            fix = "look for what keeps this machine so busy (top)"
            yield Finding(name, "failed", f"no answer within {TIMEOUT_S:.0f} s", fix)


def to_json(findings: list[Finding]) -> dict[str, Any]:
    """The examination as one JSON object."""
    return {
        "ok": all(finding.status != "failed" for finding in findings),
        "checks": [asdict(finding) for finding in findings],
    }


# The checks -------------------------------------------------------------------------------------


async def check_display(settings: DoctorSettings) -> str:
    async with _display(settings) as (name, words):
        return f"{name}, {words}"


async def check_capture(settings: DoctorSettings) -> str:
    async with _display(settings) as (name, _):
        try:
            with Source.x11(name) as source:
                started = time.perf_counter()
                picture = source.snapshot()
                milliseconds = 1e3 * (time.perf_counter() - started)
        except NativeError as error:
            if error.errno == errno.EOPNOTSUPP:
                fix = "start the X server with MIT-SHM and DAMAGE; a remote display has no MIT-SHM"
            elif error.errno == errno.ENOTCONN:
                fix = "check $DISPLAY and $XAUTHORITY, or unset $DISPLAY to use a virtual display"
            else:
                fix = "check that the display is one of this machine"
            raise Problem(str(error.strerror), fix) from error
    return f"MIT-SHM and DAMAGE, {picture.shape[1]} x {picture.shape[0]} in {milliseconds:.1f} ms"


async def check_encoder(settings: DoctorSettings) -> str:
    loop = asyncio.get_running_loop()
    try:
        stream = Stream(Source.pattern(1280, 720), StreamSettings(fps=60))
    except NativeError as error:
        raise Problem(str(error.strerror), "apt-get install --reinstall libx264-164") from error
    with stream, Tap(stream, Codec.H264) as tap:
        arrived = asyncio.Event()
        loop.add_reader(tap.fileno(), arrived.set)
        try:
            while (unit := tap.read()) is None:
                arrived.clear()
                await arrived.wait()
        finally:
            loop.remove_reader(tap.fileno())
        if not unit.idr:
            raise Problem("the first frame is no IDR", "report this: it is a bug of Playcast")
    return library_versions()


async def check_udp_port(settings: DoctorSettings) -> str:
    try:
        with Hub(settings.bind, settings.udp_port) as hub:
            return ", ".join(str(address) for address in hub.addresses)
    except NativeError as error:
        if error.errno == errno.EADDRINUSE:
            fix = "stop the program that has it (ss -ulpn), or choose another with --udp-port"
        elif error.errno == errno.EADDRNOTAVAIL:
            fix = "choose addresses of this machine with --bind (ip address)"
        else:
            fix = "choose another port with --udp-port, and another address with --bind"
        raise Problem(str(error.strerror), fix) from error


async def check_gso(settings: DoctorSettings) -> str:
    fix = "Linux 4.18 or later sends in batches; without, sending costs about five times the CPU"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        try:
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
            sender.sendto(bytes(2400), receiver.getsockname())
            sizes = [len(receiver.recv(65536)) for _ in range(2)]
        except OSError as error:
            words = f"UDP_SEGMENT does not work: {error.strerror}"
            raise Problem(words, fix, fatal=False) from error
    if sizes != [1200, 1200]:
        raise Problem(f"UDP_SEGMENT made packets of {sizes}", fix, fatal=False)
    return "UDP_SEGMENT works: packets leave in batches"


async def check_clock(settings: DoctorSettings) -> str:
    resolution = time.clock_getres(time.CLOCK_MONOTONIC)
    steps = []
    for _ in range(2000):
        first = time.monotonic_ns()
        while (second := time.monotonic_ns()) == first:
            pass
        steps.append(second - first)
    step = sorted(steps)[len(steps) // 2]
    words = (
        f"source {_clock_source()}, resolution {resolution * 1e9:.0f} ns, a reading every {step} ns"
    )
    if resolution > 1e-6 or step > 2000:
        fix = "use the TSC as clock source (boot with clocksource=tsc tsc=reliable)"
        raise Problem(words, fix, fatal=False)
    return words


async def check_cores(settings: DoctorSettings) -> str:
    count = len(os.sched_getaffinity(0))
    if count < 2:
        fix = "give it a second core: the game and the encoder share this one"
        raise Problem("one processor core", fix, fatal=False)
    return f"{count} processor cores"


async def check_web_viewer(settings: DoctorSettings) -> str:
    try:
        async with ServerChild(room="doctor", port=0) as server:
            address = await server.start()
            page = await asyncio.to_thread(_fetch, address.url)
            if b"<video" not in page:
                fix = "install Playcast again: the files of the web viewer are not in the package"
                raise Problem("the server does not serve the web viewer", fix)
            client = SignallingClientSettings(
                url=address.websocket_url, token=address.tokens["host"], room="doctor"
            )
            async with SignallingClient(client) as me:
                async for message in me:
                    if isinstance(message, Welcome):
                        break
    except (ChildError, OSError) as error:
        fix = "check what a firewall on this machine does to 127.0.0.1, and HTTP proxy settings"
        raise Problem(str(error), fix) from error
    return "the web viewer is served, and a room can be joined"


async def check_browser(settings: DoctorSettings) -> str:
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    fix = "apt-get install chromium, or open the link on another machine"
    raise Problem("there is no browser on this machine", fix, fatal=False)


CHECKS: dict[str, Check] = {
    "display": check_display,
    "capture": check_capture,
    "encoder": check_encoder,
    "UDP port": check_udp_port,
    "GSO": check_gso,
    "clock": check_clock,
    "cores": check_cores,
    "web viewer": check_web_viewer,
    "browser": check_browser,
}


@asynccontextmanager
async def _display(settings: DoctorSettings) -> AsyncIterator[tuple[str, str]]:
    """The display that ``playcast host`` would stream: its name, and what it is."""
    name = settings.display or os.environ.get("DISPLAY")
    if name:
        yield name, f"given by {'--display' if settings.display else '$DISPLAY'}"
        return
    try:
        freedoom(1280, 720)
        async with VirtualDisplay() as display:
            yield display.name, "virtual ($DISPLAY is not set), with a game for it"
    except ChildError as error:
        what, _, fix = str(error).partition(": ")
        raise Problem(f"$DISPLAY is not set, and {what}", fix or "set $DISPLAY") from error


def _clock_source() -> str:
    path = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return path.read_text().strip() if path.exists() else "unknown"


def _fetch(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as response:
        body: bytes = response.read()
    return body
