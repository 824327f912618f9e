"""The emulated link in real time: what the relay and the namespaces do to real packets."""

import contextlib
import itertools
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.common.tools import ToolError
from bench.link.namespaces import ADDRESSES, Namespaces, may_make_namespaces
from bench.link.presets import PRESETS, LinkSettings, preset
from bench.link.running import Relay

needs_root = pytest.mark.skipif(not may_make_namespaces(), reason="needs root and /dev/net/tun")

BYTES = 1000
WIRE_BITS = (BYTES + 28) * 8
SLACK = 0.9
"""Of what is due, at least so much comes in time, also on a busy machine."""


@pytest.fixture
def far_end():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        end.bind(("127.0.0.1", 0))
        end.settimeout(5)
        yield end


@pytest.fixture
def near_end():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        yield end


def relay_to(end, forward="", back="", **options):
    address = f"127.0.0.1:{end.getsockname()[1]}"
    return Relay(LinkSettings(forward, back), address, **options)


def burst(near_end, port, count):
    for number in range(count):
        near_end.sendto(number.to_bytes(BYTES, "little"), ("127.0.0.1", port))


def received(far_end, count):
    """Numbers and times of ``count`` packets."""
    arrived = []
    for _ in range(count):
        data = far_end.recv(2048)
        arrived.append((int.from_bytes(data, "little"), time.monotonic()))
    return arrived


def rest(far_end):
    """What comes until nothing has come for a moment."""
    far_end.settimeout(0.1)
    arrived = []
    with contextlib.suppress(TimeoutError):
        while True:
            arrived += received(far_end, 1)
    return arrived


def test_the_relay_keeps_its_rate_and_the_order(near_end, far_end):
    with relay_to(far_end, "rate=20M") as relay:
        start = time.monotonic()
        burst(near_end, relay.port, 2500)
        arrived = received(far_end, 2500)
    assert [number for number, _ in arrived] == list(range(2500))
    rate = 2500 * WIRE_BITS / (arrived[-1][1] - start)
    assert 20e6 * SLACK < rate <= 20e6  # later than due it may be, earlier never


