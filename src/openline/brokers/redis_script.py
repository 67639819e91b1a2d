"""The Lua scripts of the Redis engine: each is one step that nothing can come between.

Names, behind the engine's prefix: ``epoch`` (a hash: the epoch's ``id``, the ``run`` of the server in which it was last
vouched for, and two marks of the newest stamp from some time ago), ``stamp:EPOCH`` (the newest stamp), ``head:CHANNEL``
(a hash: ``h`` the newest stamp, ``n`` how many and ``t`` how many bytes there were ever, ``c`` ``s`` ``z`` the count,
milliseconds and bytes that are kept, ``x`` when it goes), ``log:CHANNEL`` (a stream whose ids are stamps),
``key:CHANNEL KEY`` (the stamp of a key's publication), ``sent:NODE`` (what a node's publishes came to).
"""

from typing import Final

from openline.brokers.redis_link import Script

__all__ = ["ADOPT", "FORGET", "HEADS", "KEEP", "KEY_MS", "PUBLISH", "READ", "SCRIPTS", "SLOTS"]

#: How long a key is known.
KEY_MS: Final = 300_000
#: How many publishes of a node may be under way: so many answers are remembered, should they have to be given again.
SLOTS: Final = 1024
#: How much longer than its publications the head of a channel is known.
_HOUR_MS: Final = 3_600_000

_NOW: Final = """
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function text(number)
  return string.format('%.0f', number)
end
"""

# The newest stamp that a channel without a head may have had: heads are known for an hour at least, so everything
# behind a mark that is younger has its head still.
_BOUND: Final = f"""
local function bound(epoch, newest)
  local m = redis.call('HMGET', epoch, 'old', 'old_at', 'mark', 'mark_at')
  local since = now() - {_HOUR_MS}
  if m[1] and tonumber(m[2]) > since then return tonumber(m[1]) end
  if m[3] and tonumber(m[4]) > since then return tonumber(m[3]) end
  return newest
end
"""

# A publication is seen while it is among the newest `c`, with no more than `z` bytes from it on, and younger than `s`.
_SEEN: Final = """
local function seen(fields, h, at)
  return tonumber(fields[6]) > h.n - h.c and tonumber(fields[4]) >= h.t - h.z and tonumber(fields[2]) > at - h.s
end
local function look(name)
  local m = redis.call('HMGET', name, 'h', 'n', 't', 'c', 's', 'z', 'x')
  if not m[1] then return nil end
  return {h = tonumber(m[1]), n = tonumber(m[2]), t = tonumber(m[3]), c = tonumber(m[4]), s = tonumber(m[5]),
          z = tonumber(m[6]), x = tonumber(m[7])}
end
"""

PUBLISH: Final = Script(
    _NOW
    + _BOUND
    + _SEEN
    + f"""
local stamps, sent, name, log, key, epoch = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local seq, behind, known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Who has no key names `sent` in its place.
-- Each of a node's publishes is taken once, and in the node's order, however often and late it comes.
local last = redis.call('HGET', sent, 'n')
if last then
  last = tonumber(last)
  if seq <= last then
    return {{1, tonumber(redis.call('HGET', sent, seq % {SLOTS}) or '0'), ''}}
  end
  if last < behind then return redis.error_reply('ORDER another one comes first') end
end
if key ~= sent then
  local found = redis.call('GET', key)
  if found then
    redis.call('HSET', sent, 'n', seq, seq % {SLOTS}, found)
    return {{1, tonumber(found), ''}}
  end
end

-- The first write, so that nothing was done where the memory is full.
local stamp = redis.call('INCR', stamps)
if stamp == 1 then
  redis.call('DEL', stamps)
  return redis.error_reply('LOST the log is gone')
end
if stamp <= known then return redis.error_reply('LOST the log is older than it was') end
local place = text(stamp)

local weight, count, ms, size = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local at = now()
local h = look(name)
local fresh = ''
if not h then
  h = {{h = bound(epoch, stamp - 1), n = 0, t = 0, c = count, s = ms, z = size, x = 0}}
  fresh = '~'
end
local previous = text(h.h)

local function prune()
  if h.c == 0 or h.z == 0 or h.s == 0 then
    redis.call('DEL', log)
    return
  end
  redis.call('XTRIM', log, 'MAXLEN', h.c)
  local step = 1
  while true do
    local gone = nil
    local found = redis.call('XRANGE', log, '-', '+', 'COUNT', step)
    for _, one in ipairs(found) do
      if seen(one[2], h, at) then
        if gone then redis.call('XTRIM', log, 'MINID', one[1]) end
        return
      end
      gone = one[1]
    end
    if not gone then return end
    redis.call('XTRIM', log, 'MINID', text(tonumber(string.match(gone, '^%d+')) + 1) .. '-0')
    step = 64
  end
end

-- What was gone does not come back when more is kept.
if count > h.c or ms > h.s or size > h.z then prune() end
h.c, h.s, h.z = count, ms, size
local keeps = count > 0 and ms > 0 and size >= weight
if keeps then
  redis.call('XADD', log, place .. '-0', 'a', text(at), 'b', text(h.t), 'n', text(h.n + 1), 'p', previous, 'w', ARGV[7],
             'e', ARGV[6])
end
h.n, h.t = h.n + 1, h.t + weight
if h.n % 64 == 0 then prune() end
local lives = at + ms + {_HOUR_MS}
if h.x < lives then
  h.x = lives + {_HOUR_MS}
  redis.call('HSET', name, 'h', place, 'n', text(h.n), 't', text(h.t), 'c', count, 's', text(ms), 'z', size, 'x',
             text(h.x))
  redis.call('PEXPIREAT', name, text(h.x))
else
  redis.call('HSET', name, 'h', place, 'n', text(h.n), 't', text(h.t), 'c', count, 's', text(ms), 'z', size)
end
if keeps and (h.n == 1 or h.x == lives + {_HOUR_MS}) then redis.call('PEXPIREAT', log, text(h.x)) end

if key ~= sent then redis.call('SET', key, place, 'PX', {KEY_MS}) end
redis.call('HSET', sent, 'n', seq, seq % {SLOTS}, place)
if not last then redis.call('PEXPIRE', sent, {_HOUR_MS}) end
redis.call('PUBLISH', ARGV[5], place .. ' ' .. fresh .. previous .. ' ' .. ARGV[4] .. ' ' .. ARGV[6])
return {{0, stamp, fresh .. previous}}
"""
)

