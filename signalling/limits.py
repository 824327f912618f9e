"""How much anyone may take: rates, caps, and what follows from failing to sign in.

All of it is arithmetic: time is an argument (seconds of any one clock that does not go back), and
what is kept is bounded whoever comes: the keys that were not heard of for longest are forgotten
first, and IPv6 addresses count by their /64, of which one customer has as many addresses as he
likes.

A rate is a token bucket, kept as the one time at which it will be full again (ITU-T I.371's virtual
scheduling): taking costs a comparison and an addition.
"""

from __future__ import annotations

import functools
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CACHED_ADDRESSES = 4096


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket: so many at once, and so many a second in the long run."""

    per_s: float
    burst: float

    def __post_init__(self) -> None:
        if not (self.per_s > 0 and self.burst >= 1 and math.isfinite(self.burst / self.per_s)):
            raise ValueError(f"a limit is more than 0 a second and at least 1 at once, not {self}")

    @property
    def full_s(self) -> float:
        """How long it takes an empty bucket to be full again, in seconds."""
        return self.burst / self.per_s


SharedKind = Literal["address.handshake", "user.join", "user.request", "user.control", "user.chat"]
"""What is counted for an address or a user, on all servers together where they share a limiter."""

MessageKind = Literal[
    "frame", "relay", "host-relay", "request", "control", "chat", "token", "ping", "trace"
]
"""What is counted for each connection. ``frame`` is anything that comes, ``host-relay`` what a host
says to its viewers, ``control`` asking for controls, giving them up and handing them on."""

Kind = SharedKind | MessageKind

RATES: Mapping[Kind, Limit] = {
    # Of an address there may be a school behind.
    "address.handshake": Limit(50, 500),
    "user.join": Limit(2, 60),
    "user.request": Limit(20, 100),
    # What anyone may say that is told to everyone in the room.
    "user.control": Limit(2, 40),
    "user.chat": Limit(1, 10),
    # An offer, an answer and a dozen candidates, again after each change of network; one for each
    # KiB of a message.
    "relay": Limit(50, 300),
    # The same with every viewer; a thousand of them may come at once.
    "host-relay": Limit(2_000, 40_000),
    "request": Limit(10, 60),
    "control": Limit(1, 20),
    "chat": Limit(1, 5),
    "token": Limit(0.2, 5),
    "ping": Limit(5, 30),
    "trace": Limit(1, 10),
    "frame": Limit(100, 500),
}
"""The rates by default; a host's frames are counted by ``host-relay``."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server grants. Raises :class:`ValueError` naming the field that makes no sense."""

    rates: Mapping[Kind, Limit] = field(default_factory=lambda: RATES)

    max_connections: int = 20_000
    """TCP connections in all."""

    max_connections_per_address: int = 1_000
    """For each IPv4 address or IPv6 /64."""

    max_connections_per_user: int = 64
    """Clients in rooms at one time, for each subject; hosts too."""

    max_rooms: int = 10_000
    """Rooms with clients of this server."""

    offences: Limit = Limit(1, 50)
    """How often a client may be refused by a limit before its connection is closed."""

    refusals: Limit = Limit(20, 200)
    """How often an address is told that it is refused; beyond that its connections are closed
    without a word."""

    inbox_bytes: int = 256 * 1024
    """How much of a client's may wait to be worked on before nothing more is read from it."""

    outbox_bytes: int = 1024 * 1024
    """How much may wait for one client that reads slowly before it is dropped."""

    failures_free: float = 5
    """Bad tokens that an address may show before it has to wait."""

    failures_decay_s: float = 60.0
    """The time after which half of an address's bad tokens are forgotten."""

    backoff_s: float = 1.0
    """How long it waits after the first that is too much; twice as long after each further one."""

    max_backoff_s: float = 300.0

    max_keys: int = 65_536
    """Addresses and users that are kept in mind, for each purpose."""

    def __post_init__(self) -> None:
        missing = RATES.keys() - self.rates.keys()
        if missing:
            raise ValueError(f"rates: {', '.join(sorted(missing))} missing")
        for name in (
            "max_connections",
            "max_connections_per_address",
            "max_connections_per_user",
            "max_rooms",
            "inbox_bytes",
            "failures_free",
            "failures_decay_s",
            "backoff_s",
            "max_backoff_s",
            "max_keys",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")


class RateLimiter(Protocol):
    """Counts for addresses and users. Never blocks: a limiter that shares its counts with others
    decides by what it knows, and shares later."""

    def take(self, kind: str, key: str, now: float, cost: float = 1) -> float:
        """Take from the bucket of ``key``. 0: granted; otherwise nothing was taken, and after so
        many seconds there will be enough. ``kind`` is a :data:`SharedKind`.
        """


class TokenBuckets:
    """A :class:`RateLimiter` for one process."""

    def __init__(self, rates: Mapping[Kind, Limit], max_keys: int) -> None:
        self._rates: dict[str, Limit] = {kind: limit for kind, limit in rates.items()}  # noqa: C416
        self._max_keys = max_keys
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, kind: str, key: str, now: float, cost: float = 1) -> float:
        """See :class:`RateLimiter`. Raises :class:`ValueError` for more than the bucket holds."""
        limit = self._rates[kind]
        full_at, wait = take(limit, self._full_at.get((kind, key), 0.0), now, cost)
        if not wait:
            self._full_at[kind, key] = full_at
            self._full_at.move_to_end((kind, key))
            if len(self._full_at) > self._max_keys:
                self._full_at.popitem(last=False)
        return wait


