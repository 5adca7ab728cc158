-- Note how many consumers a driver has here; it is believed for a while.
-- ARGV: owner, count, microseconds

local owner, count, span = unpack(ARGV)
local time = now()
redis.call('ZREMRANGEBYSCORE', CONSUMERS, '-inf', time)
for _, member in ipairs(redis.call('ZRANGE', CONSUMERS, 0, -1)) do
  if string.match(member, '^[^:]+') == owner then
    redis.call('ZREM', CONSUMERS, member)
  end
end
if tonumber(count) > 0 then
  redis.call('ZADD', CONSUMERS, time + span, owner .. ':' .. count)
  redis.call('PEXPIRE', CONSUMERS, text(math.ceil(span / 1000)))
end
keep(redis.call('HGET', STATE, 'span'))
return 0
