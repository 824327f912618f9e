"""Network addresses as the core takes them."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Self

from native.binding import ffi


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a UDP port. `scope` is the interface index of a link-local IPv6 address.

    ValueError when `host` is no IP address (names are not resolved) or `port` not 0..65535.
    """

    host: str
    port: int
    scope: int = 0

    def __post_init__(self) -> None:
        parsed = ipaddress.ip_address(self.host)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id is not None:
            raise ValueError(f"host takes no %zone, use Address.parse: {self.host!r}")
        object.__setattr__(self, "host", str(parsed))
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port takes 0..65535, not {self.port}")

    @classmethod
    def parse(cls, host: str, port: int) -> Self:
        """As the constructor, and `host` may carry a zone ("fe80::1%eth0", "fe80::1%2").

        OSError when there is no such interface.
        """
        bare, _, zone = host.partition("%")
        if not zone:
            return cls(bare, port)
        return cls(bare, port, int(zone) if zone.isdecimal() else socket.if_nametoindex(zone))

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    @property
    def sockaddr(self) -> tuple[str, int]:
        """What asyncio's datagram protocols call an address: (host, port)."""
        return self.host, self.port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.family == 6 else f"{self.host}:{self.port}"

    def to_native(self, out: Any = None) -> Any:
        """Write into a `struct pc_address` (a new one by default) and return it."""
        out = ffi.new("struct pc_address *") if out is None else out
        packed = ipaddress.ip_address(self.host).packed
        out.family = self.family
        ffi.memmove(out.ip, packed, len(packed))
        out.port = self.port
        out.scope = self.scope
        return out

    @classmethod
    def from_native(cls, value: Any) -> Self:
        """Read a `struct pc_address` that holds an address."""
        packed = bytes(ffi.buffer(value.ip, 4 if value.family == 4 else 16))
        family = socket.AF_INET if value.family == 4 else socket.AF_INET6
        return cls(socket.inet_ntop(family, packed), int(value.port), int(value.scope))
