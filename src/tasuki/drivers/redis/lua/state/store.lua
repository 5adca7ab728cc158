-- Make a store ready, at maxmemory too. Returns the layout that it has.
-- ARGV: the layout of a new store

local layout = redis.call('HGET', STORE, 'version')
if layout then
  return layout
end
redis.call('HDEL', STORE, '')
redis.call('HSET', STORE, 'version', ARGV[1])
return ARGV[1]
