"""A :class:`.log.EventLog` in Redis Streams: for many processes, and over their restarts.

Keys, which share the hash tag ``{NAME}`` (so that they share a node of a cluster)::

    PREFIXevents:{NAME}:log          stream   b (the event), o (the one group it is for)
    PREFIXevents:{NAME}:key:KEY      string   where the event with this key is; for dedupe_s
    PREFIXevents:{NAME}:dead:GROUP   stream   b, r (why), n (attempts)

What Redis confirmed it still has after a restart only if it writes before it confirms
(``appendonly yes``, ``appendfsync always``). One that came back empty has groups begin anew with
what comes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from signalling.redis.client import RedisClient, open_client
from signalling.redis.settings import RedisSettings

from .log import (
    NEWEST,
    OLDEST,
    Appended,
    Backlog,
    DeadLetter,
    Delivery,
    Entry,
    EventsUnavailable,
    Retention,
)

_APPEND = """
-- KEYS: log, then each event's key. ARGV: most events, age in ms, dedupe in ms, then the events.
local positions = {}
for i = 2, #KEYS do
  local position = redis.call('GET', KEYS[i])
  if not position then
    position = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'b', ARGV[i + 2])
    redis.call('SET', KEYS[i], position, 'PX', ARGV[3])
  end
  positions[i - 1] = position
end
local time = redis.call('TIME')
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', time[1] * 1000 - ARGV[2]))
return positions
"""

_ATTEMPTS = """
local function delivery(id, fields)
  local found = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if found[1] then return {id, found[1][4], fields} end
end
local function is_ours(id)
  return redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])[1]
end
"""

_TAKE_OVER = (
    _ATTEMPTS
    + """
-- KEYS: log. ARGV: group, consumer, limit, idle in ms.
local cursor, found = '0-0', {}
for _ = 1, 64 do
  local answer = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], cursor,
    'COUNT', ARGV[3] - #found)
  for _, entry in ipairs(answer[2]) do
    found[#found + 1] = delivery(entry[1], entry[2])
  end
  cursor = answer[1]
  if cursor == '0-0' or #found >= tonumber(ARGV[3]) then break end
end
return found
"""
)

_AGAIN = (
    _ATTEMPTS
    + """
-- KEYS: log. ARGV: group, consumer, position.
if not is_ours(ARGV[3]) then return nil end
local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3])[1]
return entry and delivery(entry[1], entry[2])
"""
)

_HOLD = (
    _ATTEMPTS
    + """
