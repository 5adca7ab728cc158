-- Returns ready, held and delayed messages, and microseconds since the oldest receivable one was published (-1: there is
-- none).

tell(before)
-- Counted by the time, not by the members of the sets: a sweep has its limit.
local held = redis.call('ZCOUNT', LEASES, '(' .. text(time), '+inf')
local delayed = redis.call('ZCOUNT', DELAYED, '(' .. text(time), '+inf')
local ready = redis.call('HLEN', MESSAGES) - held - delayed

local oldest = math.huge
for priority = 0, 9 do
  local place = redis.call(
    'ZRANGEBYSCORE', READY, '(' .. text(-priority * STEP), '(' .. text((1 - priority) * STEP), 'LIMIT', 0, 1)[1]
  local content = place and redis.call('HGET', MESSAGES, place)
  if content and string.sub(content, 1, 2) == '\146\203' and #content >= 10 then  -- else another program put it there
    oldest = math.min(oldest, struct.unpack('>d', string.sub(content, 3, 10)) * 1000000)
  end
end

return {ready, held, delayed, oldest == math.huge and -1 or math.max(time - oldest, 0)}
