-- The same of any settlements. Each part removes before it adds: so it is not refused when the memory is full.

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
  elseif not key and not are_lines_complete() then
    convert_held({place})
  end
  return true
end

local before = watch()
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
    local keys = redis.call('HMGET', KEYED, unpack(done))
    redis.call('HDEL', KEYED, unpack(done))
    for index, place in ipairs(done) do
      local key = ordering == 'key' and keys[index]
      if key and redis.call('ZREM', LINES, in_line(key, place)) == 1 then
        move_on(key)
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
    local delay = tonumber(ARGV[2 + count + index - acks])
    if delay > 0 then
      redis.call('ZADD', DELAYED, time + delay, place)
    end
    local key = key_of(place, ordering)
    if key then
      move_on(key)
    elseif delay == 0 then
      show(place)
    end
  end
end
tell(before)
return stale
