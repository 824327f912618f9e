"""A live run: start sender and receiver on both sides of the link, and read what came of it."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.common.display import Scene
from bench.common.network_plots import FlowSeries, RunSeries
from bench.common.report import percentile
from bench.common.tools import Process
from bench.link.namespaces import ADDRESSES, Namespaces
from bench.link.presets import LinkSettings
from bench.link.running import Interval, LinkLog
from bench.live.speech import LiveSettings

WARMUP_S = 4.0
"""From the first picture until time 0: everyone has found the first rate, or had the time to."""
SETTLE_S = 2.0
FREEZE_MS = 150.0
CONNECT_TIMEOUT_S = 40.0
BIN_S = 0.1


@dataclass(frozen=True)
class LiveCase:
    """A link that does something, while somebody streams over it."""

    name: str
    about: str
    forward: str
    back: str
    schedule: Sequence[str]
    duration_s: float
    bitrate: int = 30_000_000
    competitor: str = ""
    """A TCP congestion control of the kernel that sends beside it."""
    quick: bool = False


@dataclass(frozen=True)
class Contender:
    """How its processes are started."""

    sender: Sequence[str]
    receiver: Sequence[str] = ("bench.live.receiver",)
    controller: str = "train"
    clip: bool = False


CONTENDERS = {
    "ours": Contender(("bench.live.ours",)),
    "gcc": Contender(("bench.live.ours",), controller="gcc"),
    "aiortc": Contender(("bench.live.aiortc", "send"), ("bench.live.aiortc", "receive")),
    "chromium": Contender(("bench.live.chromium",), clip=True),
}

LIVE_CASES = (
    LiveCase(
        "live-5.1",
        "variable capacity, RFC 8867 5.1 at ten times the rate and in 36 s",
        "rate=10M delay=10ms queue=300ms",
        "delay=10ms",
        ["0 forward rate=10M", "14 forward rate=25M", "21 forward rate=6M", "28 forward rate=10M"],
        36,
        quick=True,
    ),
    LiveCase(
        "live-step-40",
        "20 Mbit/s, less 40 % at 10 s",
        "rate=20M delay=10ms queue=300ms",
        "delay=10ms",
        ["0 forward rate=20M", "10 forward rate=12M"],
        20,
    ),
    LiveCase(
        "live-loss2-rtt30",
        "2 % lost at random, round trip 30 ms",
        "rate=20M delay=15ms queue=300ms loss=2%",
        "delay=15ms",
        [],
        20,
        bitrate=10_000_000,
    ),
    LiveCase(
        "live-burst5-rtt60",
        "5 % lost in bursts, round trip 60 ms",
        "rate=20M delay=30ms queue=300ms burst=5%x4",
        "delay=30ms",
        [],
        20,
        bitrate=10_000_000,
    ),
)
TCP_CASES = tuple(
    LiveCase(
        f"tcp-{algorithm}",
        f"against one flow of the kernel's TCP ({algorithm}), 20 Mbit/s, round trip 30 ms, "
        "queue of 300 ms",
        "rate=20M delay=15ms queue=300ms",
        "delay=15ms",
        [],
        30,
        competitor=algorithm,
    )
    for algorithm in ("cubic", "bbr")
)

TCP_RECEIVER = """
import socket
with socket.create_server(("", 0)) as server:
    print("port", server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    while connection.recv(1 << 20):
        pass
"""
TCP_SENDER = """
import socket, sys
with socket.socket() as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[3].encode())
    connection.connect((sys.argv[1], int(sys.argv[2])))
    data = bytes(1 << 16)
    while True:
        connection.sendall(data)
