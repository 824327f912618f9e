"""A little internet on one machine: a host's network, a router, and a viewer with two networks.

::

     host ns            router ns              viewer ns
    ┌────────┐  lan   ┌───────────┐   wifi   ┌─────────┐
    │ .0.1 ──┼────────┼─ .0.254   │──────────┼─ .1.2   │
    └────────┘        │ .1.254    │          │         │
                      │ .2.254    │──────────┼─ .2.2   │
                      └───────────┘  mobile  └─────────┘

All addresses are 10.77.x.y. The spaces belong to one :class:`Internet`, which makes them on entry
and removes them on exit, whatever runs in them then. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

HOST_ADDRESS = "10.77.0.1"

Space = Literal["host", "router", "viewer"]
Link = Literal["wifi", "mobile"]

_NUMBER: dict[Link, int] = {"wifi": 1, "mobile": 2}
_CLONE_NEWNET = 0x40000000


def why_not() -> str:
    """Why there can be no :class:`Internet` here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    probe = f"playcast-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return ""


class Internet:
    """The three spaces. The viewer begins on its Wi-Fi; its mobile network is off."""

    def __init__(self) -> None:
        self._spaces: dict[Space, str] = {}

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def name(self, space: Space) -> str:
        """What ``ip netns`` calls it."""
        return self._spaces[space]

    def command(self, space: Space) -> tuple[str, ...]:
        """What to put before a command that is to run there."""
        return ("ip", "netns", "exec", self._spaces[space])

    def forward(self, on: bool) -> None:
        """Whether the router forwards. Off: nothing comes through, and no end is told so."""
        words = f"echo {int(on)} > /proc/sys/net/ipv4/ip_forward"
        run(*self.command("router"), "sh", "-c", words)

    def unplug(self, link: Link) -> None:
        """Take the viewer's interface down: address and routes are gone, and the viewer knows."""
        self._ip("viewer", "address", "flush", "dev", link)
        self._ip("viewer", "link", "set", link, "down")

    def plug(self, link: Link) -> None:
        """Bring the viewer's interface up, with its address and the default route."""
        self._ip("viewer", "link", "set", link, "up")
        self._ip("viewer", "address", "replace", f"10.77.{_NUMBER[link]}.2/24", "dev", link)
        self.route(link)

    def route(self, link: Link) -> None:
        """Let the viewer's default route go by that interface."""
        via = f"10.77.{_NUMBER[link]}.254"
        self._ip("viewer", "route", "replace", "default", "via", via, "dev", link)

    def _make(self) -> None:
        for space in ("host", "router", "viewer"):
            name = f"playcast-{space}-{os.getpid()}"
            run("ip", "netns", "add", name)
            self._spaces[space] = name
            self._ip(space, "link", "set", "lo", "up")
        self._connect("host", "lan", "10.77.0.254")
        self._ip("host", "address", "add", f"{HOST_ADDRESS}/24", "dev", "lan")
        self._ip("host", "link", "set", "lan", "up")
        self._ip("host", "route", "add", "default", "via", "10.77.0.254")
        for link, number in _NUMBER.items():
            self._connect("viewer", link, f"10.77.{number}.254")
        self.forward(on=True)
        self.plug("wifi")

    def _connect(self, space: Space, link: str, router_address: str) -> None:
        router = self._spaces["router"]
        peer = ("peer", "name", link, "netns", router)
        self._ip(space, "link", "add", link, "type", "veth", *peer)
        self._ip("router", "address", "add", f"{router_address}/24", "dev", link)
        self._ip("router", "link", "set", link, "up")

    def _ip(self, space: Space, *words: str) -> None:
        run("ip", "-n", self._spaces[space], *words)

    def _remove(self) -> None:
        for name in self._spaces.values():
            subprocess.run(["ip", "netns", "del", name], check=True)
        self._spaces.clear()


def connected_in(space: str, address: tuple[str, int]) -> socket.socket:
    """A TCP socket that is connected inside a space. A socket stays where it was made."""
    made: list[socket.socket | OSError] = []

    def connect() -> None:
        # setns(2) moves the calling thread alone, and this one ends here.
        try:
            with Path("/run/netns", space).open() as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {space}")
            made.append(socket.create_connection(address))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    [result] = made
    if isinstance(result, OSError):
        raise result
    return result


def run(*command: str) -> None:
    """Run a command; what it says when it fails is in the exception."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
