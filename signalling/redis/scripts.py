"""What happens inside Redis: four scripts over one room's keys, each one step for everybody.

Keys, which share the hash tag ``{room}`` (so that they share a node of a cluster)::

    log       stream   event n has the id ``n-0`` and fields e (event), s (server), q (its sequence)
    peers     hash     peer -> "n server event": the Join of each peer that is in
    meta      hash     epoch, n (of the last event), until, fresh; per server q:… and t:…
    leases    zset     server -> when its lease ends, in ms

Every event is also published on the room's channel as "epoch n server q event".

*Epoch*: a name the room gets when its keys are made. Another epoch: Redis lost the room.
*Sequence* (``q``): grows with each event of a server in a room, which makes sending twice harmless.
*Token* (``t``): the fencing token a server got with its lease; what comes with another is refused.
"""

from __future__ import annotations

import hashlib

_COMMON = """
local log, peers, meta, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local server, channel = ARGV[1], ARGV[2]
local lease_ms, log_length = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function append(epoch, from, q, event)
  local n = redis.call('HINCRBY', meta, 'n', 1)
  redis.call('XADD', log, 'MAXLEN', '~', log_length, n .. '-0', 'e', event, 's', from, 'q', q)
  redis.call('PUBLISH', channel, table.concat({epoch, n, from, q, event}, ' '))
  return n
end

local function keep()
  for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], 12 * lease_ms) end
end

-- Puts out the peers of one server that are not among those to keep.
local function put_out(epoch, owner, kept, event_before, event_after)
  local all = redis.call('HGETALL', peers)
  for i = 1, #all, 2 do
    local from = string.match(all[i + 1], '^%d+ (%S+) ')
    if from == owner and not kept[all[i]] then
      redis.call('HDEL', peers, all[i])
      append(epoch, '-', 0, event_before .. all[i] .. event_after)
    end
  end
end
"""

PUBLISH = (
    _COMMON
    + """
-- ARGV: epoch, token, then per event: sequence, kind (join, leave, relay), peer, event.
-- Returns a word and, when that is "ok", the n of each event (0: it had been there or changed
-- nothing). "enter": this server must enter first. "settle": too early for new peers.
local epoch = ARGV[5]
local state = redis.call('HMGET', meta, 'epoch', 't:' .. server, 'q:' .. server, 'until')
if state[1] ~= epoch or state[2] ~= ARGV[6] then return {'enter'} end
local last = tonumber(state[3] or 0)
local numbers = {}
for i = 7, #ARGV, 4 do
  local q, kind, peer, event = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local n = 0
  if q > last then
    if kind == 'join' then
      if redis.call('HEXISTS', peers, peer) == 0 then
        if state[4] and tonumber(state[4]) > now then
          table.insert(numbers, 1, 'settle')
          return numbers
        end
        n = append(epoch, server, q, event)
        redis.call('HSET', peers, peer, n .. ' ' .. server .. ' ' .. event)
        redis.call('HSET', meta, 'fresh', 1)
      end
    elseif kind == 'relay' or redis.call('HDEL', peers, peer) == 1 then
      n = append(epoch, server, q, event)
    end
    last = q
    redis.call('HSET', meta, 'q:' .. server, q)
  end
  numbers[#numbers + 1] = n
end
keep()
table.insert(numbers, 1, 'ok')
return numbers
"""
)

ENTER = (
    _COMMON
    + """
-- ARGV: new epoch, known epoch, position n, settle ms, the start and the end of a Leave, a new
-- token, how many peers to put back, those as peer and event, then peers to leave alone.
-- Returns epoch, n, whether our peers may stay (1) or were put out (0), the peers, and the events
-- from the position on (the one at the position included; in another epoch all of them).
local known, position = ARGV[6], tonumber(ARGV[7])
local before, after, token, count = ARGV[9], ARGV[10], ARGV[11], tonumber(ARGV[12])
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  epoch = ARGV[5]
  redis.call('DEL', log, peers, leases)
  redis.call('HSET', meta, 'epoch', epoch, 'n', 0)
  if count > 0 then redis.call('HSET', meta, 'until', now + tonumber(ARGV[8])) end
end
local held = redis.call('ZSCORE', leases, server)
local stay = 1
if epoch == known then
  if not held then stay = 0 end
elseif count > 0 and redis.call('HGET', meta, 'fresh') then
  stay = 0
end
local kept = {}
if stay == 1 then
  for i = 13, 12 + 2 * count, 2 do
    kept[ARGV[i]] = true
    if redis.call('HEXISTS', peers, ARGV[i]) == 0 then
      local n = append(epoch, server, 0, ARGV[i + 1])
      redis.call('HSET', peers, ARGV[i], n .. ' ' .. server .. ' ' .. ARGV[i + 1])
    end
  end
  for i = 13 + 2 * count, #ARGV do kept[ARGV[i]] = true end
end
put_out(epoch, server, kept, before, after)
redis.call('ZADD', leases, now + lease_ms, server)
redis.call('HSET', meta, 't:' .. server, token)
keep()
local events = {}
if known ~= '' then
  if epoch ~= known then position = 0 end
  events = redis.call('XRANGE', log, position .. '-0', '+')
end
return {epoch, tonumber(redis.call('HGET', meta, 'n')), stay,
        redis.call('HGETALL', peers), events}
"""
)

RENEW = (
    _COMMON
    + """
-- ARGV: epoch, token, whether to end the leases of others (0, 1), start and end of a Leave.
-- Returns 0 when this server must enter again, else 1 and n.
local epoch = ARGV[5]
local state = redis.call('HMGET', meta, 'epoch', 't:' .. server)
if state[1] ~= epoch or state[2] ~= ARGV[6] then return {0, 0} end
redis.call('ZADD', leases, now + lease_ms, server)
if ARGV[7] == '1' then
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. now)) do
    redis.call('ZREM', leases, owner)
    redis.call('HDEL', meta, 'q:' .. owner, 't:' .. owner)
    put_out(epoch, owner, {}, ARGV[8], ARGV[9])
  end
end
keep()
return {1, tonumber(redis.call('HGET', meta, 'n'))}
"""
)

EXIT = (
    _COMMON
    + """
-- ARGV: epoch, token, start and end of a Leave. Puts out this server's peers and gives up its
-- lease; the last one out takes the room's keys along.
local state = redis.call('HMGET', meta, 'epoch', 't:' .. server)
if state[1] ~= ARGV[5] or state[2] ~= ARGV[6] then return 0 end
put_out(state[1], server, {}, ARGV[7], ARGV[8])
redis.call('ZREM', leases, server)
redis.call('HDEL', meta, 'q:' .. server, 't:' .. server)
if redis.call('ZCARD', leases) == 0 and redis.call('HLEN', peers) == 0 then
  redis.call('DEL', log, peers, meta, leases)
end
return 1
"""
)


def sha(script: str) -> str:
    """The name by which Redis knows ``script``."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