-- KEYS: log. ARGV: group, consumer, positions.
for i = 3, #ARGV do
  if is_ours(ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
"""
)

_GIVE_BACK = (
    _ATTEMPTS
    + """
-- KEYS: log. ARGV: group, consumer, then per event: position, how often it was tried.
for i = 3, #ARGV, 2 do
  if is_ours(ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', 1000000000,
      'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
end
"""
)

_BURY = """
-- KEYS: log, dead. ARGV: group, position, event, reason, attempts, most dead letters.
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'b', ARGV[3], 'r', ARGV[4], 'n', ARGV[5])
end
"""

_REDRIVE = """
-- KEYS: log, dead. ARGV: group, ids.
local count = 0
for i = 2, #ARGV do
  local letter = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  if letter then
    for f = 1, #letter[2], 2 do
      if letter[2][f] == 'b' then
        redis.call('XADD', KEYS[1], '*', 'b', letter[2][f + 1], 'o', ARGV[1])
      end
    end
    redis.call('XDEL', KEYS[2], ARGV[i])
    count = count + 1
  end
end
return count
"""

_BACKLOG = """
-- KEYS: log. ARGV: group.
local function value(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
end
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if value(group, 'name') == ARGV[1] then
    return {value(group, 'lag') or -1, value(group, 'pending'), value(group, 'entries-read') or -1,
      value(stream, 'entries-added'), value(stream, 'length')}
  end
end
"""

_SHA = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in (_APPEND, _TAKE_OVER, _AGAIN, _HOLD, _GIVE_BACK, _BURY, _REDRIVE, _BACKLOG)
}
_TOGETHER = 256
"""Events that one script appends: Redis does nothing else meanwhile."""


class RedisLog:
    """Connects when it is first used.

    Raises :class:`ValueError` for a ``name`` that is none. Redis's ACL user needs, besides what the
    rooms need, ``+xreadgroup +xread +xgroup|create +xautoclaim +xclaim +xpending +xack +xtrim
    +xdel +xinfo|stream +xinfo|groups +get +set``.
    """

    def __init__(
        self,
        settings: RedisSettings,
        retention: Retention | None = None,
        *,
        name: str = "all",
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ValueError("name: takes 1 to 64 letters, digits and _ -")
        self.retention = retention or Retention()
        self._settings = settings
        self._base = f"{settings.prefix}events:{{{name}}}:"
        self._log = self._base + "log"
        self._client: RedisClient | None = None
        self._opened: set[str] = set()
        self._closed = False

    async def append(self, events: Sequence[Appended]) -> list[str]:
        kept = self.retention
        limits = [kept.events, int(kept.seconds * 1000), int(kept.dedupe_s * 1000)]
        positions: list[str] = []
        for first in range(0, len(events), _TOGETHER):
            batch = events[first : first + _TOGETHER]
            keys = [self._log, *(self._key(event.key) for event in batch)]
            answer = await self._run(_APPEND, keys, [*limits, *(event.body for event in batch)])
            positions += (position.decode() for position in answer)
        return positions

    async def read(self, after: str, limit: int, wait_s: float = 0.0) -> list[Entry]:
        words = ["XREAD", "COUNT", limit, *self._block(wait_s), "STREAMS", self._log, after]
        return [_entry(*found) for found in _entries(await self._execute(*words))]

    async def open_group(self, group: str, start: str) -> bool:
        await self._execute("XGROUP", "CREATE", self._log, group, start, "MKSTREAM")
        self._opened.add(group)
        return True

    async def fetch(self, group: str, consumer: str, limit: int, wait_s: float) -> list[Delivery]:
        words = ["XREADGROUP", "GROUP", group, consumer, "COUNT", limit, *self._block(wait_s)]
        words += ["STREAMS", self._log, ">"]
        answer = await self._of_group(group, lambda: self._execute(*words))
        return [Delivery(_entry(*found), 1) for found in _entries(answer)]

    async def take_over(
        self, group: str, consumer: str, limit: int, idle_s: float
    ) -> list[Delivery]:
        arguments = [group, consumer, limit, int(idle_s * 1000)]
        found = await self._of_group(group, lambda: self._run(_TAKE_OVER, [self._log], arguments))
        return [_delivery(answer) for answer in found or []]

    async def again(self, group: str, consumer: str, position: str) -> Delivery | None:
        arguments = [group, consumer, position]
        answer = await self._of_group(group, lambda: self._run(_AGAIN, [self._log], arguments))
        return _delivery(answer) if answer else None

    async def hold(self, group: str, consumer: str, positions: Sequence[str]) -> None:
        await self._of_group(
            group, lambda: self._run(_HOLD, [self._log], [group, consumer, *positions])
        )

    async def give_back(self, group: str, consumer: str, tried: Mapping[str, int]) -> None:
        if tried:
            pairs = [word for pair in tried.items() for word in pair]
            await self._of_group(
                group, lambda: self._run(_GIVE_BACK, [self._log], [group, consumer, *pairs])
            )

    async def settle(self, group: str, positions: Sequence[str]) -> None:
        await self._execute("XACK", self._log, group, *positions)

    async def bury(self, group: str, delivery: Delivery, reason: str) -> None:
        entry = delivery.entry
        arguments = [group, entry.position, entry.body, reason, delivery.attempt]
        keys = [self._log, self._dead(group)]
        await self._run(_BURY, keys, [*arguments, self.retention.dead_letters])

    async def dead_letters(self, group: str, limit: int, after: str = OLDEST) -> list[DeadLetter]:
        found = await self._execute("XRANGE", self._dead(group), "(" + after, "+", "COUNT", limit)
        return [_letter(id, fields) for id, fields in found or []]

    async def redrive(self, group: str, ids: Sequence[str]) -> int:
        keys = [self._log, self._dead(group)]
        return int(await self._run(_REDRIVE, keys, [group, *ids]))

    async def discard(self, group: str, ids: Sequence[str]) -> int:
        return int(await self._execute("XDEL", self._dead(group), *ids)) if ids else 0

    async def backlog(self, group: str) -> Backlog:
        answer = await self._of_group(group, lambda: self._run(_BACKLOG, [self._log], [group]))
        if answer is None:
            return Backlog(0, 0, 0)
        lag, pending, read, added, length = (int(number) for number in answer)
        # What was added, is not there any more, and was not read, will not be.
        lost = max(0, added - length - read) if read >= 0 else 0
        return Backlog(max(0, lag if lag >= 0 else added - read) - lost, pending, lost)

    async def close(self) -> None:
        self._closed = True
        if self._client is not None:
            await self._client.close()

    def _key(self, key: str) -> str:
        # A digest: keys are others' words, of any length.
        digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return f"{self._base}key:{digest}"

    def _dead(self, group: str) -> str:
        return f"{self._base}dead:{group}"

    def _block(self, wait_s: float) -> list[Any]:
        # Redis must answer before its silence counts as an outage.
        milliseconds = int(min(wait_s, self._settings.timeout_s / 2) * 1000)
        return ["BLOCK", milliseconds] if milliseconds > 0 else []

    async def _of_group(self, group: str, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Make the group anew where Redis has lost it."""
        try:
            return await attempt()
        except _GroupLost:
            # The whole log went with it: what is there now is all new.
            await self.open_group(group, OLDEST if group in self._opened else NEWEST)
        try:
            return await attempt()
        except _GroupLost as error:
            raise EventsUnavailable(f"Redis: {error}") from error

    async def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return await self._answer(lambda client: client.run(_SHA[script], script, keys, arguments))

    async def _execute(self, *words: Any) -> Any:
        return await self._answer(lambda client: client.execute(*words))

    async def _answer(self, ask: Callable[[RedisClient], Awaitable[Any]]) -> Any:
        if self._closed:
            raise EventsUnavailable("the event log is closed")
        if self._client is None:
            self._client = open_client(self._settings)
        try:
            return await ask(self._client)
        except ResponseError as error:
            words = str(error)
            if "BUSYGROUP" in words:
                return None
            if "NOGROUP" in words or "no such key" in words:
                raise _GroupLost(words) from error
            raise EventsUnavailable(f"Redis: {words}") from error
        except (RedisError, OSError) as error:
            raise EventsUnavailable(f"Redis: {error}") from error


class _GroupLost(Exception):
    pass


def _entries(answer: Any) -> Iterable[tuple[bytes, dict[bytes, bytes]]]:
    """Those of the one stream that was asked for."""
    return [] if not answer else answer[0][1]


def _entry(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(id.decode(), fields.get(b"b", b""), fields.get(b"o", b"").decode())


def _delivery(answer: list[Any]) -> Delivery:
    id, attempts, words = answer
    return Delivery(_entry(id, dict(zip(words[::2], words[1::2], strict=True))), int(attempts))


def _letter(id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    return DeadLetter(
        id=id.decode(),
        body=fields.get(b"b", b""),
        reason=fields.get(b"r", b"").decode(errors="replace"),
        attempts=int(fields.get(b"n", b"0")),
        at=int(id.partition(b"-")[0]) / 1000,
    )
