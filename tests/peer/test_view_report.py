"""What a viewer reports: from counters and frame times to figures. Time is an argument."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace

import pytest

from native import PatternCode, ReceivedFrame, ReceptionStats
from peer.view_report import PatternReport, Spread, ViewMeter, ViewReport

S = 1_000_000_000
MS = 1_000_000
NOTHING = ReceptionStats(**{f.name: 0 for f in fields(ReceptionStats)} | {"rtt_ms": None})


@dataclass
class Reception:
    """A reception whose counters and frames the test sets."""

    counters: ReceptionStats = NOTHING
    kept: tuple[ReceivedFrame, ...] = ()

    def stats(self) -> ReceptionStats:
        return self.counters

    def frames(self, since: int = 0, limit: int = 4096) -> list[ReceivedFrame]:
        return [frame for frame in self.kept if frame.id >= since][:limit]

    def add(self, *frames: ReceivedFrame, **counters: int) -> None:
        self.kept += frames
        grown = {name: getattr(self.counters, name) + more for name, more in counters.items()}
        self.counters = replace(self.counters, **grown)


def frame(
    number: int, at_ms: float, *, rtp_ms: float | None = None, **changes: object
) -> ReceivedFrame:
    """A frame that was complete at `at_ms`, 3 ms after its first packet, decoded 2 ms later."""
    at = round(at_ms * MS)
    rtp_time = round(90 * (at_ms if rtp_ms is None else rtp_ms))
    made = ReceivedFrame(
        id=number,
        rtp_time=rtp_time & 0xFFFFFFFF,
        bytes=1000,
        idr=number == 0,
        recovered=False,
        first_packet_ns=at - 3 * MS,
        complete_ns=at,
        decoded_ns=at + 2 * MS,
        pattern=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def even(first: int, count: int, start_ms: float) -> list[ReceivedFrame]:
    return [frame(first + i, start_ms + 20 * i) for i in range(count)]


def test_figures_are_those_of_the_interval() -> None:
    reception, meter = Reception(), ViewMeter(0)
    reception.add(packets=100, bytes=100_000, pictures=50, lost=0)
    meter.read(S, reception, state="connected")
    reception.add(packets=190, bytes=250_000, pictures=60, lost=10, rtx_packets=15, fec_packets=4)
    report = meter.read(3 * S, reception, state="connected", path="h:1", codec="H264")
    assert (report.fps, report.bitrate_bps) == (30.0, 1_000_000)
    assert report.repair_bps == 100_000
    assert report.loss == pytest.approx(0.05)
    assert (report.lost, report.frames) == (10, 110)
    assert (report.state, report.path, report.codec) == ("connected", "h:1", "H264")
    with pytest.raises(ValueError, match="now_ns must be later"):
        meter.read(3 * S, reception, state="connected")


def test_without_a_reception_there_is_the_state_alone() -> None:
    report = ViewMeter(0).read(S, None, state="joining", trouble="no server")
    assert report == ViewReport("joining", "no server")
    assert json.loads(json.dumps(report.to_json()))["trouble"] == "no server"


def test_network_is_over_the_quickest_and_what_is_old_is_forgotten() -> None:
    reception, meter = Reception(), ViewMeter(0)
    late = frame(50, 1060, rtp_ms=1000)
    reception.add(*even(0, 50, 0), late)
    report = meter.read(round(1.1 * S), reception, state="connected")
    assert report.network is not None
    assert report.network.p50_ms == pytest.approx(0, abs=0.02)
    assert report.network.p99_ms == pytest.approx(60, abs=0.1)
    assert report.assembly == Spread(3, 3, 3)
    assert report.decode == Spread(2, 2, 2)
    after = meter.read(8 * S, reception, state="connected")
    assert (after.network, after.assembly, after.decode) == (None, None, None)


def test_rtp_time_may_wrap() -> None:
    wrap_ms = (1 << 32) / 90
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*(frame(i, 20 * i, rtp_ms=wrap_ms - 100 + 20 * i) for i in range(20)))
    report = meter.read(S, reception, state="connected")
    assert report.network is not None
    assert report.network.p99_ms == pytest.approx(0, abs=0.03)


def test_the_pattern_measures_the_delay_and_tells_what_is_missing() -> None:
    reception, meter = Reception(), ViewMeter(0)
    numbers = [5, 6, 8, 9, 12]
    reception.add(
        *(
            frame(i, 100 + 20 * i, pattern=PatternCode(n, round(1000 * (100 + 20 * i - 10))))
            for i, n in enumerate(numbers)
        )
    )
    report = meter.read(S, reception, state="connected")
    assert report.measured
    assert report.delay == Spread(*[pytest.approx(12.0)] * 3)  # type: ignore[arg-type]
    assert report.pattern == PatternReport(5, 12, 3)
    reception.add(frame(5, 1100, pattern=PatternCode(0, 1_090_000)))
    again = meter.read(2 * S, reception, state="connected").pattern
    assert again == PatternReport(0, 0, 0), "a host that begins anew counts anew"


def test_a_pattern_of_another_machines_clock_measures_nothing() -> None:
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*(frame(i, 20 * i, pattern=PatternCode(i, 10**12)) for i in range(5)))
    report = meter.read(S, reception, state="connected")
    assert (report.delay, report.measured) == (None, False)


def test_else_the_delay_is_estimated_from_what_the_host_tells() -> None:
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*even(0, 40, 0))
    meter.host_told(json.dumps({"stages": {"last_packet": {"p50_ms": 7.0}}}))
    report = meter.read(S, reception, state="connected", rtt_ms=10.0)
    assert not report.measured
    assert report.delay is not None
    assert report.delay.p50_ms == pytest.approx(7 + 5 + 2, abs=0.1)
    assert report.rtt_ms == 10.0
    assert report.host["stages"]["last_packet"]["p50_ms"] == 7.0


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[1]", '{"stages": 3}', '{"stages": {"last_packet": []}}']
)
def test_a_host_that_talks_nonsense_does_no_harm(text: str) -> None:
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*even(0, 5, 0))
    meter.host_told(text)
    assert meter.read(S, reception, state="connected", rtt_ms=10.0).delay is None


def test_a_late_picture_is_a_freeze() -> None:
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*even(0, 40, 0), frame(40, 1000, rtp_ms=800), *even(41, 5, 1020))
    report = meter.read(2 * S, reception, state="connected")
    assert (report.freezes, report.frozen_ms) == (1, pytest.approx(220))


def test_a_hole_that_loss_made_is_a_freeze_too() -> None:
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*even(0, 40, 0), *even(40, 5, 1200), lost=3, units_dropped=2, units_useless=18)
    report = meter.read(2 * S, reception, state="connected")
    assert (report.freezes, report.frames_dropped) == (1, 20)


def test_a_still_screen_is_none() -> None:
    """The host sends a still screen once a second, and says so in its RTP times."""
    reception, meter = Reception(), ViewMeter(0)
    reception.add(*even(0, 40, 0), *(frame(40 + i, 1800 + 1000 * i) for i in range(5)))
    assert meter.read(8 * S, reception, state="connected").freezes == 0


def test_a_new_reception_begins_at_zero_and_what_was_counted_stays() -> None:
    first, meter = Reception(), ViewMeter(0)
    first.add(*even(0, 40, 0), frame(40, 1000, rtp_ms=800), pictures=41, packets=100, bytes=1000)
    meter.read(2 * S, first, state="connected")
    meter.restart()
    second = Reception()
    second.add(*even(0, 10, 5000), pictures=10, packets=50, bytes=12_500)
    report = meter.read(6 * S, second, state="connected")
    assert (report.fps, report.bitrate_bps) == (2.5, 25_000)
    assert report.freezes == 1
