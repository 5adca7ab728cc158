-- Note how many consumers a process has here; it is believed for a while, which is longer the more processes there are: so
-- all together give no more signs of life than a few. Returns that while, in microseconds.
-- ARGV: owner, microseconds at least, count

local FEW = 10

local owner, span, count = unpack(ARGV)
local time = now()
redis.call('ZREMRANGEBYSCORE', CONSUMERS, '-inf', time)
local others = 0
for _, member in ipairs(redis.call('ZRANGE', CONSUMERS, 0, -1)) do
  if string.match(member, '^[^:]+') == owner then
    redis.call('ZREM', CONSUMERS, member)
  else
    others = others + 1
  end
end
span = math.max(span, math.ceil(span * (others + 1) / FEW))
if tonumber(count) > 0 then
  redis.call('ZADD', CONSUMERS, text(time + span), owner .. ':' .. count)
  local last = redis.call('ZRANGE', CONSUMERS, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', CONSUMERS, text(math.ceil((last - time) / 1000)))
end
keep(redis.call('HGET', STATE, 'span'))
return span
