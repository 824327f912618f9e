"""The watch over one connection, by a clock that the test moves."""

import math
from types import SimpleNamespace

import pytest

from signalling.identity import Identity
from signalling.liveness import Liveness
from signalling.messages import TokenExpiring
from signalling.settings import SignallingSettings
from tests.signalling.wire import ISSUER

SETTINGS = SignallingSettings(
    verifier=ISSUER.verifier(),
    hello_timeout_s=10.0,
    ping_interval_s=20.0,
    ping_timeout_s=15.0,
    write_timeout_s=5.0,
    token_notice_s=30.0,
)


class Stage:
    """Implements :class:`signalling.liveness.Watched` and what the watch needs of the others."""

    def __init__(self):
        self.at = 1000.0
        self.is_member = False
        self.said = []
        self.rtts = []
        self.blocked = False
        self.unwritten_bytes = 0
        services = SimpleNamespace(
            now=lambda: self.at,
            unix_time=lambda: self.at + 1e9,
            settings=SETTINGS,
            metrics=SimpleNamespace(rtt=self.rtts.append),
        )
        self.liveness = Liveness(services, self, self)

    def enter(self, lifetime_s=1e6):
        self.is_member = True
        self.liveness.entered(self.identity(lifetime_s))

    def identity(self, lifetime_s):
        return Identity("me", "doom", frozenset({"viewer"}), self.at + 1e9 + lifetime_s)

    def later(self, seconds):
        """Let so much time pass; what was said and done since is returned."""
        self.said.clear()
        self.at += seconds
        self.liveness._wake()
        return list(self.said)

    def ping(self, payload):
        self.said.append(payload)

    def send(self, message):
        self.said.append(message)

    def close(self, error):
        self.said.append(error.code)
        self.liveness.end()

    def drop(self, reason, why):
        self.said.append(reason)
        self.liveness.end()


@pytest.fixture
async def stage():
    stage = Stage()
    yield stage
    stage.liveness.end()


async def test_a_hello_must_come_in_time(stage):
    assert stage.later(9.9) == []
    assert stage.later(0.1) == ["timeout"]


async def test_who_is_in_is_pinged_and_dropped_without_an_answer(stage):
    stage.later(9.0)
    stage.enter()
    assert stage.later(19.9) == []
    (ping,) = stage.later(0.1)
    stage.at += 0.25
    assert stage.liveness.ponged(ping)
    assert (stage.rtts, stage.liveness.rtt_s) == ([0.25], 0.25)
    assert stage.later(15.0) == []
    (again,) = stage.later(4.75)
    assert again != ping
    assert not stage.liveness.ponged(ping)
    assert stage.later(14.9) == []
    assert stage.later(0.1) == ["idle"]


async def test_a_pong_that_nobody_asked_for_is_told_apart(stage):
    assert math.isnan(stage.liveness.rtt_s)
    assert not stage.liveness.ponged(bytes(4))
    stage.liveness.ping(2.0)
    assert not stage.liveness.ponged(b"\0\0\0\2")
    assert stage.liveness.ponged(b"\0\0\0\1")
    assert not stage.liveness.ponged(b"\0\0\0\1")
    assert stage.later(10.0) == ["timeout"]  # an answered ping is no hello


async def test_a_probe_wants_its_answer_sooner(stage):
    stage.enter()
    stage.liveness.ping(2.0)
    assert stage.later(1.9) == []
    assert stage.later(0.1) == ["idle"]


async def test_who_reads_on_however_slowly_stays_and_who_stops_is_dropped(stage):
    stage.enter()
    stage.blocked, stage.unwritten_bytes = True, 900
    stage.liveness.blocked()
    for left in (600, 300):
        stage.unwritten_bytes = left
        stage.liveness.blocked()  # counts from when it began
        assert stage.later(5.0) == []
    stage.blocked = False
    assert stage.later(5.0) == []
    stage.blocked = True
    stage.liveness.blocked()
    assert stage.later(4.9)[1:] == []  # but for a ping
    assert stage.later(0.1) == ["slow"]


async def test_a_tokens_end_is_told_and_comes_unless_a_fresh_one_does(stage):
    stage.enter(lifetime_s=15.0)
    assert stage.later(7.4) == []
    (told,) = stage.later(0.1)
    assert told == TokenExpiring(pytest.approx(7.5))
    stage.liveness.renewed(stage.identity(10.0))
    assert stage.liveness.token_left_s() == pytest.approx(10.0)
    assert len(stage.later(7.5)) == 1
    assert stage.later(2.5) == ["token-expired"]
