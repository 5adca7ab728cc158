-- Write a key. Returns {version} now, or {0, version} of a key that has another version than the expected one.
-- ARGV: key, value, microseconds for which it is there or '', expected version (0: absent) or ''

local SWEPT = 20

local key, value, span, expected = unpack(ARGV)
local time = now()
local found, ends = version_of(key, time)
if expected ~= '' and (found or 0) ~= tonumber(expected) then
  return {0, found or 0}
end
local version = math.max(time, (tonumber(redis.call('HGET', STORE, 'last')) or 0) + 1)
redis.call('HSET', STORE, 'last', text(version))
redis.call('HSET', VERSIONS, key, text(version))
redis.call('HSET', VALUES, key, value)
if not found then
  redis.call('ZADD', NAMES, 0, key)
end
if span ~= '' then
  redis.call('ZADD', ENDS, text(time + span), key)
elseif ends or not found then
  redis.call('ZREM', ENDS, key)
end
if #value <= MOST_TOLD then
  tell('=', key, version, tonumber(span) or -1, value)
else
  tell('~', key, version, tonumber(span) or -1, '')
end
sweep(time, SWEPT)
return {version}
