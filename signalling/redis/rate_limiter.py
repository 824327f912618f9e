"""A rate limiter whose counts all servers share.

Every server decides at once by its own buckets, and by what it has been told: several times a
second it says what was taken here, and hears which keys have taken more, everywhere together, than
there is; those wait. So one key gets at most what all servers grant it in that time above its rate.
Without Redis each server counts alone.

Buckets are keys of Redis, named by the hash of what they count for; each ends when it is full.
They have sixteen hash tags, so that one script serves many of them and a cluster spreads them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

from ..limits import Kind, Limit, TokenBuckets
from .client import RedisClient
from .scripts import sha
from .session import FAILURES
from .tasks import end

log = logging.getLogger(__name__)

SHARE_S = 0.05
"""How often what was taken is shared, in seconds."""

_REST_S = 1.0  # before Redis is asked again after it failed
_SHARDS = 16
_TOGETHER = 256  # buckets in one call

_TAKE = """
-- KEYS: buckets, each the time at which it is full, in ms. ARGV: per bucket: how long a unit takes
-- to come and how long all of them, in ms, and how many were taken. Returns how long each must wait
-- for the next unit, in ms. What was taken is taken: a bucket may owe as much as it holds.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local waits = {}
for i = 1, #KEYS do
  local unit, whole, taken = ARGV[3 * i - 2], tonumber(ARGV[3 * i - 1]), ARGV[3 * i]
  local full = tonumber(redis.call('GET', KEYS[i]) or now)
  full = math.min(math.max(full, now) + taken * unit, now + 2 * whole)
  redis.call('SET', KEYS[i], string.format('%.3f', full), 'PX', math.ceil(full - now) + 1)
  waits[i] = math.max(0, math.ceil(full + unit - now - whole))
end
return waits
"""
_SHA = sha(_TAKE)

_Key = tuple[str, str]


class SharedRateLimiter:
    """A :class:`..limits.RateLimiter` over Redis. ``client`` stays the caller's.

    To be used on one event loop, with its clock's time.
    """

    def __init__(
        self, client: RedisClient, prefix: str, rates: Mapping[Kind, Limit], max_keys: int
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._rates: dict[str, Limit] = {kind: limit for kind, limit in rates.items()}  # noqa: C416
        self._local = TokenBuckets(rates, max_keys)
        self._max_keys = max_keys
        self._taken: defaultdict[_Key, float] = defaultdict(float)
        self._waits: OrderedDict[_Key, float] = OrderedDict()
        self._sharing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def take(self, kind: str, key: str, now: float, cost: float = 1) -> float:
        """See :class:`..limits.RateLimiter`."""
        name = kind, key
        until = self._waits.get(name)
        if until is not None:
            if until > now:
                return until - now
            del self._waits[name]
        wait = self._local.take(kind, key, now, cost)
        if not wait and (name in self._taken or len(self._taken) < self._max_keys):
            self._taken[name] += cost
            if self._sharing is None:
                self._sharing = self._loop.create_task(self._share(), name="redis-limits")
        return wait

    async def close(self) -> None:
        """Share nothing more."""
        if self._sharing is not None:
            await end([self._sharing])

    async def _share(self) -> None:
        try:
            while self._taken:
                await asyncio.sleep(SHARE_S)
                taken, self._taken = self._taken, defaultdict(float)
                try:
                    await self._tell(taken)
                except FAILURES as error:
                    log.debug("rates are not shared: %s", error)
                    await asyncio.sleep(_REST_S)
        finally:
            self._sharing = None

    async def _tell(self, taken: Mapping[_Key, float]) -> None:
        shards: defaultdict[int, list[tuple[str, _Key, float]]] = defaultdict(list)
        for name, cost in taken.items():
            digest = hashlib.sha256("\0".join(name).encode(errors="replace")).hexdigest()[:32]
            shard = int(digest[0], 16) % _SHARDS
            shards[shard].append((f"{self._prefix}{{.rates{shard}}}:{digest}", name, cost))
        for buckets in shards.values():
            for start in range(0, len(buckets), _TOGETHER):
                await self._tell_some(buckets[start : start + _TOGETHER])

    async def _tell_some(self, buckets: list[tuple[str, _Key, float]]) -> None:
        arguments: list[Any] = []
        for _, (kind, _), cost in buckets:
            limit = self._rates[kind]
            arguments += (1000 / limit.per_s, 1000 * limit.full_s, cost)
        keys = [bucket for bucket, _, _ in buckets]
        waits = await self._client.run(_SHA, _TAKE, keys, arguments)
        now = self._loop.time()
        for (_, name, _), wait_ms in zip(buckets, waits, strict=True):
            if wait_ms:
                self._waits[name] = now + wait_ms / 1000
                self._waits.move_to_end(name)
                if len(self._waits) > self._max_keys:
                    self._waits.popitem(last=False)
