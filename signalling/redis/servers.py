"""Which servers live, and the room directory: what they have announced.

Two keys with one hash tag, so that a cluster keeps them together::

    servers  zset  server -> when its lease ends, in ms; each renews its own with every beat
    cards    hash  room -> "n ms server card": what was announced when, at which n of the room's log

A card is there for as long as the server that announced it. A server whose lease has ended is
dead: others take its links out of their rooms.
"""

from __future__ import annotations

from typing import Any

from .client import RedisClient
from .scripts import sha
from .settings import RedisSettings
from .wire import RedisDataError

_BEAT = """
-- ARGV: server, lease ms. This server lives. Returns whether it did until now, and all that do.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
return {until_ms and tonumber(until_ms) >= now and 1 or 0,
        redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf')}
"""

_QUIT = """
-- ARGV: server. It lives no more.
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"""

_ANNOUNCE = """
-- ARGV: server, then per room: name, n of its log, card (empty: none). What a
-- living server said of a later n within 10 s stays.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV, 3 do
  local said = redis.call('HGET', KEYS[2], ARGV[i])
  local n, at, owner
  if said then n, at, owner = string.match(said, '^(%d+) (%d+) (%S+) ') end
  local later = n and tonumber(n) > tonumber(ARGV[i + 1]) and now - at < 10000
  if not later or not redis.call('ZSCORE', KEYS[1], owner) then
    redis.call('HSET', KEYS[2], ARGV[i],
               table.concat({ARGV[i + 1], now, ARGV[1], ARGV[i + 2]}, ' '))
  end
end
return 1
"""

_ANNOUNCED = """
-- Returns rooms and their cards; forgets those of servers that are dead.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all, found = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #all, 2 do
  local at, owner, card = string.match(all[i + 1], '^%d+ (%d+) (%S+) (.*)$')
  local until_ms = redis.call('ZSCORE', KEYS[1], owner)
  if not until_ms or tonumber(until_ms) < now or (card == '' and now - at >= 10000) then
    redis.call('HDEL', KEYS[2], all[i])
  elseif card ~= '' then
    found[#found + 1] = all[i]
    found[#found + 1] = card
  end
end
return found
"""

_SHAS = {script: sha(script) for script in (_BEAT, _QUIT, _ANNOUNCE, _ANNOUNCED)}


class Servers:
    """All servers of one prefix, as ``server`` sees and tells it.

    Every method but :meth:`say` raises :class:`redis.exceptions.RedisError`, :class:`OSError` or
    :class:`.wire.RedisDataError`.
    """

    def __init__(self, settings: RedisSettings, client: RedisClient, server: str) -> None:
        self._lease_ms = max(1, round(1000 * settings.lease_s))
        self._client = client
        self._server = server
        base = f"{settings.prefix}{{.servers}}"
        self._keys = [f"{base}:alive", f"{base}:cards"]
        self._cards: dict[str, tuple[int, bytes]] = {}
        self._unsaid: set[str] = set()

    async def beat(self) -> set[str]:
        """Renew this server's lease; returns all that live."""
        match await self._run(_BEAT, self._lease_ms):
            case [int(lived), [*names]]:
                if not lived:
                    self._unsaid.update(self._cards)
            case _:
                raise RedisDataError("the key of the servers: not an answer of this release")
        await self.tell()
        return {name.decode() for name in names}

    async def quit(self) -> None:
        """This server is no more, and neither is what it announced."""
        await self._run(_QUIT)

    def say(self, room: str, n: int, card: bytes | None) -> None:
        """Announce ``card`` with the next :meth:`tell`."""
        self._cards[room] = (n, card or b"")
        self._unsaid.add(room)

    async def tell(self) -> None:
        """Put what was said where all can read it."""
        rooms = tuple(self._unsaid)
        words = [word for room in rooms for word in (room, *self._cards[room])]
        if not words:
            return
        told = {room: self._cards[room] for room in rooms}
        await self._run(_ANNOUNCE, *words)
        for room, card in told.items():
            if self._cards.get(room) == card:
                self._unsaid.discard(room)
                if not card[1]:
                    del self._cards[room]

    async def cards(self) -> dict[str, bytes]:
        """What living servers have announced: room -> card."""
        found = await self._run(_ANNOUNCED)
        if not isinstance(found, list):
            raise RedisDataError("the key of the cards: not an answer of this release")
        names = iter(found)
        return {name.decode(): bytes(card) for name, card in zip(names, names, strict=True)}

    async def rehearse(self) -> None:
        """Whether Redis lets us run every script."""
        await self.beat()
        for card in (b"-", None):
            self.say(".", 0, card)
            await self.tell()
        await self.cards()

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._client.run(_SHAS[script], script, self._keys, [self._server, *arguments])
