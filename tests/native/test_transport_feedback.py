"""The core's transport-wide feedback, read by others: a parser that was written from the draft
alone (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1), and GStreamer's.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import random
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("rtcp_write_transport.c",)
SYSTEM_PYTHON = "/usr/bin/python3"
GSTREAMER = Path(__file__).with_name("gstreamer_feedback.py")
LOST = -(2**63)
TICK_NS = 250_000
TICKS_PER_REFERENCE = 256


class Feedback(ctypes.Structure):
    """struct pc_rtcp_transport_feedback"""

    _fields_ = (
        ("sender_ssrc", ctypes.c_uint32),
        ("media_ssrc", ctypes.c_uint32),
        ("base_sequence", ctypes.c_uint16),
        ("status_count", ctypes.c_uint16),
        ("reference_time", ctypes.c_int32),
        ("feedback_count", ctypes.c_uint8),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("library") / "feedback.so"
    sources = [str(ROOT / "native/src" / name) for name in SOURCES]
    subprocess.run(
        ["cc", "-std=c11", "-shared", "-fPIC", "-O1", *sources, "-o", str(path)], check=True
    )
    return ctypes.CDLL(str(path))


def write(library: ctypes.CDLL, base: int, arrivals: list[int], capacity: int) -> bytes:
    feedback = Feedback(
        sender_ssrc=0xAA,
        media_ssrc=0xBB,
        base_sequence=base & 0xFFFF,
        status_count=len(arrivals),
        feedback_count=200,
    )
    out = (ctypes.c_uint8 * capacity)()
    ticks = (ctypes.c_int64 * len(arrivals))(*arrivals)
    writer = library.pc_rtcp_write_transport_feedback
    writer.restype = ctypes.c_long
    size = writer(out, ctypes.c_size_t(capacity), ctypes.byref(feedback), ticks)
    assert size > 0
    return bytes(out)[:size]


def symbols_of(chunk: int) -> list[int]:
    """3.1.3: a run length chunk; 3.1.4: a status vector chunk."""
    if chunk >> 15 == 0:
        return [chunk >> 13 & 3] * (chunk & 0x1FFF)
    if chunk >> 14 & 1 == 0:
        return [chunk >> (13 - i) & 1 for i in range(14)]
    return [chunk >> (12 - 2 * i) & 3 for i in range(7)]


def parse(packet: bytes) -> tuple[int, list[int]]:
    """The base sequence number, and each packet's arrival in ticks of 250 µs or LOST."""
    head, kind, length, sender, media = struct.unpack_from("!BBHII", packet)
    assert head >> 6 == 2
    assert head & 0x1F == 15
    assert kind == 205
    assert (length + 1) * 4 == len(packet)
    assert (sender, media) == (0xAA, 0xBB)
    base, count, reference, number = struct.unpack("!HH3sB", packet[12:20])
    assert number == 200
    at = 20
    symbols: list[int] = []
    while len(symbols) < count:
        (chunk,) = struct.unpack_from("!H", packet, at)
        more = symbols_of(chunk)
        assert more, "a chunk that tells of nothing"
        symbols += more
        at += 2
    assert not any(symbols[count:]), "what is left of a vector is zero"
    clock = int.from_bytes(reference, "big", signed=True) * TICKS_PER_REFERENCE
    arrivals = []
    for symbol in symbols[:count]:
        if symbol == 0:
            arrivals.append(LOST)
            continue
        assert symbol in (1, 2)
        delta = int.from_bytes(packet[at : at + symbol], "big", signed=symbol == 2)
        at += symbol
        clock += delta
        arrivals.append(clock)
    padding = packet[at:]
    assert len(padding) < 4
    assert not any(padding)
    return base, arrivals


@pytest.mark.parametrize("loss", [0, 0.02, 0.3, 0.95])
@pytest.mark.parametrize("spread", [1, 8, 300, 20000])
def test_what_is_written_is_what_came(library: ctypes.CDLL, loss: float, spread: int):
    rng = random.Random(f"{loss} {spread}")
    for count in itertools.chain(range(1, 80, 3), (500, 2000)):
        tick = rng.randrange(2**30)
        arrivals = []
        for _ in range(count):
            tick += rng.randrange(spread) - spread // 4
            arrivals.append(LOST if rng.random() < loss else tick)
        arrivals[rng.randrange(count)] = tick
        base = rng.randrange(65536)
        for capacity in (24, 60, 200, 6000):
            at = 0
            while any(arrival != LOST for arrival in arrivals[at:]):
                if capacity == 24 and loss > 0:
                    break  # room for one chunk: what is lost in front may fill it
                got_base, got = parse(write(library, base + at, arrivals[at:], capacity))
                assert got_base == (base + at) & 0xFFFF
                assert got == arrivals[at : at + len(got)]
                at += len(got)


def test_a_frame_takes_few_bytes(library: ctypes.CDLL):
    packet = write(library, 0, [1000 + i // 3 for i in range(30)], 1200)
    assert parse(packet) == (0, [1000 + i // 3 for i in range(30)])
    assert len(packet) == 20 + 2 + 30  # one chunk


@pytest.mark.e2e
def test_gstreamer_reads_the_same(library: ctypes.CDLL):
    rng = random.Random(1)
    tick = 10**6
    arrivals = []
    for _ in range(1000):
        tick += rng.randrange(600) - 50
        arrivals.append(LOST if rng.random() < 0.2 else tick)
    arrivals[-1] = tick
    feedback = []
    at = 0
    while at < len(arrivals):
        # Not more than is kept open at a time, as a receiver does.
        packet = write(library, at, arrivals[at : at + rng.randrange(10, 200)], 1200)
        feedback.append(packet.hex())
        at += len(parse(packet)[1])
    result = subprocess.run(
        [SYSTEM_PYTHON, "-I", GSTREAMER],
        input=json.dumps({"packets": len(arrivals), "feedback": feedback}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [
        [number, None if arrival == LOST else arrival * TICK_NS]
        for number, arrival in enumerate(arrivals)
    ]
