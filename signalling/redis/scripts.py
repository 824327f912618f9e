"""What happens to a room inside Redis: scripts over its keys, each one step for everybody.

Keys, which share the hash tag ``{room}`` (so that they share a node of a cluster)::

    log      stream  event n has the id ``n-0`` and fields e (event), s (server), q (its sequence)
    links    hash    link -> server: who is connected, and where
    meta     hash    epoch, from, n (of the last event), last (its "server q"), run, until
    servers  hash    server -> the fencing token with which it takes part; "-": must enter first
    seq      hash    server -> "q ms": the greatest q of its that is in the log, and since when
    state    hash    the newest snapshot: n, at (ms), data
    waiting  set     servers that may still bring events that Redis has lost

Every event is also published on the room's channel as "epoch n server q event". ``links`` and
``seq`` are what the log says and nothing else. The log goes back to the snapshot before the newest.

*Epoch*: a name the room gets when its keys are made; ``from`` is the one that its founder knew
before, if any. *Sequence* (``q``): grows with each event of a server, which makes sending twice
harmless; negative for what a server wrote on somebody's behalf. *Settling*: whenever Redis has lost
something, or may have (its run id is another), nobody appends until all servers that took part
have entered again, or ``until``; each brings what it has after the log's end. Where one does not
come in time, the room gets another epoch, with "-" as ``from``: what that one had may be lost.
"""

from __future__ import annotations

import hashlib

KEYS = ("log", "links", "meta", "servers", "seq", "state", "waiting")

_COMMON = """
local log, links, meta, servers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local seq, state, waiting = KEYS[5], KEYS[6], KEYS[7]
local server, channel, known, token, keep_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local room = redis.call('HMGET', meta, 'epoch', 'n', 'last', 'until')
local epoch, n, last = room[1], tonumber(room[2] or 0), room[3]
local settling = room[4] and tonumber(room[4]) > now

local function takes_part()
  return epoch == known and redis.call('HGET', servers, server) == token
end

local function append(from, q, event)
  n = n + 1
  last = from .. ' ' .. q
  redis.call('XADD', log, n .. '-0', 'e', event, 's', from, 'q', q)
  redis.call('PUBLISH', channel, table.concat({epoch, n, from, q, event}, ' '))
end

local function note_link(from, kind, link)
  if kind == 'in' then
    redis.call('HSET', links, link, from)
  elseif kind == 'out' then
    redis.call('HDEL', links, link)
  end
end

local function greatest_q(owner)
  return tonumber(string.match(redis.call('HGET', seq, owner) or '0', '^%d+'))
end

local function note_q(owner, q)
  redis.call('HSET', seq, owner, q .. ' ' .. now)
end

local function finish()
  redis.call('HSET', meta, 'n', n, 'last', last)
  -- Any of these may be new, and nobody may be left to look after it.
  for _, key in ipairs({log, links, seq}) do redis.call('PEXPIRE', key, keep_ms) end
end

local function keep()
  for i = 1, 7 do redis.call('PEXPIRE', KEYS[i], keep_ms) end
end

local function event_at(place)
  if place == n then return last end
  local first = math.max(place, 1) .. '-0'
  local found = redis.call('XRANGE', log, first, first)[1]
  if not found then return nil end
  return place == 0 and '' or found[2][4] .. ' ' .. found[2][6]
end

-- Nobody appends until this one has entered, or for so long.
local function wait_for(owner, settle_ms)
  if redis.call('HGET', servers, owner) then return end
  redis.call('HSET', servers, owner, '-')
  redis.call('SADD', waiting, owner)
  if not settling then
    settling = true
    redis.call('HSET', meta, 'until', now + settle_ms)
  end
end

local function no_more_waiting_for(owner)
  redis.call('SREM', waiting, owner)
  if redis.call('SCARD', waiting) == 0 then
    redis.call('HDEL', meta, 'until')
    settling = false
  end
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

-- The links of one server are lost, says the server that runs this.
local function lose_links(owner, q, event_before, event_after)
  local all = redis.call('HGETALL', links)
  for i = 1, #all, 2 do
    if all[i + 1] == owner then
      redis.call('HDEL', links, all[i])
      append(server, q, event_before .. all[i] .. event_after)
    end
  end
  finish()
end
"""