READ: Final = Script(
    _NOW
    + _BOUND
    + _SEEN
    + """
local stamps, name, log, epoch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local behind, ahead, limit, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local newest = redis.call('GET', stamps)
if not newest then return redis.error_reply('LOST the log is gone') end
newest = tonumber(newest)
if behind > newest then return {newest, 0, 0} end
local h = look(name)
if not h then
  return {newest, (behind < 0 or behind >= bound(epoch, newest)) and 1 or 0, 0}
end
local at = now()
local page = {newest, 1, 0}
local forward = behind >= 0
local last, found = behind, 0
local from = '+'
if forward then from = text(behind + 1) .. '-0' elseif ahead > 0 then from = '(' .. text(ahead) .. '-0' end
local step = math.min(limit + 1, 64)

while true do
  local some
  if forward then some = redis.call('XRANGE', log, from, '+', 'COUNT', step)
  else some = redis.call('XREVRANGE', log, from, '-', 'COUNT', step) end
  for _, one in ipairs(some) do
    local fields = one[2]
    local stamp, previous = tonumber(string.match(one[1], '^%d+')), tonumber(fields[8])
    if not seen(fields, h, at) then
      if not forward then return page end
      return {newest, 0, 0}
    end
    -- Each names the one before it: that is what proves that nothing is missing.
    if forward and (previous > last or (found > 0 and previous ~= last)) then return {newest, 0, 0} end
    if not forward and found > 0 and last ~= stamp then return page end
    room = room - tonumber(fields[10])
    if found >= limit or (found > 0 and room < 0) then
      page[3] = 1
      return page
    end
    found = found + 1
    last = forward and stamp or previous
    page[#page + 1] = stamp
    page[#page + 1] = previous
    page[#page + 1] = fields[12]
    from = '(' .. one[1]
  end
  if #some < step then break end
end
if forward and last < h.h then return {newest, 0, 0} end
return page
"""
)

#: The newest stamp of all, and of each channel; -1 where that is not known.
HEADS: Final = Script("""
local newest = redis.call('GET', KEYS[1])
if not newest then return redis.error_reply('LOST the log is gone') end
local heads = {tonumber(newest)}
for i = 2, #KEYS do
  heads[i] = tonumber(redis.call('HGET', KEYS[i], 'h') or '-1')
end
return heads
""")

FORGET: Final = Script("""
redis.call('DEL', KEYS[2])
if ARGV[1] == '1' then redis.call('DEL', KEYS[1]) end
return 1
""")

#: Now and then: is the epoch the one that we believe in, and what is its newest stamp?
KEEP: Final = Script(
    _NOW
    + f"""
local epoch, stamps, sent = KEYS[1], KEYS[2], KEYS[3]
local m = redis.call('HMGET', epoch, 'id', 'mark', 'mark_at')
local newest = redis.call('GET', stamps)
if m[1] ~= ARGV[1] or not newest then return redis.error_reply('LOST there is another log') end
local at = now()
if tonumber(m[3]) + {_HOUR_MS} * 0.4 < at then
  redis.call('HSET', epoch, 'old', m[2], 'old_at', m[3], 'mark', newest, 'mark_at', text(at))
end
redis.call('PEXPIRE', sent, {_HOUR_MS})
return tonumber(newest)
"""
)

# Whoever comes to a server vouches for its log, or begins a new epoch; docs/decisions says why each case is as it is.
ADOPT: Final = Script(
    _NOW
    + """
local epoch = KEYS[1]
local prefix, run, mine, my_run, known, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local m = redis.call('HMGET', epoch, 'id', 'run', 'before', 'head', 'mark')
local newest = m[1] and redis.call('GET', prefix .. ':stamp:' .. m[1])
local base = math.max(known, tonumber(m[5] or '0'), tonumber(newest or '0'))
if newest then
  newest = tonumber(newest)
  local good
  if mine == m[1] then
    good = known <= newest
    if m[2] == run then
      -- Somebody vouched for it before us: was everything there that we knew then?
      if my_run ~= run and not (my_run == m[3] and known <= tonumber(m[4])) then good = false end
    elseif good then
      redis.call('HSET', epoch, 'run', run, 'before', m[2], 'head', text(newest))
    end
  else
    -- We know nothing of it. The server that it was written in knows; another one may have lost its end.
    good = m[2] == run
  end
  if good then return {m[1], newest} end
  redis.call('DEL', prefix .. ':stamp:' .. m[1])
elseif m[1] then
  base = base + 1000000
end
base = base + 1
local at = text(now())
redis.call('SET', prefix .. ':stamp:' .. id, text(base))
redis.call('DEL', epoch)
redis.call('HSET', epoch, 'id', id, 'run', run, 'before', '', 'head', text(base), 'old', text(base), 'old_at', at,
           'mark', text(base), 'mark_at', at)
redis.call('PUBLISH', prefix .. ':breaks', id)
return {id, base}
"""
)

SCRIPTS: Final = (PUBLISH, READ, HEADS, FORGET, KEEP, ADOPT)
