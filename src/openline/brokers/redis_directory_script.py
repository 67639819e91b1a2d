"""The Lua scripts of the directory in Redis: each is one step that nothing can come between.

Names, behind the engine's prefix: ``directory`` (a hash: ``era``; ``heard``, when a beat came last; ``spare``, until
when no lease runs out; ``version``, which grows as presence changes), ``nodes`` (a sorted set: when the lease of each
runs out, in the engine's milliseconds), ``addresses`` and ``gone`` (hashes by node), ``has:NODE`` (a set: the ids of
its connections), ``connection:ID`` (a hash: ``o`` owner, ``f`` fence, ``k`` digests of secrets with spaces between,
``t`` the same sealed, ``r`` the rest as JSON, ``s:CHANNEL`` a subscription as JSON, ``e`` once it ends),
``secret:DIGEST`` (the connection that it takes up), ``present:CHANNEL`` (a hash: members by connection) and
``came:CHANNEL`` (a sorted set: with which version each came). What scripts do not read is sealed.
"""

from typing import Final

from openline.brokers.redis_link import Script

__all__ = [
    "ADOPT",
    "BEAT",
    "CLAIM",
    "COUNT",
    "END",
    "ENTER",
    "EXIT",
    "FIND",
    "FORGET",
    "KEEP",
    "LEAVE",
    "PRESENT",
    "PUT",
    "SCRIPTS",
    "SUBSCRIBED",
    "UNSUBSCRIBED",
]

_BEGIN: Final = """
local p = KEYS[1] .. ':'
local node = ARGV[1]
local function owned(id)
  return redis.call('HGET', p .. 'connection:' .. id, 'o') == node
end
-- The secrets of a connection that is this node's, and whether it ends.
local function mine(id)
  local m = redis.call('HMGET', p .. 'connection:' .. id, 'o', 'k', 'e')
  if m[1] == node then return m[2] or '', m[3] end
end
local function drop_secrets(secrets)
  for secret in string.gmatch(secrets, '%S+') do redis.call('DEL', p .. 'secret:' .. secret) end
end
local function let_in_with(id, secrets)
  for secret in string.gmatch(secrets, '%S+') do redis.call('SET', p .. 'secret:' .. secret, id) end
end
local function hand_over(id, from)
  redis.call('SREM', p .. 'has:' .. from, id)
  redis.call('SADD', p .. 'has:' .. node, id)
  redis.call('HSET', p .. 'connection:' .. id, 'o', node)
  redis.call('HINCRBY', p .. 'connection:' .. id, 'f', 1)
end
local function lives()
  return redis.call('ZSCORE', p .. 'nodes', node)
end
"""


def _script(text: str) -> Script:
    return Script(_BEGIN + text)


#: node, lease and silence in milliseconds, an era to begin where there is none, and an address to join at, or nothing.
BEAT: Final = _script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease, here = tonumber(ARGV[2]), p .. 'directory'
local era = redis.call('HGET', here, 'era')
if not era then
  era = ARGV[4]
  -- In microseconds, so that it goes on above what another era had.
  redis.call('HSET', here, 'era', era, 'version', string.format('%.0f', now * 1000))
end
local heard = tonumber(redis.call('HGET', here, 'heard') or now)
if now - heard > tonumber(ARGV[3]) then redis.call('HSET', here, 'spare', now + lease) end
redis.call('HSET', here, 'heard', now)
if ARGV[5] then redis.call('HSET', p .. 'addresses', node, ARGV[5]) end
local held = ARGV[5] or lives()
if held then redis.call('ZADD', p .. 'nodes', now + lease, node) end
if now >= tonumber(redis.call('HGET', here, 'spare') or 0) then
  for _, late in ipairs(redis.call('ZRANGEBYSCORE', p .. 'nodes', '-inf', now)) do
    redis.call('ZREM', p .. 'nodes', late)
    redis.call('HDEL', p .. 'addresses', late)
    redis.call('HSET', p .. 'gone', late, 'lost')
  end
end
return {held and 1 or 0, era, redis.call('HGETALL', p .. 'addresses'), redis.call('HGETALL', p .. 'gone')}
""")

#: node.
LEAVE: Final = _script("""
if redis.call('ZREM', p .. 'nodes', node) == 1 then
  redis.call('HDEL', p .. 'addresses', node)
  redis.call('HSET', p .. 'gone', node, 'left')
end
""")

#: node, connection, the record, the digests, the same sealed; then fields, each with a subscription: as many as there
#: are, but few at a time, because Lua's stack is not endless.
PUT: Final = _script("""
local id = ARGV[2]
local key = p .. 'connection:' .. id
local owner = redis.call('HGET', key, 'o')
if not lives() or (owner and owner ~= node) then return 0 end
local fence = 1
if owner then
  fence = redis.call('HGET', key, 'f') or 1
  drop_secrets(mine(id))
  redis.call('DEL', key)