PUBLISH = (
    _COMMON
    + """
-- ARGV: position of this server's copy, then per event: q, kind (in, out or other), link, event.
-- Returns a word and, when that is "ok", the n of each event (0: it had been there). "enter": this
-- server must enter first. "settle": too early.
if not takes_part() or n < tonumber(ARGV[6]) then return {'enter'} end
if settling then return {'settle'} end
local greatest = greatest_q(server)
local numbers = {'ok'}
for i = 7, #ARGV, 4 do
  local q = tonumber(ARGV[i])
  if q > greatest then
    append(server, ARGV[i], ARGV[i + 3])
    note_link(server, ARGV[i + 1], ARGV[i + 2])
    greatest = q
    numbers[#numbers + 1] = n
  else
    numbers[#numbers + 1] = 0
  end
end
note_q(server, greatest)
finish()
return numbers
"""
)

ENTER = (
    _COMMON
    + """
-- ARGV: settle ms, position of this server's copy (-1: it has none), "server q" of the event
-- there, a count and the other servers that it knows of, and if it brings what comes after n: n,
-- "server q" there, then per event: server, q, kind, link, event. Returns a word and what belongs
-- to it:
--   found                          Redis does not have the room
--   behind n last                  it has less than this server: bring what comes after n
--   old n last                     its log does not go back to the position
--   conflict n last                it has another event at the position, or may have
--   follow epoch servers entries   what comes after the position
--   state epoch servers entries n snapshot n last links seq     what there is: entries after n
local position, at, brought = tonumber(ARGV[7]), ARGV[8], 10 + ARGV[9]
if not epoch then return {'found'} end
local run = run_id()
local from = redis.call('HMGET', meta, 'from', 'run')
if from[2] ~= run then
  redis.call('DEL', waiting)
  for _, other in ipairs(redis.call('HKEYS', servers)) do redis.call('SADD', waiting, other) end
  settling = true
  redis.call('HSET', meta, 'run', run, 'until', now + ARGV[6])
end
if position > n or from[2] ~= run then
  -- It has lost something, or may have: who came since, too.
  for i = 10, brought - 1 do wait_for(ARGV[i], ARGV[6]) end
end

if position > n then
  if tonumber(ARGV[brought]) ~= n or ARGV[brought + 1] ~= last then
    return {'behind', n, last}
  end
  for i = brought + 2, #ARGV, 5 do
    local owner, q = ARGV[i], tonumber(ARGV[i + 1])
    append(owner, ARGV[i + 1], ARGV[i + 4])
    note_link(owner, ARGV[i + 2], ARGV[i + 3])
    if q > greatest_q(owner) then note_q(owner, q) end
    wait_for(owner, ARGV[6])
  end
  finish()
elseif position >= 0 then
  local there = event_at(position)
  local same_room = epoch == known or from[1] == known
  if there and there ~= at or not there and not same_room then return {'conflict', n, last} end
  if not there then return {'old', n, last} end
end

redis.call('HSET', servers, server, token)
no_more_waiting_for(server)
keep()
local others = redis.call('HKEYS', servers)
if position >= 0 then
  local entries = redis.call('XRANGE', log, (position + 1) .. '-0', '+')
  return {'follow', epoch, others, entries}
end
local saved = redis.call('HMGET', state, 'n', 'data')
return {'state', epoch, others, redis.call('XRANGE', log, (saved[1] + 1) .. '-0', '+'),
        tonumber(saved[1]), saved[2], n, last,
        redis.call('HGETALL', links), redis.call('HGETALL', seq)}
"""
)

