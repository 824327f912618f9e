"""The meter: exact figures from given counters."""

from dataclasses import replace

import pytest

from native import Codec, CodecStats, Percentiles, RungStats, Stage, StreamStats
from peer.report import STAGES, Meter, NetworkReport, ViewerReport

IDLE = {codec: CodecStats(0, 0, 0, 0) for codec in Codec}
NO_RUNG = RungStats(0, 8_000_000, 1280, 720, 60, 0, 0)
STATS = StreamStats(1280, 720, 0, 0, 0, 0, 0, "x264", IDLE, (NO_RUNG, NO_RUNG, NO_RUNG))
SECOND = 10**9


class Stream:
    """Counters that the test sets; every stage takes a millisecond a step."""

    def __init__(self) -> None:
        self.now = STATS
        self.asked: list[int] = []

    def stats(self) -> StreamStats:
        return self.now

    def latency(self, start: Stage, end: Stage, since_ns: int = 0) -> Percentiles:
        self.asked.append(since_ns)
        if end is Stage.LAST_SENT:
            return Percentiles(0, 0, 0, 0, 0)
        return Percentiles(9, (end - start) * 1_000_000, 0, (end - start) * 3_000_000, 0)


def viewer(state: str = "connected") -> ViewerReport:
    return ViewerReport("anna", state, "H264", 1.5, 0.25, 1000, 2, 0)


def rungs(*encoded: tuple[int, int]) -> tuple[RungStats, ...]:
    """Rungs of falling size that one viewer each receives, by units and bytes."""
    sizes = [(1280, 720), (960, 540), (640, 360)]
    made = [
        RungStats(1, 0, *size, 60, units, size_bytes)
        for size, (units, size_bytes) in zip(sizes, encoded, strict=False)
    ]
    return (*made, *(NO_RUNG for _ in range(3 - len(made))))


def test_rates_are_of_the_interval_and_not_of_the_whole() -> None:
    stream = Stream()
    stream.now = replace(STATS, rungs=rungs((100, 10**6)))
    meter = Meter(stream, 10 * SECOND)
    stream.now = replace(
        STATS,
        skipped=4,
        late=2,
        rungs=rungs((220, 3 * 10**6)),
    )
    report = meter.read(12 * SECOND)
    assert report.fps == 60.0
    assert report.bitrate_bps == 8_000_000
    assert report.codecs == (Codec.H264,)
    assert (report.skipped, report.late) == (4, 2)
    assert meter.read(13 * SECOND).fps == 0.0


def test_stages_are_those_of_the_last_seconds_and_missing_where_no_frame_passed() -> None:
    stream = Stream()
    report = Meter(stream, 0).read(20 * SECOND)
    assert set(stream.asked) == {15 * SECOND}
    assert list(report.stages) == [name for name in STAGES if name != "last_packet"]
    assert report.stages["capture"].p50_ms == 1.0
    assert report.stages["encode"].p99_ms == 6.0


def test_a_viewers_message_speaks_of_its_own_encode() -> None:
    stream = Stream()
    meter = Meter(stream, 0)
    stream.now = replace(
        STATS,
        codecs={**IDLE, Codec.VP8: CodecStats(1, 30, 500_000, 1)},
        rungs=rungs((60, 10**6), (30, 250_000)),
    )
    report = meter.read(SECOND, viewers=(viewer(), viewer("connecting"), viewer("silent")))
    message = report.to_viewer(replace(viewer(), codec="VP8"))
    assert set(message) == {
        *("fps", "bitrate_bps", "viewers", "width", "height", "codec", "encoder", "stages"),
        *("drops", "network"),
    }
    assert (message["codec"], message["fps"], message["bitrate_bps"]) == ("VP8", 30.0, 4_000_000)
    assert message["viewers"] == 1
    assert message["network"] is None
    assert message["stages"]["convert"] == {"p50_ms": 1.0, "p99_ms": 3.0}
    assert report.bitrate_bps == 14_000_000
    assert report.fps == 60.0
    assert report.codecs == (Codec.H264, Codec.VP8)

    slow = replace(viewer(), rung=1, network=NetworkReport("draining", 2.1e6, 31.44, 0.0512, 0.1))
    message = report.to_viewer(slow)
    assert (message["fps"], message["bitrate_bps"]) == (30.0, 2_000_000)
    assert (message["width"], message["height"]) == (960, 540)
    assert message["network"] == {
        "state": "draining",
        "target_bps": 2_100_000,
        "queue_ms": 31.4,
        "rtt_ms": 1.5,
        "loss": 0.0512,
        "repair": 0.1,
    }


def test_json_has_it_all() -> None:
    report = Meter(Stream(), 0).read(
        SECOND, viewers=(viewer(),), waiting=3, signalling="waiting", trouble="no route"
    )
    found = report.to_json()
    assert found["waiting"] == 3
    assert found["signalling"] == "waiting"
    assert found["trouble"] == "no route"
    assert found["peers"] == [
        {
            "peer": "anna",
            "state": "connected",
            "codec": "H264",
            "rtt_ms": 1.5,
            "loss": 0.25,
            "sent_bytes": 1000,
            "resent_packets": 2,
            "frames_dropped": 0,
            "idr_requests": 0,
            "rung": 0,
            "network": None,
        }
    ]


def test_time_that_stands_still_is_misuse() -> None:
    with pytest.raises(ValueError, match="now_ns"):
        Meter(Stream(), SECOND).read(SECOND)
