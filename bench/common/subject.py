"""What is measured: the media core in a process of its own, sending to peers with fixed keys.

::

    result = run_subject(Subject(scene, display=":7"), port=40000, seconds=5)

It has no ICE, no DTLS and no Python on its media path: just a hub, a source, a stream and peers.
The CPU time is the whole process's, the interpreter included.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.common.display import Scene
from bench.common.machine import thread_cpu_seconds
from bench.common.tools import Process

KEY = bytes(range(1, 29))
"""Master key and salt of AEAD_AES_128_GCM, for both directions."""
PAYLOAD_TYPE = 96
IO_THREAD = "playcast-io"
WARMUP_S = 1.5
COLLECT_S = 5.0
SAMPLED_PEERS = 8  # asking each of a thousand would itself keep the I/O thread busy
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Subject:
    """What to stream, and to how many."""

    scene: Scene
    display: str = ""
    """Empty: the pattern."""
    game: bool = True
    """Of the pattern: every pixel moves."""
    rate_control: str = "FRAME"
    peers: int = 1
    io_cpu: int | None = None
    """Pin the I/O thread to this core, and the others away from it."""


@dataclass(frozen=True)
class Frame:
    """A frame's clock: nanoseconds by ``native.Stage``, 0 where it did not get, and its size."""

    at: tuple[int, ...]
    bytes: int

    def ms(self, start: int, end: int) -> float:
        """Milliseconds from one stage to another."""
        return (self.at[end] - self.at[start]) / 1e6


@dataclass(frozen=True)
class SubjectResult:
    """One run's window, which begins after the warm-up."""

    started_ns: int
    seconds: float
    cpu_s: float
    threads: dict[str, float]
    """CPU seconds by thread name."""
    frames: list[Frame]
    """Those that were sent whole."""
    unsent: int
    """Those that were not."""
    skipped: int
    late: int
    peer_frames: list[int]
    """Sent whole, of some of the peers from first to last."""
    peer_dropped: int
    """Given up, of the same peers."""
    peers_s: float
    """The time over which those two were counted."""
    packets: int
    send_calls: int
    send_errors: int
    total_packets: int
    """Since the start: what the other side should have seen."""
    gso: bool

    @property
    def cpu(self) -> float:
        """CPU seconds per second."""
        return self.cpu_s / self.seconds

    def thread_share(self, name: str) -> float:
        """CPU seconds per second of the threads of that name."""
        return self.threads.get(name, 0.0) / self.seconds


def start_subject(subject: Subject, port: int, seconds: float) -> Process:
    """Start it; it prints "ready" when the window begins, and ends by itself."""
    settings = json.dumps({**asdict(subject), "port": port, "seconds": seconds})
    return Process(sys.executable, "-m", "bench.common.subject", settings)


def subject_result(process: Process, seconds: float) -> SubjectResult:
    """Wait for the end of a run."""
    found = process.result(seconds + TIMEOUT_S)
    found["frames"] = [Frame(tuple(at), size) for at, size in found["frames"]]
    return SubjectResult(**found)


def run_subject(subject: Subject, port: int, seconds: float) -> SubjectResult:
    """Start it and wait for its result."""
    with start_subject(subject, port, seconds) as process:
        return subject_result(process, seconds)


# In the process itself --------------------------------------------------------------------------


@dataclass
class _Window:
    """Counters at its beginning."""

    at_ns: int
    cpu_s: float
    threads: dict[str, float]
    stats: Any
    hub: Any
    peers_at_ns: int
    peers: list[Any]
    frames: dict[int, tuple[tuple[int, ...], int]] = field(default_factory=dict)


