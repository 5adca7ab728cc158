-- The entries of a store, and functions that their scripts need. Times are microseconds of the server's clock. Versions are
-- such times too, or the last version and 1 where that is more: so they rise also after the server has lost writes.

local STORE, VALUES, VERSIONS, NAMES, ENDS = unpack(KEYS)
-- STORE     hash    last: the last version given; version: of the layout
-- VALUES    hash    key -> value
-- VERSIONS  hash    key -> version
-- NAMES     zset    keys, all with the score 0, so in the order of their bytes
-- ENDS      zset    keys with a ttl, by the time at which they are gone
-- STORE is also the channel of all changes, and STORE:<part> the channel of the keys that begin with <part>/.

local MOST_TOLD = 4096  -- bytes of a value that a watch gets with the news; it asks for larger ones

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Not tostring: it would round, or write 1e+15.
local function text(number)
  return string.format('%d', number)
end

-- The version of a key, and the time at which it is gone or nil; nil if it is absent or expired.
local function version_of(key, time)
  local version = redis.call('HGET', VERSIONS, key)
  local ends = version and redis.call('ZSCORE', ENDS, key)
  if not version or ends and tonumber(ends) <= time then
    return nil
  end
  return tonumber(version), ends and tonumber(ends)
end

-- Tell the watches. kind: '=' with the value; '~': it has a value, which is too long for this; '-': it is gone.
-- left: microseconds until it expires; -1: it does not.
local function tell(kind, key, version, left, value)
  local news = string.format('%s %d %d %d\n', kind, version, left, #key) .. key .. value
  redis.call('PUBLISH', STORE, news)
  local part = string.match(key, '^([^/]*)/')
  if part then
    redis.call('PUBLISH', STORE .. ':' .. part, news)
  end
end

-- Forget a key. The first write of a script that calls this removes: so it runs at maxmemory.
local function forget(key)
  local version = redis.call('HGET', VERSIONS, key)
  redis.call('HDEL', VALUES, key)
  redis.call('HDEL', VERSIONS, key)
  redis.call('ZREM', NAMES, key)
  redis.call('ZREM', ENDS, key)
  if version then
    tell('-', key, tonumber(version), -1, '')
  end
end

-- Forget expired keys, this many at most. Returns how many.
local function sweep(time, most)
  local expired = redis.call('ZRANGEBYSCORE', ENDS, '-inf', text(time), 'LIMIT', 0, most)
  for _, key in ipairs(expired) do
    forget(key)
  end
  return #expired
end
