-- Hold or free a place. Returns the end of the lease in microseconds; 0: all places are taken, or it was freed.
-- ARGV: holder, places (-1: free the holder's), lease in microseconds

local PLACES = KEYS[1]  -- zset: holders, by the end of their lease

local holder, places, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local time = clock[1] * 1000000 + clock[2]
-- The first write removes: so it runs at maxmemory.
redis.call('ZREMRANGEBYSCORE', PLACES, '-inf', string.format('%d', time))
if places < 0 then
  redis.call('ZREM', PLACES, holder)
  return 0
end
if not redis.call('ZSCORE', PLACES, holder) and redis.call('ZCARD', PLACES) >= places then
  return 0
end
redis.call('ZADD', PLACES, string.format('%d', time + lease), holder)
local last = redis.call('ZRANGE', PLACES, -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIRE', PLACES, string.format('%d', math.ceil((last - time) / 1000) + 1))
return time + lease