end
redis.call('HSET', key, 'o', node, 'f', fence, 'r', ARGV[3], 'k', ARGV[4], 't', ARGV[5])
let_in_with(id, ARGV[4])
for n = 6, #ARGV, 1000 do redis.call('HSET', key, unpack(ARGV, n, math.min(n + 999, #ARGV))) end
redis.call('SADD', p .. 'has:' .. node, id)
return 1
""")

#: node, connection, channel, the subscription.
SUBSCRIBED: Final = _script("""
if owned(ARGV[2]) then redis.call('HSET', p .. 'connection:' .. ARGV[2], 's:' .. ARGV[3], ARGV[4]) end
""")

#: node, connection, channel.
UNSUBSCRIBED: Final = _script("""
if owned(ARGV[2]) then redis.call('HDEL', p .. 'connection:' .. ARGV[2], 's:' .. ARGV[3]) end
""")

#: node, connection, the digests, the same sealed.
KEEP: Final = _script("""
local id = ARGV[2]
local secrets, ends = mine(id)
if secrets and not ends then
  drop_secrets(secrets)
  redis.call('HSET', p .. 'connection:' .. id, 'k', ARGV[3], 't', ARGV[4])
  let_in_with(id, ARGV[3])
end
""")

#: node, digest.
FIND: Final = _script("""
local id = redis.call('GET', p .. 'secret:' .. ARGV[2])
return id and redis.call('HGETALL', p .. 'connection:' .. id) or {}
""")

#: node, connection, digest.
CLAIM: Final = _script("""
local id = ARGV[2]
local key = p .. 'connection:' .. id
local owner = redis.call('HGET', key, 'o')
if not owner or not lives() or redis.call('GET', p .. 'secret:' .. ARGV[3]) ~= id then return {'', {}} end
if owner ~= node then hand_over(id, owner) end
return {owner, redis.call('HGETALL', key)}
""")

#: node, the one that is gone, how many.
ADOPT: Final = _script("""
local gone, found = ARGV[2], {}
if not lives() or redis.call('HEXISTS', p .. 'gone', gone) == 0 then return found end
local has = p .. 'has:' .. gone
for _, id in ipairs(redis.call('SRANDMEMBER', has, ARGV[3])) do
  if redis.call('HGET', p .. 'connection:' .. id, 'o') == gone then
    hand_over(id, gone)
    found[#found + 1] = redis.call('HGETALL', p .. 'connection:' .. id)
  else
    redis.call('SREM', has, id)
  end
end
if redis.call('SCARD', has) == 0 then redis.call('HDEL', p .. 'gone', gone) end
return found
""")

#: node, connection; an era, or nothing.
END: Final = _script("""
local id = ARGV[2]
local m = redis.call('HMGET', p .. 'connection:' .. id, 'o', 'k')
if not m[1] and ARGV[3] and redis.call('HGET', p .. 'directory', 'era') ~= ARGV[3] then return 1 end
if m[1] ~= node then return 0 end
drop_secrets(m[2] or '')
redis.call('HSET', p .. 'connection:' .. id, 'k', '', 'e', 1)
return 1
""")

#: node, connection.
FORGET: Final = _script("""
local id = ARGV[2]
local secrets = mine(id)
if secrets then
  drop_secrets(secrets)
  redis.call('DEL', p .. 'connection:' .. id)
  redis.call('SREM', p .. 'has:' .. node, id)
end
""")

#: node, channel, connection, the member.
ENTER: Final = _script("""
local present, id = p .. 'present:' .. ARGV[2], ARGV[3]
if not owned(id) or redis.call('HSETNX', present, id, ARGV[4]) == 0 then return {} end
local version = redis.call('HINCRBY', p .. 'directory', 'version', 1)
redis.call('ZADD', p .. 'came:' .. ARGV[2], version, id)
return {redis.call('HLEN', present), version, ARGV[4]}
""")

#: node, channel, connection.
EXIT: Final = _script("""
local present, id = p .. 'present:' .. ARGV[2], ARGV[3]
local member = redis.call('HGET', present, id)
if not member or not owned(id) then return {} end
redis.call('HDEL', present, id)
redis.call('ZREM', p .. 'came:' .. ARGV[2], id)
return {redis.call('HLEN', present), redis.call('HINCRBY', p .. 'directory', 'version', 1), member}
""")

#: node, channel, how many, behind which version.
PRESENT: Final = _script("""
local present, limit = p .. 'present:' .. ARGV[2], tonumber(ARGV[3])
local came = redis.call('ZRANGEBYSCORE', p .. 'came:' .. ARGV[2], '(' .. ARGV[4], '+inf', 'WITHSCORES',
  'LIMIT', 0, limit + 1)
local members, last = {}, '0'
for n = 1, math.min(#came, 2 * limit), 2 do
  members[#members + 1] = redis.call('HGET', present, came[n])
  last = came[n + 1]
end
return {redis.call('HLEN', present), #came > 2 * limit and limit > 0 and last or '0', members}
""")

#: node, channels.
COUNT: Final = _script("""
local counts = {}
for n = 2, #ARGV do counts[n - 1] = redis.call('HLEN', p .. 'present:' .. ARGV[n]) end
return counts
""")

SCRIPTS: Final = (
    ADOPT,
    BEAT,
    CLAIM,
    COUNT,
    END,
    ENTER,
    EXIT,
    FIND,
    FORGET,
    KEEP,
    LEAVE,
    PRESENT,
    PUT,
    SUBSCRIBED,
    UNSUBSCRIBED,
)
