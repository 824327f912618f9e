"""The emulated link between two network namespaces, for peers that know nothing of it.

::

    with Namespaces(preset("lte"), logged=True) as link:
        server = subprocess.Popen(link.command("b", "iperf3", "-s"))
        subprocess.run(link.command("a", "iperf3", "-c", ADDRESSES["b"]))
        link.change("forward rate=2M")

Needs root. The namespaces belong to the link's process and to whatever runs in them: nothing is
left behind, however this ends. Each has a loopback of its own that is up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from bench.common.tools import Process, ToolError
from bench.link.presets import LinkSettings
from bench.link.running import RunningLink

Side = Literal["a", "b"]

ADDRESSES: Mapping[Side, str] = {"a": "10.77.0.1", "b": "10.77.0.2"}
"""`forward` goes from a to b."""


def may_make_namespaces() -> bool:
    """Whether this process may: it is root, and the kernel has TUN devices."""
    return os.geteuid() == 0 and os.access("/dev/net/tun", os.R_OK | os.W_OK)


class Namespaces(RunningLink):
    """Two network namespaces with the link between them, while the context is open."""

    program = "tun"

    def __init__(
        self,
        settings: LinkSettings,
        *,
        schedule: Sequence[str] = (),
        logged: bool = False,
        seed: int = 1,
        mtu: int = 1500,
    ) -> None:
        super().__init__(settings, schedule=schedule, logged=logged, seed=seed)
        self._mtu = mtu
        self._spaces: dict[Side, str] = {}

    def command(self, side: Side, *command: str) -> list[str]:
        """A command line that runs ``command`` in a side's namespace."""
        if not self._spaces:
            raise ToolError("the link is not running")
        return ["nsenter", f"--net={self._spaces[side]}", "--", *command]

    def close(self) -> None:
        """End it, whatever it does."""
        self._spaces = {}
        super().close()

    def _arguments(self) -> Sequence[str]:
        if not may_make_namespaces():
            raise ToolError("network namespaces need root and /dev/net/tun")
        return ("--mtu", str(self._mtu))

    def _started(self, process: Process) -> None:
        a, b = process.expect("ready").split()
        self._spaces = {"a": a, "b": b}
