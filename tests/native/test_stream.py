import select

import pytest

from native import Codec, InvalidArgument, Source, Stage, Stream, StreamSettings, Tap


def read(tap: Tap):
    while (unit := tap.read()) is None:
        assert select.select([tap], [], [], 10)[0], "no frame within 10 s"
    return unit


def test_nothing_is_encoded_while_nobody_receives():
    with Stream(Source.pattern(320, 180)) as stream:
        stats = stream.stats()
        assert (stats.width, stats.height, stats.encoder) == (320, 180, "x264")
        assert stats.codecs[Codec.H264].viewers == 0
        with Tap(stream, Codec.H264) as tap:
            assert read(tap).idr
            assert stream.stats().codecs[Codec.H264].viewers == 1
        assert stream.stats().codecs[Codec.H264].viewers == 0
        assert stream.stats().codecs[Codec.VP8].encoded == 0


def test_an_idr_comes_when_asked_for():
    settings = StreamSettings(fps=60, idr_interval_ms=1)
    with Stream(Source.pattern(320, 180), settings) as stream, Tap(stream, Codec.H264) as tap:
        assert read(tap).idr
        assert not read(tap).idr
        stream.request_idr()
        assert any(read(tap).idr for _ in range(10))
        assert stream.stats().codecs[Codec.H264].idrs >= 2


def test_the_rate_changes_in_place():
    settings = StreamSettings(fps=60, bitrate=4_000_000)
    with Stream(Source.pattern(640, 360), settings) as stream, Tap(stream, Codec.H264) as tap:
        for _ in range(20):
            read(tap)
        before = sum(len(read(tap).data) for _ in range(20))
        stream.set_rate(500_000, 60)
        for _ in range(20):
            assert not read(tap).idr
        after = sum(len(read(tap).data) for _ in range(20))
        assert after < before / 3


@pytest.mark.parametrize(
    "settings",
    [
        StreamSettings(fps=0),
        StreamSettings(fps=241),
        StreamSettings(fps=30, keepalive_fps=31),
        StreamSettings(bitrate=0),
        StreamSettings(threads=-1),
        StreamSettings(budget_frames=-1.0),
    ],
)
def test_settings_out_of_range_are_refused_and_the_source_stays(settings: StreamSettings):
    with Source.pattern(320, 180) as source:
        with pytest.raises(InvalidArgument):
            Stream(source, settings)
        assert source.size == (320, 180)


def test_every_frame_carries_its_times():
    with Stream(Source.pattern(320, 180)) as stream, Tap(stream, Codec.H264) as tap:
        units = [read(tap) for _ in range(5)]
        frames = {frame.id: frame for frame in stream.frames(units[0].id)}
        for unit in units[:-1]:
            frame = frames[unit.id]
            reached = [frame.at[stage] for stage in Stage if stage <= Stage.ENCODED]
            assert 0 not in reached
            assert reached == sorted(reached)
            assert frame.bytes == len(unit.data) - 4 * unit.data.count(b"\0\0\0\1")
            assert frame.between(Stage.CAPTURED, Stage.LAST_SENT) is None
        assert list(frames) == sorted(frames)
        assert len(stream.frames(units[0].id, limit=2)) == 2

        encode = stream.latency(Stage.CONVERTED, Stage.ENCODED)
        assert encode.count >= 4
        assert 0 < encode.p50 <= encode.p95 <= encode.p99 <= encode.max < 10**9
        nothing = stream.latency(Stage.CONVERTED, Stage.ENCODED, since_ns=2**63)
        assert (nothing.count, nothing.max) == (0, 0)


def test_streams_have_numbers_of_their_own():
    with Stream(Source.pattern(320, 180)) as one, Stream(Source.pattern(320, 180)) as two:
        assert one.id != two.id
