"""A server to measure: ``python -m bench.signals.server '{"loop": "uvloop", …}'``.

Prints one line of JSON (port, tokens) when it listens, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import resource
import sys
from typing import Any

from signalling.dev import DevIssuer
from signalling.limits import RATES, Limit, Limits
from signalling.redis.options import add_redis_options, bus_of
from signalling.server import SignallingServer, calm_garbage_collector
from signalling.settings import SignallingSettings

OPEN_LIMITS = Limits(
    rates={kind: Limit(1e9, 1e9) for kind in RATES},
    max_connections_per_address=100_000,
    max_connections_per_user=100_000,
    offences=Limit(1, 50),
)
"""All the work of the limits, and none of their refusals: the load comes from one address."""


async def main(options: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    limits = OPEN_LIMITS
    if "limits" in options:
        rates = {**RATES, **{kind: Limit(*limit) for kind, limit in options["limits"].items()}}
        limits = dataclasses.replace(limits, rates=rates)
    issuer = DevIssuer.generate()
    settings = SignallingSettings(
        verifier=issuer.verifier(), port=0, limits=limits, **options.get("settings", {})
    )
    bus = None
    if options.get("redis"):
        import argparse

        parser = argparse.ArgumentParser()
        add_redis_options(parser)
        bus = await bus_of(parser.parse_args(options["redis"]))
    server = SignallingServer(settings, bus=bus)
    await server.start()
    calm_garbage_collector()
    tokens = {role: issuer.mint(f"bench-{role}", "*", role) for role in ("host", "viewer")}  # type: ignore[arg-type]
    print(json.dumps({"port": server.port, "tokens": tokens}), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
    await server.close()
    if bus is not None:
        await bus.close()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    given = json.loads(sys.argv[1])
    if given.get("loop") == "uvloop":
        import uvloop

        uvloop.run(main(given))
    else:
        asyncio.run(main(given))
