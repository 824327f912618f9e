import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import Codec
from peer.quality import LIMITS, Limit, QualityChange, QualitySettings, QualityWatch
from peer.report import EncodeReport, HostReport, NetworkReport, ViewerReport

NETWORK = NetworkReport("steady", 8e6, 2.0, 0.0, 0.0)
VIEWER = ViewerReport("v", "connected", "H264", 20.0, 0.0, 0, 0, 0, network=NETWORK)
REPORT = HostReport(
    width=1280,
    height=720,
    encoder="x264",
    encodes={(Codec.H264, 0): EncodeReport(60.0, 8_000_000, 1, 1280, 720)},
    stages={},
    skipped=0,
    late=0,
    viewers=(VIEWER,),
    waiting=0,
    signalling="joined",
    trouble="",
)


def network(**changes):
    return replace(VIEWER, network=replace(NETWORK, **changes))


BAD = {
    "loss": network(loss=0.06),
    "queue": network(queue_ms=120.0),
    "rate": network(target_bps=400_000.0),
    "rtt": replace(VIEWER, rtt_ms=300.0),
    "silent": replace(VIEWER, state="silent"),
}


def seen(*viewers, watch=None):
    """What changes when a host has this viewer in report after report."""
    watch = watch or QualityWatch()
    watch.see(REPORT)
    return [watch.see(replace(REPORT, viewers=(viewer,))) for viewer in viewers]


@pytest.mark.parametrize("reason", BAD)
def test_three_bad_reports_in_a_row_are_said_once(reason):
    changes = seen(*[BAD[reason]] * 10)
    assert changes[:2] == [[], []]
    (change,) = changes[2]
    assert (change.peer, change.degraded, change.reasons) == ("v", True, (reason,))
    assert change.viewer == BAD[reason]
    assert change.fps == 60.0
    assert changes[3:] == [[]] * 7


def test_a_bad_moment_is_none():
    bad = BAD["loss"]
    assert seen(*[bad, bad, VIEWER] * 5) == [[]] * 15


def test_it_is_good_again_after_five_good_reports_in_a_row():
    bad, between = BAD["loss"], network(loss=0.03)
    changes = seen(*[bad] * 3, *[VIEWER] * 4, between, *[VIEWER] * 4, BAD["queue"], *[VIEWER] * 5)
    assert [len(c) for c in changes] == [0, 0, 1, *[0] * 14, 1]
    (change,) = changes[-1]
    assert not change.degraded
    assert change.reasons == ("loss", "queue"), "all that was wrong meanwhile"
    assert change.reports == 15


def test_between_the_limits_nothing_changes():
    between = network(loss=0.03, queue_ms=70.0)
    assert seen(*[between] * 10) == [[]] * 10
    assert seen(*[BAD["loss"]] * 3, *[between] * 20)[3:] == [[]] * 20


def test_frames_that_are_not_sent_are_noticed():
    dropping = [replace(VIEWER, frames_dropped=20 * n) for n in range(1, 5)]
    (change,) = seen(*dropping)[2]
    assert change.reasons == ("frames",)


def test_a_slow_host_is_everybodys():
    watch = QualityWatch()
    reports = [replace(REPORT, late=10 * n) for n in range(5)]
    changes = [change for report in reports for change in watch.see(report)]
    assert changes == [
        QualityChange(peer="", degraded=True, reasons=("late",), reports=0, viewer=None, fps=60.0)
    ]


def test_a_rate_that_is_fixed_or_still_growing_is_not_judged():
    for state in ("fixed", "starting"):
        assert seen(*[network(state=state, target_bps=1000.0)] * 5) == [[]] * 5
    unmeasured = replace(VIEWER, network=None, rtt_ms=None)
    assert seen(*[unmeasured] * 5) == [[]] * 5
    (change,) = seen(*[replace(unmeasured, loss=0.5)] * 3)[2]
    assert change.reasons == ("loss",)


def test_who_is_on_the_way_is_not_judged_and_who_is_gone_is_forgotten():
    connecting = replace(BAD["loss"], state="connecting", codec="")
    assert seen(*[connecting] * 5) == [[]] * 5
    watch = QualityWatch()
    assert seen(*[BAD["loss"]] * 3, watch=watch)[2]
    assert watch.see(replace(REPORT, viewers=())) == []
    # Another session under the same name begins without a judgement.
    assert seen(*[BAD["loss"]] * 3, watch=watch)[2][0].degraded


def test_viewers_are_judged_one_by_one():
    watch = QualityWatch()
    other = replace(VIEWER, peer="w")
    watch.see(replace(REPORT, viewers=(VIEWER, other)))
    report = replace(REPORT, viewers=(BAD["loss"], other))
    changes = [change.peer for _ in range(5) for change in watch.see(report)]
    assert changes == ["v"]


viewers = st.builds(
    lambda state, loss, queue, rate: replace(
        network(loss=loss, queue_ms=queue, target_bps=rate), state=state
    ),
    st.sampled_from(["connected", "silent"]),
    st.floats(0, 1),
    st.floats(0, 1000),
    st.floats(1e4, 1e8),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(viewers, max_size=40))
def test_changes_alternate_and_are_never_too_near(history):
    changes = [(n, c.degraded) for n, found in enumerate(seen(*history)) for c in found]
    assert [degraded for _, degraded in changes] == [n % 2 == 0 for n in range(len(changes))]
    for (before, _), (after, degraded) in itertools.pairwise(changes):
        assert after - before >= (3 if degraded else 5)


def test_limits_have_a_gap():
    for limit in LIMITS.values():
        assert limit.bad != limit.good
        assert limit.is_bad(limit.bad)
        assert limit.is_good(limit.good)
        middle = (limit.bad + limit.good) / 2
        assert not limit.is_bad(middle)
        assert not limit.is_good(middle)
    assert Limit(1.0, 2.0).is_bad(0.5)
    assert Limit(2.0, 1.0).is_bad(2.5)


@pytest.mark.parametrize("field", ["after_bad", "after_good"])
def test_settings_name_what_is_wrong(field):
    with pytest.raises(ValueError, match=f"^{field}:"):
        QualitySettings(**{field: 0})
