-- Make a store ready, at maxmemory too. Returns the layout that it has, and the oldest that can work with it.
-- ARGV: both numbers for a new store

local layout = redis.call('HMGET', STORE, 'version', 'min_version')
if layout[1] then
  return {tonumber(layout[1]), tonumber(layout[2])}
end
redis.call('HDEL', STORE, '')
redis.call('HSET', STORE, 'version', ARGV[1], 'min_version', ARGV[2])
return {tonumber(ARGV[1]), tonumber(ARGV[2])}
