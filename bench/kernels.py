"""Nanoseconds for each packet: packetize, protect, send; and the whole path of one peer.

A thread pinned to one core does all of it; what it sends is drained by a process on another core.
Times are CPU times of that thread, system calls included. `kernels.send.gcm.kpps` is the core's
real sending path (RTP header, AES-128-GCM from the shared payload, history, pacer, GSO) to one
receiver, in frames of 48 packets of 1200 bytes; `…gcm_22` in frames of 22, as of 12 Mbit/s at
60 fps. `kernels.controller.…` is what congestion control costs each of a viewer's packets: taken
note of, reported as arrived, the rates that follow.

--against aiortc: aiortc's own path, RtpPacket.serialize, pylibsrtp, sendto, in the same run.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any

from bench.common.machine import cores_apart
from bench.common.report import Report, alternate, parse_options
from bench.common.tools import Process, start_drain, start_tool

PROFILES = ("gcm", "gcm256", "cm")
LOSS_LIMIT = 0.001


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("kernels", __doc__ or "", contenders=("aiortc",))
    ms = 100 if options.quick else 500
    report = Report("kernels", options, {"packet_bytes": 1200, "ms_per_kernel": ms})
    contenders = [lambda: _ours(report, ms)]
    if "aiortc" in options.against:
        contenders.append(lambda: _aiortc(ms))
    for ours, *theirs in alternate(options.runs, *contenders):
        _add_ours(report, ours)
        for result in theirs:
            for name, ns in result.items():
                report.add(f"kernels.aiortc.{name}_ns", ns, "ns")
            kpps = 1e6 / theirs[0]["send"]
            report.add("kernels.aiortc.send.kpps", kpps, "kpps", better="higher")
            report.add(
                "kernels.send.gcm.over_aiortc",
                theirs[0]["send"] / ours["path.gcm"],
                "ratio",
                better="higher",
            )
    return report.finish()


def _ours(report: Report, ms: int) -> dict[str, Any]:
    drain, port = start_drain()
    with drain:
        with start_tool("kernels", to=port, ms=ms, cpu=cores_apart()[0]) as kernels:
            result = kernels.result(60)
        drained = drain.stop()
    if drained["packets"] < result["sent"] * (1 - LOSS_LIMIT):
        report.note(f"the drain saw {drained['packets']} of {result['sent']} packets")
    report.add("kernels.drain_cpu_s", drained["cpu_s"], "s")
    return result


def _add_ours(report: Report, found: dict[str, Any]) -> None:
    report.add("kernels.packetize_ns", found["packetize"], "ns")
    for profile in PROFILES:
        protect = found[f"protect.{profile}"]
        report.add(f"kernels.protect.{profile}_ns", protect, "ns")
        report.add(
            f"kernels.unprotect.{profile}_ns", found[f"round_trip.{profile}"] - protect, "ns"
        )
    for way in ("sendto", "sendmmsg", "gso"):
        report.add(f"kernels.send.{way}_ns", found[f"send.{way}"], "ns")
    for controller in ("train", "gcc"):
        report.add(f"kernels.controller.{controller}_ns", found[f"controller.{controller}"], "ns")
    for path in ("gcm", "gcm_22", "cm"):
        kpps = 1e6 / found[f"path.{path}"]
        report.add(f"kernels.send.{path}.kpps", kpps, "kpps", better="higher")


def _aiortc(ms: int) -> dict[str, float]:
    """aiortc's way of sending, in a process of its own."""
    drain, port = start_drain()
    settings = json.dumps({"port": port, "ms": ms, "cpu": cores_apart()[0]})
    with drain, Process(sys.executable, "-m", "bench.kernels", settings) as child:
        return child.result(60)


def _aiortc_main(port: int, ms: int, cpu: int | None) -> None:
    import os

    from aiortc.codecs.h264 import H264Encoder
    from aiortc.rtp import HeaderExtensionsMap, RtpPacket
    from pylibsrtp import Policy, Session

    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    slice_nal = b"\x61" + bytes(range(1, 256)) * 117
    packets = len(H264Encoder._packetize([slice_nal]))
    found = {
        "packetize": _ns(ms, lambda: H264Encoder._packetize([slice_nal]), packets),
    }
    extensions = HeaderExtensionsMap()
    sink, address = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), ("127.0.0.1", port)
    for name, profile, key_bytes in (
        ("gcm", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
        ("cm", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    ):
        policy = Policy(
            key=bytes(range(key_bytes)), ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile
        )
        session = Session(policy)
        state = {"sequence": 0}

        def protect(session: Any = session, state: dict[str, int] = state) -> bytes:
            state["sequence"] = (state["sequence"] + 1) & 0xFFFF
            packet = RtpPacket(payload_type=96, sequence_number=state["sequence"], ssrc=1)
            packet.payload = bytes(1160)
            protected: bytes = session.protect(packet.serialize(extensions))
            return protected

        found[f"protect.{name}"] = _ns(ms, protect, 1)
        if name == "gcm":
            found["send"] = _ns(ms, lambda: sink.sendto(protect(), address), 1)
    print(json.dumps(found))


def _ns(ms: int, step: Any, packets: int) -> float:
    """CPU nanoseconds for each packet of a step that does so many."""
    steps, start = 0, time.thread_time_ns()
    while (spent := time.thread_time_ns() - start) < ms * 1e6:
        for _ in range(16):
            step()
        steps += 16
    return spent / steps / packets


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        _aiortc_main(**json.loads(sys.argv[1]))
    else:
        sys.exit(main())
