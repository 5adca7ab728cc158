-- Write a key, which has a version and an end now or neither. span: microseconds for which it is there, or ''. Returns the
-- new version.
local MOST_SWEPT = 20

local function put(time, key, value, span, found, ends)
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
  return version
end
