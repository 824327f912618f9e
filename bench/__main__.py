"""Run every benchmark, one after the other: `python -m bench [options]`, by default `--quick`."""

from __future__ import annotations

import subprocess
import sys

PROGRAMS = ("kernels", "pipeline", "latency", "fanout", "network", "soak", "events")


def main() -> int:
    """Run them all. Returns 1 when a run was not valid."""
    options = sys.argv[1:] or ["--quick"]
    failed = [
        name
        for name in PROGRAMS
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode
    ]
    if failed:
        print(f"not valid: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
