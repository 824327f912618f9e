import io
import select

import av
import pytest

from native import (
    AccessUnit,
    Codec,
    InvalidArgument,
    Source,
    Stream,
    StreamEnded,
    StreamSettings,
    Tap,
    read_pattern,
)
from native import tap as tap_module


def read(tap: Tap) -> AccessUnit:
    while (unit := tap.read()) is None:
        assert select.select([tap], [], [], 10)[0], "no frame within 10 s"
    return unit


def read_all(tap: Tap) -> None:
    while True:
        read(tap)


@pytest.mark.parametrize(("codec", "decoder"), [(Codec.H264, "h264"), (Codec.VP8, "vp8")])
def test_what_comes_out_decodes_to_the_pattern(codec: Codec, decoder: str):
    context = av.CodecContext.create(decoder, "r")
    codes = []
    with Stream(Source.pattern(640, 360), StreamSettings(bitrate=4_000_000)) as stream:
        with Tap(stream, codec) as tap:
            units = [read(tap) for _ in range(6)]
        for unit in units:
            for frame in context.decode(av.Packet(unit.data)):
                codes.append(read_pattern(frame.to_ndarray(format="gray")))
        codes += [read_pattern(f.to_ndarray(format="gray")) for f in context.decode(None)]
    assert units[0].idr
    assert None not in codes
    numbers = [code.frame for code in codes if code is not None]
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_rtp_time_follows_the_capture():
    with Stream(Source.pattern(320, 180)) as stream, Tap(stream, Codec.H264) as tap:
        first, second = read(tap), read(tap)
    elapsed = second.capture_ns - first.capture_ns
    ticks = (second.rtp_time - first.rtp_time) % 2**32
    assert abs(ticks - elapsed * 90_000 / 1e9) <= 1
    assert second.id > first.id


def test_a_slow_reader_goes_on_at_an_idr():
    settings = StreamSettings(fps=60, idr_interval_ms=1)
    with (
        Stream(Source.pattern(320, 180), settings) as stream,
        Tap(stream, Codec.H264, depth=2) as slow,
        Tap(stream, Codec.H264, depth=4) as quick,
    ):
        for _ in range(20):
            read(quick)
        unit = read(slow)
    assert unit.idr
    assert unit.id > 2


def test_a_tap_ends_with_its_stream():
    stream = Stream(Source.pattern(320, 180))
    tap = Tap(stream, Codec.H264)
    read(tap)
    stream.close()
    assert select.select([tap], [], [], 5)[0]
    with pytest.raises(StreamEnded):
        read_all(tap)
    tap.close()


def test_a_large_frame_grows_the_buffer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tap_module, "_FIRST_CAPACITY", 16)
    with Stream(Source.pattern(320, 180)) as stream, Tap(stream, Codec.H264) as tap:
        unit = read(tap)
    assert len(unit.data) > 16
    assert io.BytesIO(unit.data).read(4) in (b"\0\0\0\1", b"\0\0\1\x67")


@pytest.mark.parametrize("depth", [0, -1, 10_000])
def test_a_depth_out_of_range_is_refused(depth: int):
    with Stream(Source.pattern(320, 180)) as stream, pytest.raises(InvalidArgument):
        Tap(stream, Codec.H264, depth)
