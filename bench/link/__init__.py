"""An emulated network link in user space: one core in C, three front ends.

`link.h` is the core (virtual time), `relay.c` a UDP relay on loopback, `tun.c` a pair of network
namespaces. :class:`~bench.link.running.Relay` and :class:`~bench.link.namespaces.Namespaces` run
the latter two; `docs/link-emulator.md` says the rest.
"""
