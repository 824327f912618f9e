"""Viewers on links that differ: each gets what its own link takes."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from itertools import pairwise

from bench.link.presets import LinkSettings
from native import Codec, Hub, Source, Stream, StreamSettings
from tests.e2e.native_viewer import NativeViewer, native_viewer

QUICK = LinkSettings("rate=50M delay=5ms queue=200ms", "rate=50M delay=5ms queue=200ms")
SLOW = LinkSettings("rate=400k delay=20ms queue=300ms", "rate=50M delay=20ms queue=300ms")
PATIENCE_S = 40


def wait_for(viewer: NativeViewer, what: Callable[[int], bool]) -> None:
    """Look again with each picture that the viewer decodes; ``what`` gets its width."""
    end = time.monotonic() + PATIENCE_S
    width = 0
    while not what(width):
        assert time.monotonic() < end, "it did not happen"
        select.select([viewer.reception.fileno()], [], [], 0.5)
        picture = viewer.reception.read_picture()
        if picture is not None:
            width = picture.width


def test_a_slow_viewer_steps_down_alone_and_comes_back():
    """The quick one's picture keeps its size, its rate and its pace all the while."""
    settings = StreamSettings(fps=60, bitrate=4_000_000)
    with (
        Hub(["127.0.0.1"]) as host,
        Stream(Source.pattern(640, 360), settings, host) as stream,
        native_viewer(host, stream, QUICK) as quick,
    ):
        wait_for(quick, lambda _: quick.peer.stats().media_bps >= 3.9e6)
        with native_viewer(host, stream, SLOW, seed=2) as slow:
            wait_for(slow, lambda _: stream.stats().rungs[1].viewers == 1)
            wait_for(slow, lambda width: 0 < width < 640)
            rung = stream.stats().rungs[1]
            assert rung.bitrate <= 400_000
            assert rung.width < 640

            quick.new_frames()
            slow.new_frames()
            begin = slow.reception.stats().units
            wait_for(slow, lambda _: slow.reception.stats().units >= begin + 100)
            stats = stream.stats()
            assert stats.rungs[0].bitrate >= 3_500_000
            assert (stats.rungs[0].width, stats.rungs[0].viewers) == (640, 1)
            frames = [f for f in quick.new_frames() if f.decoded_ns]
            gaps = [b.decoded_ns - a.decoded_ns for a, b in pairwise(frames)]
            assert max(gaps) < 300_000_000
            delays = sorted(
                f.decoded_ns - f.pattern.time_us * 1000
                for f in slow.new_frames()
                if f.pattern and f.decoded_ns
            )
            assert delays[len(delays) // 2] < 200_000_000  # not what a full queue would make it

            slow.relay.change("forward rate=50M")
            wait_for(slow, lambda _: stream.stats().rungs[0].viewers == 2)
            wait_for(slow, lambda width: width == 640)
            assert stream.stats().rungs[1].viewers == 0
        idrs = stream.stats().codecs[Codec.H264].idrs
        assert idrs < 40  # moves and steps, not a storm