FOUND = (
    _COMMON
    + """
-- ARGV: new epoch, settle ms, n, "server q" there, a snapshot of the room at n, n and "server q"
-- after which this server went on alone (-1: it did not), then counts and lists: other servers;
-- links and their servers; servers and their q; then per event up to n: n, server, q, event.
-- Returns 1; 0: it is there, and whoever comes takes it.
local position, alone_after = tonumber(ARGV[8]), tonumber(ARGV[11])
local from = redis.call('HGET', meta, 'from')

-- Who made it knew nothing of the room, and what there is is shorter.
local function is_a_strangers()
  return from == '' and known ~= '' and known ~= epoch and position > n
end

-- Redis went back, and nobody has appended since: what it has, this server had.
local function went_back()
  return settling and (known == epoch or known == from) and position > n
    and (alone_after < 0 or n < alone_after)
end

-- Nobody else has appended since this server went on alone.
local function was_left_alone()
  if known ~= epoch or alone_after < 0 or event_at(alone_after) ~= ARGV[12] then return false end
  for _, entry in ipairs(redis.call('XRANGE', log, (alone_after + 1) .. '-0', '+')) do
    if entry[2][4] ~= server then return false end
  end
  return true
end

if epoch and not (is_a_strangers() or went_back() or was_left_alone()) then return 0 end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', meta, 'epoch', ARGV[6], 'from', known, 'n', position, 'last', ARGV[9],
           'run', run_id())
redis.call('HSET', state, 'n', position, 'at', now, 'data', ARGV[10])
local i = 13
local function take_list(step, take)
  local count = tonumber(ARGV[i])
  for j = i + 1, i + count * step, step do take(ARGV[j], ARGV[j + 1]) end
  i = i + 1 + count * step
  return count
end
local others = take_list(1, function(other)
  redis.call('HSET', servers, other, '-')
  redis.call('SADD', waiting, other)
end)
if others > 0 then redis.call('HSET', meta, 'until', now + ARGV[7]) end
take_list(2, function(link, owner) redis.call('HSET', links, link, owner) end)
take_list(2, note_q)
for j = i, #ARGV, 4 do
  redis.call('XADD', log, ARGV[j] .. '-0', 'e', ARGV[j + 3], 's', ARGV[j + 1], 'q', ARGV[j + 2])
end
keep()
return 1
"""
)

CHECK = (
    _COMMON
    + """
-- Returns 0 when this server must enter again, else 1, n, who takes part, and whether the room
-- waits.
if not takes_part() then return {0, 0, {}, 0} end
keep()
local absent = redis.call('SMEMBERS', waiting)
if not settling and #absent > 0 then
  for _, other in ipairs(absent) do
    if redis.call('HGET', servers, other) == '-' then redis.call('HDEL', servers, other) end
  end
  redis.call('DEL', waiting)
  -- What they had, and did not bring, is no part of the room: from now on it is another.
  redis.call('HSET', meta, 'epoch', string.sub(redis.sha1hex(epoch .. now), 1, 16), 'from', '-')
  return {0, 0, {}, 0}
end
return {1, n, redis.call('HKEYS', servers), settling and 1 or 0}
"""
)

SAVE = (
    _COMMON
    + """
-- ARGV: how old the newest snapshot must be, in ms, or how many events behind; n of another,
-- "server q" there, and that. The log then begins with the one before. Returns whether it was kept.
if not takes_part() or event_at(tonumber(ARGV[8])) ~= ARGV[9] then return 0 end
local place, saved = tonumber(ARGV[8]), redis.call('HMGET', state, 'n', 'at')
local newest, at = tonumber(saved[1]), tonumber(saved[2])
if place <= newest or place > n then return 0 end
if now - at < tonumber(ARGV[6]) and place - newest < tonumber(ARGV[7]) then return 0 end
redis.call('HSET', state, 'n', place, 'at', now, 'data', ARGV[10])
redis.call('XTRIM', log, 'MINID', newest .. '-0')
local all = redis.call('HGETALL', seq)
for i = 1, #all, 2 do
  -- Nothing of a server that has not been heard of for so long is on its way any more.
  local since = tonumber(string.match(all[i + 1], ' (%d+)$'))
  if since < now - keep_ms and not redis.call('HGET', servers, all[i]) then
    redis.call('HDEL', seq, all[i])
  end
end
return 1
"""
)

REAP = (
    _COMMON
    + """
-- ARGV: q, a server, the start and the end of an Away, whether it has died (1) or only takes no
-- part in the room (0). Returns whether it is done.
if not takes_part() or settling then return 0 end
if ARGV[10] == '0' and redis.call('HGET', servers, ARGV[7]) then return 0 end
redis.call('HDEL', servers, ARGV[7])
lose_links(ARGV[7], ARGV[6], ARGV[8], ARGV[9])
return 1
"""
)

EXIT = (
    _COMMON
    + """
-- ARGV: q, start and end of an Away. This server takes part no more. What the last one leaves
-- behind is there for as long as somebody may come back. Links that cannot be taken out now belong
-- to a server that takes no part: others do it.
if redis.call('HGET', servers, server) ~= token then return 0 end
if n == 0 and #redis.call('HKEYS', servers) == 1 then
  redis.call('DEL', unpack(KEYS))
else
  redis.call('HDEL', servers, server)
  no_more_waiting_for(server)
  if not settling then lose_links(server, ARGV[6], ARGV[7], ARGV[8]) end
  keep()
end
return 1
"""
)


def sha(script: str) -> str:
    """The name by which Redis knows ``script``."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