def take(limit: Limit, full_at: float, now: float, cost: float = 1) -> tuple[float, float]:
    """Take ``cost`` from a bucket that is full at ``full_at``.

    Returns when it is full now, and 0; or ``full_at`` again, and how long to wait in seconds.
    Raises :class:`ValueError` for more than the bucket holds.
    """
    if cost > limit.burst:
        raise ValueError(f"cost: {cost} is more than {limit.burst}")
    after = (full_at if full_at > now else now) + cost / limit.per_s
    wait = after - now - limit.full_s
    return (full_at, wait) if wait > 0 else (after, 0.0)


class Backoff:
    """Lets addresses wait that show bad tokens: exponentially longer, forgotten with time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait(self, key: str, now: float) -> float:
        """How long ``key`` must still wait, in seconds."""
        until = self._until.get(key)
        if until is None:
            return 0.0
        if until > now:
            return until - now
        del self._until[key]
        return 0.0

    def fail(self, key: str, now: float, weight: float = 1.0) -> None:
        """``key`` has failed, ``weight`` times."""
        limits = self._limits
        count, at = self._failures.get(key, (0.0, now))
        count = count * 0.5 ** (max(0.0, now - at) / limits.failures_decay_s) + weight
        # Enough for the longest wait: who goes on failing is not kept out for ever after.
        most = limits.failures_free + math.log2(limits.max_backoff_s / limits.backoff_s) + 1
        count = min(count, most)
        _keep(self._failures, key, (count, now), limits.max_keys)
        excess = count - limits.failures_free
        if excess > 0:
            wait = min(limits.max_backoff_s, limits.backoff_s * 2.0 ** (excess - 1))
            _keep(self._until, key, now + wait, limits.max_keys)


class Hush:
    """Which addresses are refused without a word: those that are refused too often for one each
    time.
    """

    def __init__(self, limits: Limits) -> None:
        self._refusals = limits.refusals
        self._max_keys = limits.max_keys
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def refused(self, key: str, now: float) -> None:
        """``key`` was told that it is refused."""
        full_at, _ = take(self._refusals, self._full_at.get(key, 0.0), now)
        _keep(self._full_at, key, full_at, self._max_keys)

    def covers(self, key: str, now: float) -> bool:
        """Whether to say nothing to ``key``."""
        full_at = self._full_at.get(key)
        return full_at is not None and take(self._refusals, full_at, now)[1] > 0


_T = TypeVar("_T")


def _keep(kept: OrderedDict[str, _T], key: str, value: _T, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


class Occupancy:
    """Counts who is there, by key, up to a cap."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._present: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._present)

    def __contains__(self, key: str) -> bool:
        return key in self._present

    def has_place(self, key: str) -> bool:
        """Whether :meth:`enter` would let it in."""
        return self._present.get(key, 0) < self._most

    def enter(self, key: str) -> bool:
        """``False`` when as many of ``key`` are there as may be."""
        if not self.has_place(key):
            return False
        self._present[key] = self._present.get(key, 0) + 1
        return True

    def leave(self, key: str) -> None:
        """One of those that entered has gone."""
        left = self._present[key] - 1
        if left:
            self._present[key] = left
        else:
            del self._present[key]


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks from their text, as ``10.0.0.0/8`` or a single address. Raises ``ValueError``."""
    return tuple(ipaddress.ip_network(text.strip()) for text in texts)


@functools.lru_cache(_CACHED_ADDRESSES)
def parse_address(text: str) -> Address | None:
    """An address from its text; an IPv4 address that is mapped into IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@functools.lru_cache(_CACHED_ADDRESSES)
def address_key(address: Address | None) -> str:
    """What an address counts as; all that have none count as one."""
    if address is None:
        return ""
    if address.version == 6:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def is_within(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether ``address`` is in one of ``networks``."""
    return address is not None and any(address in network for network in networks)


def client_address(
    peer: Address | None, forwarded_for: Iterable[str], proxies: tuple[Network, ...]
) -> Address | None:
    """Who is behind a connection from ``peer``: what the declared ``proxies`` say
    (``X-Forwarded-For``, whose last address is the one that the nearest proxy saw), else ``peer``.

    Nobody else's word counts: who could forge it would have any address.
    """
    address = peer
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    while hops and is_within(address, proxies):
        said = parse_address(hops.pop())
        if said is None:
            return address
        address = said
    return address
