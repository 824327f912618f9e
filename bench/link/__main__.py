"""An emulated network link: `python -m bench.link relay|tun|presets`, each with --help.

Examples:

  python -m bench.link presets
  python -m bench.link relay --preset lte --listen 5000 --to 127.0.0.1:6000
  python -m bench.link relay --both "rate=10M delay=20ms queue=300ms" --forward loss=1% \\
      --listen 5000 --to 127.0.0.1:6000
  python -m bench.link tun --preset cable -- iperf3 -c 10.77.0.2
  python -m bench.link tun --both "rate=10M delay=20ms" --schedule steps.txt --log link.jsonl

Settings, as many as wanted:
  rate=10M | none              capacity in bit/s (k, M, G)
  trace=FILE | none            one that changes: `SECONDS RATE` lines, or mahimahi's format
  delay=20ms                   propagation (us, ms, s)
  jitter=5ms                   uniform in delay ± jitter; jitter-reorders=yes: in any order
  loss=1%                      each packet by itself
  burst=2%x8 | none            in bursts: share of the packets, mean length (Gilbert-Elliott)
  reorder=1% reorder-by=10ms   so many packets come so much later
  duplicate=1%
  queue=300ms | 200kB | none   drop-tail, bounded in time or in bytes
  down=yes | no                nothing gets through

A schedule is a file of `SECONDS forward|back|both SETTINGS` lines. `relay`, and `tun` without a
command, take the same without the time as lines on standard input, at once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from bench.common.tools import Process, ToolError, build_tool
from bench.link.namespaces import ADDRESSES, may_make_namespaces
from bench.link.presets import PRESETS, LinkSettings
from bench.link.running import front_options


def main() -> int:
    """Run it. Returns the exit status."""
    options = _parse(sys.argv[1:])
    try:
        if options.what == "presets":
            return _print_presets()
        return _relay(options) if options.what == "relay" else _tun(options)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.link",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="what", required=True, metavar="relay|tun|presets")
    kinds.add_parser("presets", help="list the presets with their settings")
    relay = kinds.add_parser("relay", help="a UDP relay on loopback")
    relay.add_argument(
        "--listen", required=True, metavar="[ADDRESS:]PORT", help="clients send here; 0: any port"
    )
    relay.add_argument("--to", required=True, metavar="ADDRESS:PORT", help="and reach this")
    tun = kinds.add_parser(
        "tun",
        help="two network namespaces with the link between them (needs root)",
        epilog=f"Namespace a is {ADDRESSES['a']}, b is {ADDRESSES['b']}; forward is from a to b.",
    )
    tun.add_argument("--in", dest="side", choices=("a", "b"), default="a", help="of the command")
    tun.add_argument("--mtu", type=int, default=1500)
    tun.add_argument("command", nargs="*", help="to run inside; without: wait, and say how to")
    for kind in (relay, tun):
        kind.add_argument("--preset", choices=tuple(PRESETS), help="begin with these settings")
        for way in ("both", "forward", "back"):
            kind.add_argument(f"--{way}", default="", metavar="SETTINGS")
        kind.add_argument("--schedule", type=Path, metavar="FILE", help="changes to come")
        kind.add_argument("--log", type=Path, metavar="FILE", help="JSON lines every 100 ms")
        kind.add_argument("--seed", type=int, default=1, help="of losses and jitter (1)")
    return parser.parse_args(arguments)


def _print_presets() -> int:
    for name, settings in PRESETS.items():
        print(f"{name}: {settings.about}")
        print(f"    forward  {settings.forward}\n    back     {settings.back}")
    return 0


def _options(options: argparse.Namespace) -> list[str]:
    settings = PRESETS[options.preset] if options.preset else LinkSettings()
    settings = settings.with_changes(both=options.both, forward=options.forward, back=options.back)
    return front_options(settings, schedule=options.schedule, log=options.log, seed=options.seed)


def _relay(options: argparse.Namespace) -> int:
    program = build_tool("relay")
    ends = ("--listen", options.listen, "--to", options.to)
    os.execv(program, [str(program), *ends, *_options(options)])


def _tun(options: argparse.Namespace) -> int:
    if not may_make_namespaces():
        raise ToolError("network namespaces need root and /dev/net/tun")
    program, mtu = build_tool("tun"), ("--mtu", str(options.mtu))
    if not options.command:
        print("enter with nsenter --net=… (the first is a, the second b); end with Ctrl-C")
        sys.stdout.flush()
        os.execv(program, [str(program), *mtu, *_options(options)])
    with Process(program, *mtu, *_options(options), stdin=True) as link:
        spaces = dict(zip("ab", link.expect("ready").split(), strict=True))
        enter = ("nsenter", f"--net={spaces[options.side]}", "--", *options.command)
        return subprocess.run(enter, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