def _main(settings: dict[str, Any]) -> None:
    from native import (
        Address,
        Codec,
        Controller,
        Hub,
        MediaSettings,
        RateControl,
        Source,
        SrtpProfile,
        Stream,
        StreamSettings,
    )

    scene = Scene(**settings["scene"])
    if settings["display"]:
        source = Source.x11(settings["display"], cursor=True)
    else:
        source = Source.pattern(scene.width, scene.height, motion=settings["game"])
    with Hub(["127.0.0.1"], realtime=True) as hub:
        stream = Stream(
            source,
            StreamSettings(
                fps=scene.fps,
                bitrate=scene.bitrate,
                rate_control=RateControl[settings["rate_control"]],
            ),
            hub,
        )
        peers = []
        for number in range(settings["peers"]):
            peer = hub.open_peer()
            host = f"127.0.{number // 250}.{number % 250 + 1}"
            peer.set_path(0, Address(host, settings["port"]))
            peer.set_keys(SrtpProfile.AEAD_AES_128_GCM, KEY, KEY)
            peers.append(peer)
        for number, peer in enumerate(peers):
            peer.send(
                stream,
                MediaSettings(
                    Codec.H264,
                    payload_type=PAYLOAD_TYPE,
                    ssrc=1000 + number,
                    abs_send_time_id=2,
                    transport_cc_id=3,
                    playout_delay_id=4,
                    cname="bench",
                    # These receivers only listen: a controller would take that for a dead network.
                    controller=Controller.FIXED,
                ),
            )
        if settings["io_cpu"] is not None:
            _pin(settings["io_cpu"])
        time.sleep(WARMUP_S)
        window = _begin(stream, hub, peers)
        print("ready", flush=True)
        _collect(stream, window, settings["seconds"])
        print(json.dumps(_end(stream, hub, peers, window)), flush=True)


def _pin(io_cpu: int) -> None:
    others = os.sched_getaffinity(0) - {io_cpu}
    for task in Path("/proc/self/task").iterdir():
        is_io = (task / "comm").read_text().strip() == IO_THREAD
        os.sched_setaffinity(int(task.name), {io_cpu} if is_io else others)


def _begin(stream: Any, hub: Any, peers: list[Any]) -> _Window:
    peers_at_ns, sampled = time.monotonic_ns(), _sample(peers)
    return _Window(
        at_ns=time.monotonic_ns(),
        cpu_s=time.process_time(),
        threads=thread_cpu_seconds(os.getpid()),
        stats=stream.stats(),
        hub=hub.stats(),
        peers_at_ns=peers_at_ns,
        peers=sampled,
    )


def _sample(peers: list[Any]) -> list[Any]:
    step = max(1, (len(peers) - 1) // (SAMPLED_PEERS - 1))
    return [peer.stats() for peer in peers[::step]]


def _collect(stream: Any, window: _Window, seconds: float) -> None:
    """Sleep through the window; the frame clock holds 1024 frames, so read it now and then."""
    end_ns = window.at_ns + round(seconds * 1e9)
    while (left := (end_ns - time.monotonic_ns()) / 1e9) > 0:
        time.sleep(min(COLLECT_S, left))
        newest = max(window.frames, default=0)
        for frame in stream.frames(newest):
            window.frames[frame.id] = (frame.at, frame.bytes)


def _end(stream: Any, hub: Any, peers: list[Any], window: _Window) -> dict[str, Any]:
    from native import Stage

    cpu_s = time.process_time() - window.cpu_s
    seconds = (time.monotonic_ns() - window.at_ns) / 1e9
    threads = thread_cpu_seconds(os.getpid())
    stats, hub_stats = stream.stats(), hub.stats()
    peers_s, sampled = (time.monotonic_ns() - window.peers_at_ns) / 1e9, _sample(peers)
    pairs = list(zip(window.peers, sampled, strict=True))
    inside = [f for f in window.frames.values() if f[0][Stage.CAPTURE_START] >= window.at_ns]
    sent = [f for f in inside if f[0][Stage.LAST_SENT]]
    stream.close()
    return {
        "started_ns": window.at_ns,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "threads": {n: s - window.threads.get(n, 0.0) for n, s in threads.items()},
        "frames": sent,
        "unsent": len(inside) - len(sent),
        "skipped": stats.skipped - window.stats.skipped,
        "late": stats.late - window.stats.late,
        "peer_frames": [after.frames - before.frames for before, after in pairs],
        "peer_dropped": sum(
            after.frames_dropped - before.frames_dropped for before, after in pairs
        ),
        "peers_s": peers_s,
        "packets": hub_stats.sent_packets - window.hub.sent_packets,
        "send_calls": hub_stats.send_calls - window.hub.send_calls,
        "send_errors": hub_stats.send_errors - window.hub.send_errors,
        "total_packets": hub.stats().sent_packets,
        "gso": hub_stats.gso,
    }


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
