-- Continues settle.lua: any settlements. Each part removes before it adds, so it is not refused when the memory is full.

-- Take a message back whose lease has ended, unless it was handed out again: whether it was its delivery's.
local function take_back(receipt)
  local place, token = string.match(receipt, '^([^:]+)(:.*)$')
  if not place then
    return false
  end
  local failures, _, _, last = parts_of(redis.call('HGET', ATTEMPTS, place))
  if last == token .. ':r' then
    remember({place}, {text(failures) .. 'sr'})
  elseif last ~= token then
    return false
  end
  local was_shown = unready({place}) == 1
  local key = keys_of({place}, ordering)[1]
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

local done, places, delayed, are_delayed, are_nacks, errors, ended, released = {}, {}, {}, {}, {}, {}, {}, {}
local time = now()
for index = 1, count do
  local place = scores[index] and place_of(ARGV[2 + index])
  ended[#ended + 1] = place or nil
  if place and index <= acks then
    done[#done + 1] = place
  elseif place then
    places[#places + 1] = place
    are_nacks[#places] = index <= acks + nacks
    local delay, failure = string.match(ARGV[2 + count + index - acks], '^(%d+)(.*)$')
    if failure ~= '' then
      errors[#errors + 1], errors[#errors + 2] = place, text(time) .. failure
    end
    delay = tonumber(delay)
    if delay > 0 then
      are_delayed[#places] = true
      delayed[#delayed + 1], delayed[#delayed + 2] = time + delay, place
    elseif not are_nacks[#places] then
      released[#released + 1] = place
    end
  end
end

free(ended)
give_back(released)
each('HDEL', MESSAGES, done)
if redis.call('EXISTS', ATTEMPTS) == 1 then
  each('HDEL', ATTEMPTS, done)
  each('HDEL', ERRORS, done)
end
if #done > 0 and redis.call('EXISTS', KEYED) == 1 then
  local keys = answers('HMGET', KEYED, done)
  each('HDEL', KEYED, done)
  if ordering == 'key' then
    leave_lines(done, keys)
  end
end
if limits then
  each('HDEL', LANED, done)
end

local histories = {}
for index, found in ipairs(answers('HMGET', ATTEMPTS, places)) do
  local failures, suspect, is_started = parts_of(found)
  if are_nacks[index] then
    histories[index] = text(is_started and failures or failures + 1)
  elseif found then
    histories[index] = text(is_started and failures - 1 or failures) .. suspect
  end
end
remember(places, histories)
each('HSET', ERRORS, errors)
each('ZADD', DELAYED, delayed)
put_back(places, keys_of(places, ordering), 1, are_delayed)
tell(before)
return stale
