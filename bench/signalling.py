"""What one signalling server carries, and what disturbs it. Server and loads are processes of their
own, on loopback, the server on one core.

`relay`: hosts and viewers of 50 rooms hand each other messages of 256 bytes; each pair keeps four
under way (`relay_alone`: one, so that nothing shares a system call). `…_per_cpu_s` counts by the
server's CPU time, and so holds when the machine is shared. `storm`: 10,000 viewers join at 1,000 a
second, ten to a room, and stay; memory is what the server has grown by, over them; delays are those
of a few relayed messages meanwhile. `codec`: decode, route and encode one relayed message, in
process. `rooms`: what one event costs the state machine of a room, of two people and of 10,000;
and what a host asks before each input event.
`jwt`: verify a token; and how long the event loop stands still while an issuer takes a
second to hand out its keys. `redis`: the same relay within one server without Redis and between two
over it. `restart`: Redis is killed and comes back under such relays. `hostile`: delays of
well-behaved clients while others misbehave, over the quiet ones.

`--only NAME` runs what has NAME in its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bench.common.report import Report, parse_options
from bench.signals.loads import HOSTILE
from bench.signals.running import Server, load

SIZE = 256
PAIRS = 50
STORM_PER_S = 1000
NICE = 19
STORM_NICE = 5
CODEC_ROUNDS = 20_000


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("signalling", __doc__ or "", runs=3, quick_runs=1)
    settings = {"message_bytes": SIZE, "pairs": PAIRS, "loop": _loop()}
    report = Report("signalling", options, settings)
    cases: dict[str, Callable[[Report], None]] = {
        "codec": run_codec,
        "rooms": run_rooms,
        "jwt": run_jwt,
        "relay": run_relay,
        "storm": run_storm,
        "redis": run_redis,
        "restart": run_restart,
        "hostile": run_hostile,
    }
    for _ in range(options.runs):
        for name, case in cases.items():
            if options.wants(name):
                print(f"{name} …", flush=True)
                case(report)
    return report.finish()


def _loop() -> str:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return "asyncio"
    return "uvloop"


def _seconds(report: Report, seconds: float) -> float:
    return seconds / 2 if report.options.quick else seconds


# One server -------------------------------------------------------------------------------------


def run_relay(report: Report) -> None:
    """Relayed messages a second."""
    for loop in dict.fromkeys((_loop(), "asyncio")):
        for window, name in ((4, "relay"), (1, "relay_alone")):
            of = f"signalling.{name}" if loop == _loop() else f"signalling.asyncio.{name}"
            with Server(loop=loop) as server:
                relays = load(
                    "relay",
                    **server.info,
                    pairs=PAIRS,
                    size=SIZE,
                    window=window,
                    seconds=_seconds(report, 5),
                )
                with relays:
                    relays.read()
                    cpu = server.cpu_s
                    result = relays.read()
                    cpu = server.cpu_s - cpu
            report.add(
                f"{of}_msgs_per_s", result["relayed"] / result["seconds"], "1/s", better="higher"
            )
            report.add(f"{of}_msgs_per_cpu_s", result["relayed"] / cpu, "1/s", better="higher")


def run_storm(report: Report) -> None:
    """10,000 clients: joining, memory, and what others notice."""
    clients = 2000 if report.options.quick else 10_000
    seconds = clients / STORM_PER_S
    with Server(loop=_loop()) as server, load("probe", **server.info, pairs=4, per_s=100) as probe:
        probe.read()
        probe.say("1")
        probe.read()
        rss = server.rss_bytes
        probe.say(str(seconds))
        storm = load(
            "storm", nice=STORM_NICE, **server.info, clients=clients, per_s=STORM_PER_S, in_room=10
        )
        with storm:
            result = storm.read()
            during = probe.read()
            idle = (server.rss_bytes - rss) / clients / 1024
            probe.say(str(_seconds(report, 10)))
            after = probe.read()
            storm.end()
            left = storm.read()["open"]
    if result["refused"]:
        report.note(f"storm: refused {result['refused']}")
    if result["joined"] / result["seconds"] < 0.9 * STORM_PER_S:
        report.note("storm: the clients could not come as fast as they should have")
    if left < result["joined"]:
        report.note(f"storm: {result['joined'] - left} of {result['joined']} did not stay")
    of = "10k" if clients == 10_000 else f"{clients}"
    report.add("signalling.storm_refused", clients - result["joined"], "clients")
    report.add("signalling.storm_joins_per_s", result["joined"] / result["seconds"], "1/s")
    report.add("signalling.storm_join_p99_ms", result["join_p99_ms"], "ms")
    report.add("signalling.idle_conn_kib", idle, "KiB")
    report.add(f"signalling.relay_p99_ms_in_storm_to_{of}", during["p99_ms"], "ms")
    report.add(f"signalling.relay_p50_ms_at_{of}", after["p50_ms"], "ms")
    report.add(f"signalling.relay_p99_ms_at_{of}", after["p99_ms"], "ms")


def run_hostile(report: Report) -> None:
    """Well-behaved clients beside others."""
    from signalling.dev import DevIssuer

    seconds = _seconds(report, 6)
    bad_token = DevIssuer.generate().mint("bad", "*", "viewer")
    for kind in HOSTILE:
        with (
            Server(loop=_loop(), limits={}) as server,
            load("probe", **server.info, pairs=4, per_s=200) as probe,
        ):
            probe.read()
            probe.say(str(seconds))
            quiet = probe.read()
            attack = {"kind": kind, "bad_token": bad_token, "seconds": seconds + 1}
            with load("hostile", nice=NICE, **server.info, **attack) as attacker:
                attacker.read()
                probe.say(str(seconds))
                disturbed = probe.read()
        ratio = disturbed["p99_ms"] / quiet["p99_ms"]
        report.add(f"signalling.hostile.{kind}.p99_ms", disturbed["p99_ms"], "ms")
        report.add(f"signalling.hostile.{kind}.p99_ratio", ratio, "ratio")
        report.add("signalling.hostile.quiet_p99_ms", quiet["p99_ms"], "ms")


# In process -------------------------------------------------------------------------------------


def run_codec(report: Report) -> None:
    """Decode, route, encode."""
    from bench.signals.client import candidate
    from bench.signals.inside import joined
    from signalling.messages import decode_client

    async def measure() -> tuple[float, float]:
        board, host, viewer = await joined()
        data = candidate(viewer.peer, SIZE)[8:]
        start = time.process_time()
        for _ in range(CODEC_ROUNDS):
            work = board.say("doom", host.link, decode_client(data))  # type: ignore[arg-type]
            with contextlib.suppress(StopIteration):
                work.send(None)
        whole = (time.process_time() - start) / CODEC_ROUNDS
        assert viewer.frames >= CODEC_ROUNDS
        start = time.process_time()
        for _ in range(CODEC_ROUNDS):
            decode_client(data)
        return whole, (time.process_time() - start) / CODEC_ROUNDS

    whole, decode = asyncio.run(measure())
    report.add("signalling.decode_route_encode_us", whole * 1e6, "µs")
    report.add("signalling.decode_us", decode * 1e6, "µs")


def run_rooms(report: Report) -> None:
    """One event of a small room, and of a large one."""
    from bench.signals.rooms import Crowd, grants_allow_s

    allow_s = grants_allow_s(CODEC_ROUNDS, 1000)
    report.add("signalling.grants_allow_us", allow_s * 1e6, "µs")
    pair = Crowd(1)
    report.add("signalling.room_relay_us", pair.relay_s(CODEC_ROUNDS, SIZE) * 1e6, "µs")
    crowd = Crowd(10_000)
    report.add("signalling.room_relay_us_at_10k", crowd.relay_s(CODEC_ROUNDS, SIZE) * 1e6, "µs")
    report.add("signalling.room_join_us_at_10k", crowd.join_s * 1e6, "µs")
    report.add("signalling.room_return_us_at_10k", crowd.return_s() * 1e6, "µs")
    report.add("signalling.room_snapshot_ms_at_10k", crowd.snapshot_s() * 1e3, "ms")


def run_jwt(report: Report) -> None:
    """Verify tokens and an invitation; fetch keys."""
    from bench.signals.inside import loop_stands_still_s, slow_issuer
    from bench.signals.tokens import clerk_verify_s, invitation_verify_s
    from signalling.dev import DevIssuer

    issuer = DevIssuer.generate()
    tokens = [issuer.mint(f"user-{number}", "doom", "viewer") for number in range(50)]

    async def verify() -> float:
        verifier = issuer.verifier()
        took = []
        for _ in range(10):
            for token in tokens:
                start = time.perf_counter()
                await verifier.verify(token)
                took.append(time.perf_counter() - start)
        await verifier.close()
        return statistics.median(took)

    async def fetch() -> float:
        async with slow_issuer(issuer, delay_s=1.0) as verifier:
            return await loop_stands_still_s(verifier.verify(tokens[0]))

    report.add("signalling.jwt_verify_us", asyncio.run(verify()) * 1e6, "µs")
    report.add("signalling.clerk_verify_us", asyncio.run(clerk_verify_s()) * 1e6, "µs")
    report.add("signalling.invitation_verify_us", asyncio.run(invitation_verify_s()) * 1e6, "µs")
    report.add("signalling.jwks_fetch_loop_blocked_ms", asyncio.run(fetch()) * 1000, "ms")


# Over Redis -------------------------------------------------------------------------------------


def run_redis(report: Report) -> None:
    """Two servers."""
    from bench.signals.inside import redis_server

    seconds = _seconds(report, 8)

    def delays(ports: list[int], tokens: dict[str, str]) -> dict[str, Any]:
        with load("probe", port=ports[0], ports=ports, tokens=tokens, pairs=4, per_s=200) as probe:
            probe.read()
            probe.say("1")
            probe.read()
            probe.say(str(seconds))
            return probe.read()

    with Server(loop=_loop()) as server:
        local = delays([server.info["port"]], server.info["tokens"])
    with redis_server() as redis:
        shared = {"loop": _loop(), "redis": ["--redis", redis.url]}
        with Server(**shared) as one, Server(**shared) as two:
            tokens = {"host": one.info["tokens"]["host"], "viewer": two.info["tokens"]["viewer"]}
            over = delays([one.info["port"], two.info["port"]], tokens)
    for quantile in ("p50", "p99"):
        added = over[f"{quantile}_ms"] - local[f"{quantile}_ms"]
        report.add(f"signalling.redis_added_{quantile}_ms", added, "ms")
        report.add(f"signalling.redis_{quantile}_ms", over[f"{quantile}_ms"], "ms")


def run_restart(report: Report) -> None:
    """Redis dies and comes back."""
    from bench.signals.inside import outage, redis_server

    with redis_server() as redis:
        shared = {"loop": _loop(), "redis": ["--redis", redis.url]}
        with Server(**shared) as one, Server(**shared) as two:
            found = _run_on_second_core(outage(redis, one.info, two.info))
    report.add("signalling.redis_restart_recovery_s", found["recovery_s"], "s")
    report.add("signalling.redis_restart_lost", found["lost"], "messages")
    report.add("signalling.redis_restart_refused", found["refused"], "messages")


def _run_on_second_core(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    return asyncio.run(work)


if __name__ == "__main__":
    sys.exit(main())
