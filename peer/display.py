"""A display of our own with a game on it, for machines that have neither.

:class:`VirtualDisplay` runs ``Xvfb`` on a display number that Xvfb itself picks, and
:func:`freedoom` names the program that plays Freedoom's demo loop on it. Every process started here
is told by the kernel to end when the process that started it does (see
:mod:`peer.child`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from peer.child import Child, ChildError, find_program, read_line

log = logging.getLogger(__name__)

START_TIMEOUT = 10.0
"""Seconds that Xvfb may take until it accepts clients. It needs about 0.1."""

IWAD_DIRECTORIES = (
    "/usr/share/games/doom",
    "/usr/local/share/games/doom",
    "/usr/share/doom",
)
IWADS = ("freedoom1.wad", "freedoom2.wad")


class DisplayError(ChildError):
    """The virtual display cannot run."""


@dataclass(frozen=True)
class Program:
    """A program to run on a display. ``files`` are written to its home (a temporary directory)."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def freedoom(width: int, height: int) -> Program:
    """Freedoom's demo loop in Chocolate Doom, filling ``width`` x ``height`` pixels, without sound.

    Raises :class:`ChildError` when the game or its data is not installed.
    """
    game = find_program("chocolate-doom", "chocolate-doom")
    iwad = find_iwad()
    # Chocolate Doom's own file format: a name, white space, a value.
    video = {
        "fullscreen": 0,  # full screen wants a window manager
        "window_border": 0,
        "window_width": width,
        "window_height": height,
        "aspect_ratio_correct": 0,  # else 4:3 with black bars
        "force_software_renderer": 1,
        "grabmouse": 0,
        "vsync": 0,
        "startup_delay": 0,
        "graphical_startup": 0,
    }
    play = {"show_messages": 0, "show_endoom": 0, "screenblocks": 10}
    return Program(
        command=(
            *(game, "-iwad", str(iwad), "-nosound", "-nogui"),
            *("-config", "game.cfg", "-extraconfig", "video.cfg"),
        ),
        environment={"SDL_AUDIODRIVER": "dummy", "SDL_VIDEODRIVER": "x11"},
        files={
            "video.cfg": "".join(f"{name} {value}\n" for name, value in video.items()),
            "game.cfg": "".join(f"{name} {value}\n" for name, value in play.items()),
        },
    )


def find_iwad() -> Path:
    """Freedoom's data file. Raises :class:`DisplayError` when there is none."""
    for directory in IWAD_DIRECTORIES:
        for name in IWADS:
            path = Path(directory, name)
            if path.is_file():
                return path
    raise DisplayError("Freedoom's data is not installed: apt-get install freedoom")


class VirtualDisplay:
    """An X display without a screen, and optionally a program on it.

    Use as an asynchronous context manager, or call :meth:`start` and, in every case, :meth:`stop`.
    """

    def __init__(self, width: int = 1280, height: int = 720, program: Program | None = None):
        if width < 64 or height < 64 or width > 8192 or height > 8192:
            raise ValueError(f"width and height must be 64..8192 pixels, not {width} x {height}")
        self.width = width
        self.height = height
        self.name = ""
        """The display's name once it runs, such as ``:7``."""
        self._program = program
        self._server: Child | None = None
        self._game: Child | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> VirtualDisplay:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the display, then the program. Returns when the display accepts clients.

        Raises :class:`ChildError`; :meth:`stop` must follow then too.
        """
        xvfb = find_program("Xvfb", "xvfb")
        self._home = tempfile.TemporaryDirectory(prefix="playcast-", ignore_cleanup_errors=True)
        home = Path(self._home.name)
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb", 0) as ready:
            command = (
                *(xvfb, "-displayfd", str(write_end), "-nolisten", "tcp", "-noreset", "-nocursor"),
                *("-screen", "0", f"{self.width}x{self.height}x24"),
            )
            try:
                self._server = await Child.start("Xvfb", command, pass_fds=(write_end,))
            finally:
                os.close(write_end)
            self.name = ":" + await self._read_number(ready)
        log.debug("virtual display %s, %d x %d", self.name, self.width, self.height)
        if self._program is not None:
            for name, text in self._program.files.items():
                home.joinpath(name).write_text(text)
            environment = {
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(home),
                "DISPLAY": self.name,
                **self._program.environment,
            }
            title = Path(self._program.command[0]).name
            self._game = await Child.start(
                title, self._program.command, directory=home, environment=environment
            )

    async def wait(self) -> str:
        """Wait until the display or its program ends by itself. Returns a sentence that says so."""
        children = [child for child in (self._server, self._game) if child is not None]
        ends = [asyncio.create_task(child.wait()) for child in children]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        ended = next(child for child in children if child.returncode is not None)
        return ended.obituary()

    async def stop(self) -> None:
        """End the program and the display, and remove what they wrote. May be called again."""
        game, self._game = self._game, None
        server, self._server = self._server, None
        for child in (game, server):  # the client first, so that it does not complain
            if child is not None:
                await child.stop()
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    async def _read_number(self, ready: IO[bytes]) -> str:
        """Xvfb writes its display number and a line feed when it accepts clients."""
        assert self._server is not None
        try:
            line = await read_line(ready, START_TIMEOUT)
        except TimeoutError:
            raise DisplayError(f"Xvfb did not start within {START_TIMEOUT:.0f} s") from None
        number = line.decode("ascii", "replace").strip()
        if not number.isdigit():
            await self._server.wait()  # it closed the pipe because it ends
            raise DisplayError(self._server.obituary())
        return number
