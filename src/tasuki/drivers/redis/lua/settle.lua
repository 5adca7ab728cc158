-- End deliveries. Returns the numbers, from 1, of the receipts that were stale.
-- ARGV: number of acks, number of nacks, the receipts of acks, nacks and releases, the delays of the nacks in microseconds
-- Each part removes before it adds: so it is not refused when the memory is full.

local acks, nacks = tonumber(ARGV[1]), tonumber(ARGV[2])
local count = #ARGV - 2 - nacks
if count == 0 then
  return {}
end
local ordering = redis.call('HGET', STATE, 'ordering')
local scores = redis.call('ZMSCORE', LEASES, unpack(ARGV, 3, 2 + count))
local stale, live = {}, {}
for index = 1, count do
  if scores[index] then
    live[#live + 1] = ARGV[2 + index]
  else
    stale[#stale + 1] = index
  end
end
if #live == 0 then
  return stale
end
local before = watch()
redis.call('ZREM', LEASES, unpack(live))

local done = {}
for index = 1, acks do
  if scores[index] then
    done[#done + 1] = place_of(ARGV[2 + index])
  end
end
if #done > 0 then
  redis.call('HDEL', MESSAGES, unpack(done))
  redis.call('HDEL', ATTEMPTS, unpack(done))
  if redis.call('EXISTS', KEYED) == 1 then
    for _, place in ipairs(done) do
      local key = redis.call('HGET', KEYED, place)
      if key then
        redis.call('HDEL', KEYED, place)
        if ordering == 'key' then
          redis.call('ZREM', LINES, in_line(key, place))
          leave_front(key)
          advance(key)
        end
      end
    end
  end
end

local time = now()
for index = acks + 1, count do
  if scores[index] then
    local place = place_of(ARGV[2 + index])
    local is_nack = index <= acks + nacks
    if is_nack then
      redis.call('HINCRBY', ATTEMPTS, place, 1)
    end
    local delay = is_nack and tonumber(ARGV[2 + count + index - acks]) or 0
    if delay > 0 then
      redis.call('ZADD', DELAYED, time + delay, place)
    end
    local key = key_of(place, ordering)
    if key then
      leave_front(key)
      advance(key)
    elseif delay == 0 then
      show(place)
    end
  end
end
tell(before)
return stale