def test_each_direction_has_its_own_delay_and_answers_find_their_client(near_end, far_end):
    with (
        relay_to(far_end, "delay=30ms", "delay=50ms") as relay,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.settimeout(5)
        ways, round_trips = [], []
        for _ in range(10):
            for client in (near_end, other):
                sent = time.monotonic()
                client.sendto(b"ping", ("127.0.0.1", relay.port))
                _, client_address = far_end.recvfrom(100)
                ways.append(time.monotonic() - sent)
                far_end.sendto(b"pong", client_address)
                assert client.recv(100) == b"pong"
                round_trips.append(time.monotonic() - sent)
    assert 0.030 <= min(ways) < 0.034
    assert 0.080 <= min(round_trips) < 0.086
    assert statistics.median(round_trips) < 0.12


def test_a_full_queue_drops_and_the_log_tells(near_end, far_end):
    with relay_to(far_end, "rate=8M queue=50ms", logged=True) as relay:
        burst(near_end, relay.port, 200)
        arrived = received(far_end, 48)
        # A packet a millisecond, 50 of them wait; what the sending took lets a few more in.
        arrived += rest(far_end)
        result = relay.stop()
        log = relay.log()
    assert 48 <= len(arrived) <= 90
    assert result["forward"]["dropped"] == 200 - len(arrived)
    assert sum(interval.dropped for interval in log.forward) == 200 - len(arrived)
    waits = [wait for interval in log.forward for wait in interval.waits_ms]
    assert len(waits) == len(arrived)
    assert max(waits) == pytest.approx(50, abs=2)


def test_loss_has_its_share(near_end, far_end):
    with relay_to(far_end, "loss=20%") as relay:
        for _ in range(20):
            burst(near_end, relay.port, 100)
            rest(far_end)
        lost = relay.stop()["forward"]["lost"]
    assert 320 <= lost <= 480


def test_changes_apply_at_once_and_mistakes_are_told(near_end, far_end):
    with relay_to(far_end) as relay:
        relay.change("forward down=yes")
        near_end.sendto(b"lost", ("127.0.0.1", relay.port))
        relay.change("both down=no")
        near_end.sendto(b"there", ("127.0.0.1", relay.port))
        assert far_end.recv(100) == b"there"
        with pytest.raises(ValueError, match="rate takes"):
            relay.change("forward rate=fast")
        with pytest.raises(ValueError, match="SETTINGS"):
            relay.change("sideways rate=1M")


def test_a_schedule_counts_from_zero(near_end, far_end):
    with relay_to(far_end, schedule=["0 forward rate=80M", "0.2 forward rate=8M"]) as relay:
        relay.zero()
        start = time.monotonic()
        burst(near_end, relay.port, 50)
        received(far_end, 50)
        assert time.monotonic() - start < 0.15
        relay.zero()
        time.sleep(0.25)  # until after the step: the passing of time is what is tested
        sent = time.monotonic()
        burst(near_end, relay.port, 50)
        arrived = received(far_end, 50)
    assert arrived[-1][1] - sent >= 50 * WIRE_BITS / 8e6
    assert arrived[-1][1] - sent < 50 * WIRE_BITS / 8e6 * 1.5


@pytest.mark.parametrize("wrong", ["rate=0", "delay=5", "loss=101%", "burst=2%", "queue=9", "x=1"])
def test_settings_that_make_no_sense_end_the_program_with_a_sentence(far_end, wrong):
    with pytest.raises(ToolError), relay_to(far_end, wrong):
        pass


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings(far_end, name):
    with Relay(preset(name), f"127.0.0.1:{far_end.getsockname()[1]}") as relay:
        assert relay.port > 0


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(ValueError, match=r"fibre.*lte"):
        preset("dial-up")


RECEIVER = """
import socket, sys, time
with socket.create_server(("0.0.0.0", 0)) as server:
    print(server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    size, start = 0, None
    while data := connection.recv(1 << 20):
        start = start or time.monotonic()
        size += len(data)
    print(size * 8 / (time.monotonic() - start))
"""
SENDER = """
import socket, sys
with socket.socket() as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[3].encode())
    connection.connect((sys.argv[1], int(sys.argv[2])))
    connection.sendall(bytes(int(sys.argv[4])))
"""


def transfer(link, algorithm, size):
    """Bit/s that a TCP of the kernel gets from a to b."""
    server = subprocess.Popen(
        link.command("b", sys.executable, "-c", RECEIVER), stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        client = (sys.executable, "-c", SENDER, ADDRESSES["b"], port, algorithm, str(size))
        subprocess.run(link.command("a", *client), check=True, timeout=30)
        return float(server.stdout.read())


@needs_root
def test_the_kernels_tcp_gets_the_rate_and_fills_the_queue():
    settings = LinkSettings("rate=20M delay=10ms queue=100ms", "delay=10ms")
    with Namespaces(settings, logged=True) as link:
        rate = transfer(link, "cubic", 5_000_000)
        log = link.log()
    payload = 20e6 * 1448 / 1500
    assert payload * SLACK < rate < payload * 1.1  # the receiver may have begun late to count
    assert max(interval.queue_ms for interval in log.forward) == pytest.approx(100, abs=12)
    busy = [interval for interval in log.forward if interval.tcp_bps > 0]
    spans = [b.t - a.t for a, b in itertools.pairwise(busy)]
    sent = sum(i.tcp_bps * span for i, span in zip(busy[1:], spans, strict=True))
    assert sent <= 20e6 * (sum(spans) + 0.1)


@needs_root
def test_nothing_is_left_when_the_context_ends():
    with Namespaces(LinkSettings("delay=1ms")) as link:
        inside = subprocess.run(
            link.command("b", "cat", "/proc/net/dev"), capture_output=True, text=True, check=True
        )
        assert "link0" in inside.stdout
        space = link.command("b")[1].removeprefix("--net=")
        assert Path(space).exists()
        own = Path("/proc/net/dev").read_text()
        assert "link0" not in own
    assert not Path(space).exists()
    with pytest.raises(ToolError, match="not running"):
        link.command("a", "true")
