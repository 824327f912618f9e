"""``playcast view`` on what ``playcast host`` streams: two real processes, and what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoFrame

from native import PatternCode, Source, read_pattern
from peer.display import VirtualDisplay

from .host_process import HostError, HostProcess
from .playcast_process import PlaycastProcess
from .view_process import ViewProcess

pytestmark = pytest.mark.e2e

PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")


@pytest.fixture
async def host() -> AsyncIterator[HostProcess]:
    async with HostProcess(*PATTERN) as host:
        yield host


def code_of(frame: VideoFrame) -> PatternCode | None:
    """The code in the pixels of a decoded frame of the pattern."""
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return read_pattern(luma[:, : plane.width])


def decoded(path: Path) -> Iterator[VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_every_picture_is_decoded_and_recorded(
    host: HostProcess, tmp_path: Path, codec: str
) -> None:
    recording = tmp_path / "game.mkv"
    options = ("--record", str(recording), "--codec", codec)
    async with ViewProcess(host.link, *options) as view:
        report = await view.report(lambda r: r["frames"] >= 90)
        assert await view.interrupt() == 0
        last = view.reports[-1]
    assert (report["state"], report["codec"]) == ("connected", codec.upper())
    assert (report["width"], report["height"]) == (640, 360)
    assert report["pattern"]["missing"] == 0, report
    assert (report["lost"], report["frames_dropped"], report["freezes"]) == (0, 0, 0), report
    assert report["measured"]
    assert 0 < report["delay"]["p50_ms"] < 250
    assert report["bitrate_bps"] > 500_000

    frames = list(decoded(recording))
    assert len(frames) >= last["recording"]["frames"] >= 90
    codes = [code_of(frame) for frame in frames]
    numbers = [code.frame for code in codes if code is not None]
    assert numbers == list(range(numbers[0], numbers[0] + len(frames)))
    # The times are those of the capture, to Matroska's millisecond.
    times = [frame.pts * frame.time_base for frame in frames if frame.pts is not None]
    assert times[0] == 0
    captured = [code.time_us / 1e6 for code in codes if code is not None]
    for (t0, t1), (c0, c1) in zip(
        itertools.pairwise(times), itertools.pairwise(captured), strict=True
    ):
        assert t1 > t0
        assert float(t1 - t0) == pytest.approx(c1 - c0, abs=0.005)


async def test_a_snapshot_is_the_picture_and_the_end(host: HostProcess, tmp_path: Path) -> None:
    snapshot = tmp_path / "now.png"
    async with ViewProcess(host.link, "--snapshot", str(snapshot)) as view:
        assert await view.end() == 0
        assert any("now.png, 640 x 360" in line for line in view.said)
    (frame,) = decoded(snapshot)
    assert (frame.width, frame.height, frame.format.name) == (640, 360, "rgb24")
    code = code_of(frame.reformat(format="gray"))
    assert code is not None
    # The pattern's moving middle, in its own colours: nothing near grey, and not upside down.
    with Source.pattern(640, 360) as source:
        blue, green, red = np.moveaxis(source.snapshot()[..., :3], -1, 0).astype(int)
    ours = frame.to_ndarray().astype(int)
    spread = np.abs(ours[..., 0] - ours[..., 2]).mean()
    assert spread == pytest.approx(np.abs(red - blue).mean(), rel=0.35)
    assert ours[..., 1].mean() == pytest.approx(green.mean(), rel=0.2)


async def test_a_duration_ends_it(host: HostProcess) -> None:
    async with ViewProcess(host.link, "--duration", "2") as view:
        assert await view.end() == 0
        assert view.reports[-1]["frames"] > 10


async def test_it_ends_when_the_host_does() -> None:
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(HostProcess(*PATTERN))
        async with ViewProcess(host.link) as view:
            await view.report(lambda r: r["frames"] > 0)
            await stack.aclose()
            assert await view.end(10) == 0
            assert view.said[-1] == "The host has ended the stream."


async def test_repairs_can_be_left_out(host: HostProcess) -> None:
    async with ViewProcess(host.link, "--no-rtx", "--no-fec", "--jitter", "40") as view:
        report = await view.report(lambda r: r["frames"] >= 60)
        assert await view.interrupt() == 0
    assert (report["recovered_rtx"], report["recovered_fec"], report["repair_bps"]) == (0, 0, 0)
    # Frames that wait to be evened out are later than they need be.
    assert report["delay"]["p50_ms"] > 40


async def test_the_window_shows_what_the_host_streams(host: HostProcess) -> None:
    """The picture on an X display, read back from its pixels: it is the stream's, and it moves."""
    async with VirtualDisplay(640, 360) as display:
        environment = {"DISPLAY": display.name, "SDL_VIDEODRIVER": "x11"}
        async with ViewProcess(host.link, "--window", environment=environment) as view:
            await view.report(lambda r: r["frames"] > 0)
            with Source.x11(display.name) as screen:
                numbers = set()
                async with asyncio.timeout(20):
                    while len(numbers) < 10:
                        pixels = screen.snapshot()
                        code = read_pattern(np.ascontiguousarray(pixels[..., 1]))
                        if code is not None:
                            numbers.add(code.frame)
                        await asyncio.sleep(0.01)
            assert await view.interrupt() == 0
            assert view.reports[-1]["pattern"]["first"] <= min(numbers)


async def test_a_window_without_a_display_says_so(host: HostProcess) -> None:
    nowhere = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
    async with ViewProcess(host.link, "--window", environment=nowhere) as view:
        assert await view.end() == 1
        assert "--window finds no display" in view.said[-1]


# ---- What goes wrong ---------------------------------------------------------------------------


async def test_a_link_that_leads_nowhere() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        link = f"http://127.0.0.1:{silent.getsockname()[1]}/#room=play&token=a.b.c"
        async with ViewProcess(link, "--wait", "1") as view:
            assert await view.end() == 1
        assert "Connection refused" in view.said[-1]
        assert "Does playcast host still run?" in view.said[-1]


async def test_a_token_that_is_refused(host: HostProcess) -> None:
    async with ViewProcess(f"{host.link[:-6]}AAAAAA") as view:
        assert await view.end() == 1
        assert "refuses the link" in view.said[-1]
        assert "playcast host prints" in view.said[-1]


async def test_a_recording_is_not_overwritten(host: HostProcess, tmp_path: Path) -> None:
    recording = tmp_path / "game.mkv"
    recording.write_text("precious")
    async with ViewProcess(host.link, "--record", str(recording)) as view:
        assert await view.end() == 1
        assert "is there already" in view.said[-1]
    assert recording.read_text() == "precious"


async def test_a_host_that_vanishes_is_waited_for_and_then_given_up() -> None:
    host = PlaycastProcess(*PATTERN)
    await host.__aenter__()
    try:
        async with ViewProcess(host.link, "--wait", "2") as view:
            await view.report(lambda r: r["frames"] > 0)
            os.kill(host.pid, signal.SIGKILL)
            assert await view.end(20) == 1
            assert view.said[-1].startswith("playcast view: the picture is gone: ")
    finally:
        with pytest.raises(HostError, match="ended with -9"):
            await host.__aexit__(None, None, None)
