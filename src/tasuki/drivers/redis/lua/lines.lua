-- The order per key: who is first in line, and who waits.

local function in_line(key, place)
  local priority = math.ceil(-place / STEP)
  return key .. '\0' .. string.format('%016d%d', place + priority * STEP, priority)
end

local function place_in(line)
  return text(string.sub(line, -17, -2) - string.sub(line, -1) * STEP)
end

local function show(place)
  redis.call('ZADD', READY, place, place)
end

local function are_lines_complete()
  return not conversion or conversion.step == 'fronts'
end

-- The message of a key that is first in line, unless it is delayed: then all behind it wait.
local function first_of(key)
  local first = redis.call('ZRANGEBYLEX', LINES, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)[1]
  return first and not redis.call('ZSCORE', DELAYED, place_in(first)) and place_in(first)
end

local function come_to_front(key, place)
  redis.call('HSET', FRONTS, key, 1)
  show(place)
end

-- If no message of the key is ready or held, its first one comes to the front.
local function advance(key)
  local first = are_lines_complete() and redis.call('HEXISTS', FRONTS, key) == 0 and first_of(key)
  if first then
    come_to_front(key, first)
  end
end

local function leave_front(key)
  if redis.call('HINCRBY', FRONTS, key, -1) <= 0 then
    redis.call('HDEL', FRONTS, key)
  end
end

-- Both, in fewer calls.
local function move_on(key)
  if redis.call('HINCRBY', FRONTS, key, -1) > 0 then
    return
  end
  local first = are_lines_complete() and first_of(key)
  if first then
    come_to_front(key, first)
  else
    redis.call('HDEL', FRONTS, key)
  end
end

-- The key of a message, if it must wait for others of its key.
local function key_of(place, ordering)
  local key = ordering == 'key' and redis.call('HGET', KEYED, place)
  if key and not are_lines_complete() and not redis.call('ZSCORE', LINES, in_line(key, place)) then
    return false
  end
  return key
end

-- During a conversion: these messages are held from now on.
local function convert_held(places)
  local keys = redis.call('HMGET', KEYED, unpack(places))
  for index, place in ipairs(places) do
    local key = keys[index]
    if key and conversion.target == 'none' then
      redis.call('ZREM', LINES, in_line(key, place))
    elseif key and redis.call('ZADD', LINES, 0, in_line(key, place)) == 1 then
      redis.call('HINCRBY', FRONTS, key, 1)
    end
  end
end
