"""The hub: every UDP socket of the process, its I/O thread, and the events for Python.

Asyncio watches the hub's eventfd and drains the events when it is readable:

    loop.add_reader(hub.fileno(), on_readable)

    def on_readable():
        for event in hub.events():
            ...
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from native.address import Address
from native.binding import Handle, check, ffi, lib
from native.events import Event, event_from_native
from native.peer import Peer

if TYPE_CHECKING:
    from native.stream import Stream


@dataclass(frozen=True, slots=True)
class HubStats:
    """Traffic of all sockets since the hub was opened. Counters only grow."""

    sent_packets: int
    sent_bytes: int
    send_calls: int
    send_errors: int
    received_packets: int
    received_bytes: int
    dropped_malformed: int
    """Not of a known kind, or too short."""
    dropped_unknown: int
    """Media from an address that is no peer's."""
    dropped_unauthentic: int
    """Failed SRTP or SRTCP authentication."""
    dropped_replayed: int
    dropped_events: int
    """The event ring was full."""
    gso: bool
    """UDP_SEGMENT is in use now."""


class Hub(Handle):
    """One UDP socket for each address of `bind`, all on one port, and the thread that serves them.

    `bind` takes 1 to 16 IP addresses; `port` 0 means any free one. `dscp` (0..63) marks what is
    sent. `realtime` asks for a higher scheduling priority; a refusal is no error.

    NativeError with EADDRINUSE, EADDRNOTAVAIL, EACCES … as bind(2). Closing the hub closes its
    streams first, says BYE for every peer, and ends the thread.
    """

    _noun: ClassVar[str] = "hub"

    def __init__(
        self,
        bind: Sequence[str | Address],
        port: int = 0,
        *,
        gso: bool = True,
        dscp: int = 0,
        realtime: bool = False,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"port takes 0..65535, not {port}")
        addresses = [a if isinstance(a, Address) else Address.parse(a, port) for a in bind]
        native = ffi.new("struct pc_address[]", max(len(addresses), 1))
        for i, address in enumerate(addresses):
            address.to_native(native[i])
        settings = ffi.new("struct pc_hub_settings *")
        settings.bind = native
        settings.bind_count = len(addresses)
        settings.port = port
        settings.gso = gso
        settings.dscp = dscp
        settings.realtime = realtime
        out = ffi.new("struct pc_hub **")
        check(lib.pc_hub_open(settings, out))
        super().__init__(out[0])
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._event = ffi.new("struct pc_event *")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What each socket is bound to, with its real port; in the order of `bind`."""
        out = ffi.new("struct pc_address *")
        found: list[Address] = []
        while lib.pc_hub_local_address(self._pointer, len(found), out) >= 0:
            found.append(Address.from_native(out))
        return tuple(found)

    def fileno(self) -> int:
        """An eventfd that is readable when there are events. The hub owns it."""
        return int(lib.pc_hub_event_fd(self._pointer))

    def next_event(self) -> Event | None:
        """Take the next event; None when there is none (the eventfd is drained then)."""
        if check(lib.pc_hub_next_event(self._pointer, self._event)) == 0:
            return None
        return event_from_native(self._event)

    def events(self) -> Iterator[Event]:
        """Take events until there is none, or until a handler closed the hub."""
        while not self.closed and (event := self.next_event()) is not None:
            yield event

    def send(self, socket: int, to: Address, data: bytes) -> bool:
        """Send a datagram (STUN, DTLS, TURN) from the socket of that index in `addresses`.

        False when the kernel's buffer is full: nothing was sent, try later or lose it as a
        network would. Other failures are NativeError, as sendto(2).
        """
        code = lib.pc_hub_send(self._pointer, socket, to.to_native(), data, len(data))
        if code == -errno.EAGAIN:
            return False
        check(code)
        return True

    def open_peer(self) -> Peer:
        """A new peer, which has no path, no keys and no media yet."""
        return Peer(self, check(lib.pc_peer_open(self._pointer)))

    def stats(self) -> HubStats:
        """Traffic since the hub was opened."""
        s = ffi.new("struct pc_hub_stats *")
        check(lib.pc_hub_get_stats(self._pointer, s))
        return HubStats(
            sent_packets=s.sent_packets,
            sent_bytes=s.sent_bytes,
            send_calls=s.send_calls,
            send_errors=s.send_errors,
            received_packets=s.received_packets,
            received_bytes=s.received_bytes,
            dropped_malformed=s.dropped_malformed,
            dropped_unknown=s.dropped_unknown,
            dropped_unauthentic=s.dropped_unauthentic,
            dropped_replayed=s.dropped_replayed,
            dropped_events=s.dropped_events,
            gso=bool(s.gso),
        )

    def _release(self, pointer: Any) -> None:
        for stream in list(self._streams):
            stream.close()
        lib.pc_hub_close(pointer)
