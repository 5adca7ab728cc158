-- End deliveries. Returns the numbers, from 1, of the receipts that were stale.
-- ARGV: number of acks, number of nacks, the receipts of acks, nacks and releases, the delays of the nacks in microseconds
-- Each part removes before it adds: so it is not refused when the memory is full.

local acks, nacks = tonumber(ARGV[1]), tonumber(ARGV[2])
local count = #ARGV - 2 - nacks
if count == 0 then
  return {}
end
local ordering = redis.call('HGET', STATE, 'ordering')

-- Take a message back whose lease has ended, unless it was handed out again: whether it was its delivery's.
local function take_back(receipt)
  local place, token = string.match(receipt, '^([^:]+)(:.*)$')
  if not place then
    return false
  end
  local failures, _, _, last = history(place)
  if last == token .. ':r' then
    remember(place, failures, 'sr')
  elseif last ~= token then
    return false
  end
  local was_shown = redis.call('ZREM', READY, place) == 1
  local key = key_of(place, ordering)
  if key and not was_shown then
    redis.call('HINCRBY', FRONTS, key, 1)
  end
  return true
end

local before = watch()
local scores = redis.call('ZMSCORE', LEASES, unpack(ARGV, 3, 2 + count))
local stale, live = {}, {}
for index = 1, count do
  scores[index] = scores[index] or take_back(ARGV[2 + index])
  if scores[index] then
    live[#live + 1] = ARGV[2 + index]
  else
    stale[#stale + 1] = index
  end
end
if #live == 0 then
  return stale
end
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
local has_histories = redis.call('EXISTS', ATTEMPTS) == 1
for index = acks + 1, count do
  if scores[index] then
    local place = place_of(ARGV[2 + index])
    local is_nack = index <= acks + nacks
    if is_nack or has_histories then
      local failures, suspect, is_started = history(place)
      if is_nack then
        remember(place, is_started and failures or failures + 1, '')
      else
        remember(place, is_started and failures - 1 or failures, suspect)
      end
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
