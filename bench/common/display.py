"""X displays of a benchmark's own, with a painter on them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from bench.common.tools import Process, ToolError, start_tool

STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Scene:
    """What is painted, and how it is streamed."""

    name: str
    """Such as "1080p60"."""
    width: int
    height: int
    fps: int
    bitrate: int
    """Bits per second."""


SCENES = {
    scene.name: scene
    for scene in (
        Scene("720p30", 1280, 720, 30, 6_000_000),
        Scene("720p60", 1280, 720, 60, 8_000_000),
        Scene("1080p60", 1920, 1080, 60, 12_000_000),
    )
}


@contextlib.contextmanager
def virtual_display(width: int, height: int) -> Iterator[str]:
    """An Xvfb of this size; yields its name, such as ``:7``."""
    if shutil.which("Xvfb") is None:
        raise ToolError("Xvfb was not found: apt-get install xvfb")
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-nolisten", "tcp", "-noreset", "-ac"]
    server = subprocess.Popen(
        [*command, "-screen", "0", f"{width}x{height}x24"],
        pass_fds=(write_end,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as ready:
            number = ready.readline().strip()
        if not number.isdigit():
            raise ToolError("Xvfb did not start")
        yield f":{number}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def painted_display(scene: Scene, content: str) -> Iterator[tuple[str, Process]]:
    """A display on which ``content`` ("game" or "desktop") is painted; yields name and painter."""
    with (
        virtual_display(scene.width, scene.height) as name,
        start_tool("painter", display=name, fps=scene.fps, content=content) as painter,
    ):
        painter.expect("ready")
        yield name, painter