"""


@dataclass(frozen=True)
class LiveRun:
    """What one contender did."""

    case: LiveCase
    contender: str
    log: LinkLog
    frames: Sequence[tuple[int, int, int]]
    """Number, drawn in µs, decoded in ns, in the order of decoding."""
    received: dict[str, Any]
    sent: dict[str, Any]

    def figures(self) -> dict[str, float]:
        """By the last part of the metric's name."""
        window = self._window()
        inside = [row for row in self.frames if self._inside(row)]
        delays = [decoded / 1e6 - drawn / 1e3 for _, drawn, decoded in inside]
        gaps = [(b[2] - a[2]) / 1e6 for a, b in itertools.pairwise(inside)]
        limit_ms = FREEZE_MS + (statistics.fmean(gaps) if gaps else 0.0)
        frozen = [gap for gap in gaps if gap > limit_ms]
        waits = [wait for interval in window for wait in interval.waits_ms]
        got = statistics.fmean(interval.udp_bps for interval in window)
        capacity = statistics.fmean(interval.rate_bps for interval in window)
        seconds = self.case.duration_s - SETTLE_S
        found = {
            "utilisation": got / min(capacity, self.case.bitrate),
            "mbps": got / 1e6,
            **{f"queue_p{p}_ms": percentile(waits, p / 100) for p in (50, 95, 99)},
            **{f"frame_delay_p{p}_ms": percentile(delays, p / 100) for p in (50, 95, 99)},
            "fps": len(inside) / seconds,
            "freezes_per_min": len(frozen) * 60 / seconds,
            "freeze_ms": statistics.fmean(frozen) if frozen else 0.0,
        }
        if self.received.get("psnr_db"):
            found["psnr_db"] = self.received["psnr_db"]
        if self.case.competitor:
            tcp = statistics.fmean(interval.tcp_bps for interval in window)
            found["share"] = got / (got + tcp)
        media = self.sent.get("media")
        if media:
            repair = media["rtx_bytes"] + media["fec_bytes"]
            found["overhead"] = repair / (media["bytes"] + repair)
        return found

    def series(self) -> RunSeries:
        """As it is drawn."""
        log = self.log.forward
        slowest = [0.0] * len(log)
        for _, drawn, decoded in self.frames:
            i = round((decoded - self.log.zero_ns) / 1e9 / BIN_S)
            if 0 <= i < len(log):
                slowest[i] = max(slowest[i], decoded / 1e6 - drawn / 1e3)
        media = FlowSeries(
            name="media",
            mbps=[interval.udp_bps / 1e6 for interval in log],
            queue_ms=[max(interval.waits_ms, default=0.0) for interval in log],
            delay_ms=slowest,
            lost=[interval.dropped + interval.lost for interval in log],
        )
        nothing = [float("nan")] * len(log)
        tcp = replace(
            media,
            name=f"TCP {self.case.competitor}",
            mbps=[interval.tcp_bps / 1e6 for interval in log],
            queue_ms=nothing,
            delay_ms=nothing,
            lost=nothing,
        )
        return RunSeries(
            contender=self.contender,
            t=[interval.t for interval in log],
            capacity_mbps=[interval.rate_bps / 1e6 for interval in log],
            flows=[media, tcp] if self.case.competitor else [media],
        )

    def _window(self) -> list[Interval]:
        return [i for i in self.log.forward if SETTLE_S < i.t <= self.case.duration_s]

    def _inside(self, row: tuple[int, int, int]) -> bool:
        at_s = (row[2] - self.log.zero_ns) / 1e9
        return SETTLE_S < at_s <= self.case.duration_s


def run_live(case: LiveCase, name: str, scene: Scene, seed: int) -> LiveRun:
    """Run it; the scene's bitrate is not looked at. Needs root.

    Raises :class:`~bench.common.tools.ToolError` when a process fails.
    """
    contender = CONTENDERS[name]
    settings = LiveSettings(
        address=ADDRESSES["a"],
        width=scene.width,
        height=scene.height,
        fps=scene.fps,
        bitrate=case.bitrate,
        controller=contender.controller,
        clip=contender.clip,
    )
    far = replace(settings, address=ADDRESSES["b"])
    links = LinkSettings(case.forward, case.back)
    with Namespaces(links, schedule=case.schedule, logged=True, seed=seed) as link:
        python = (sys.executable, "-m")
        with (
            Process(
                *link.command("b", *python, *contender.receiver, far.to_argument()), stdin=True
            ) as receiver,
            Process(
                *link.command("a", *python, *contender.sender, settings.to_argument()), stdin=True
            ) as sender,
        ):
            receiver.say(sender.expect("sdp", CONNECT_TIMEOUT_S))
            sender.say(receiver.expect("sdp", CONNECT_TIMEOUT_S))
            receiver.expect("first", CONNECT_TIMEOUT_S)
            time.sleep(WARMUP_S)
            if case.competitor:
                _run_beside_tcp(link, case)
            else:
                link.zero()
                time.sleep(case.duration_s)
            log = link.log()
            received = receiver.stop()  # before the sender's BYE ends its track
            sent = sender.stop()
    rows = [(row[0], row[1], row[2]) for row in received.pop("frames")]
    return LiveRun(case, name, log, rows, received, sent)


def _run_beside_tcp(link: Namespaces, case: LiveCase) -> None:
    python = (sys.executable, "-c")
    with Process(*link.command("b", *python, TCP_RECEIVER)) as server:
        port = server.expect("port")
        flow = (*python, TCP_SENDER, ADDRESSES["b"], port, case.competitor)
        with Process(*link.command("a", *flow)):
            link.zero()
            time.sleep(case.duration_s)
