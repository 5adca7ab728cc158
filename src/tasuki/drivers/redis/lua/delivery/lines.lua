-- The order per key: which message of a key is first in line, and which wait. The functions take many messages at a time,
-- because a script spends more on each call of a command than the command itself takes.

local function in_line(key, place)
  local priority = math.ceil(-place / STEP)
  return key .. '\0' .. string.format('%016d%d', place + priority * STEP, priority)
end

local function place_in(line)
  return text(string.sub(line, -17, -2) - string.sub(line, -1) * STEP)
end

local function are_lines_complete()
  return not conversion or conversion.step == 'fronts'
end

-- The answers of a command to many arguments.
local function answers(command, key, arguments)
  local found = {}
  for first = 1, #arguments, CHUNK do
    local last = math.min(first + CHUNK - 1, #arguments)
    for index, answer in ipairs(redis.call(command, key, unpack(arguments, first, last))) do
      found[first + index - 1] = answer
    end
  end
  return found
end

-- The lines of messages ('' without a key), and the score of each in LINES: false if it is not there.
local function lines_of(places, keys)
  local lines = {}
  for index, place in ipairs(places) do
    lines[index] = keys[index] and in_line(keys[index], place) or ''
  end
  return lines, answers('ZMSCORE', LINES, lines)
end

-- The keys of messages that must wait for others of their key.
local function keys_of(places, ordering)
  local keys = ordering == 'key' and answers('HMGET', KEYED, places) or {}
  if ordering == 'key' and not are_lines_complete() then
    local _, known = lines_of(places, keys)
    for index in ipairs(places) do
      keys[index] = known[index] and keys[index]
    end
  end
  return keys
end

-- These messages are the first of their keys, and no message of these keys is ready or held. They come to the front, except
-- delayed ones. Returns the keys of the delayed ones.
local function come_to_front(keys, places)
  local fronts, ready, delayed = {}, {}, {}
  local delays = answers('ZMSCORE', DELAYED, places)
  for index, place in ipairs(places) do
    if delays[index] then
      delayed[#delayed + 1] = keys[index]
    else
      fronts[#fronts + 1], fronts[#fronts + 2] = keys[index], 1
      ready[#ready + 1], ready[#ready + 2] = place, place
    end
  end
  each('HSET', FRONTS, fronts)
  make_ready(ready)
  return delayed
end

-- This many messages of each key are not ready or held any more (0: the key may have a new message). Where no message of a key
-- is ready or held now, its first in line comes to the front. If that one is delayed, all behind it wait.
local function move_on(left)
  local keys = {}
  for key in pairs(left) do
    keys[#keys + 1] = key
  end
  local counts, places, firsts, none = {}, {}, {}, {}
  for index, count in ipairs(answers('HMGET', FRONTS, keys)) do
    local key = keys[index]
    count = (count or 0) - left[key]
    if count > 0 and left[key] > 0 then
      counts[#counts + 1], counts[#counts + 2] = key, count
    elseif count <= 0 then
      local range = {'[' .. key .. '\0', '(' .. key .. '\1'}
      local line = are_lines_complete() and redis.call('ZRANGEBYLEX', LINES, range[1], range[2], 'LIMIT', 0, 1)[1]
      if line then
        firsts[#firsts + 1], places[#places + 1] = key, place_in(line)
      else
        none[#none + 1] = key
      end
    end
  end
  each('HDEL', FRONTS, none)
  each('HSET', FRONTS, counts)
  each('HDEL', FRONTS, come_to_front(firsts, places))
end

-- Remove messages from LINES. Without 'ready' all of them were ready or held.
local function leave_lines(places, keys, ready)
  local lines, known = lines_of(places, keys)
  each('ZREM', LINES, lines)
  local left = {}
  for index, key in ipairs(keys) do
    if known[index] then
      left[key] = (left[key] or 0) + ((not ready or ready[index]) and 1 or 0)
    end
  end
  move_on(left)
end

-- Put messages back to their own places in line. 'held' is 1 if they were held, 0 if they were delayed; 'are_delayed' says
-- by index which are delayed now.
local function put_back(places, keys, held, are_delayed)
  local left, ready = {}, {}
  for index, place in ipairs(places) do
    local key = keys[index]
    if key then
      left[key] = (left[key] or 0) + held
    elseif not are_delayed[index] then
      ready[#ready + 1], ready[#ready + 2] = place, place
    end
  end
  make_ready(ready)
  move_on(left)
end

-- During a conversion: these messages are held from now on.
local function convert_held(places)
  local keys = answers('HMGET', KEYED, places)
  local lines, known = lines_of(places, keys)
  if conversion.target == 'none' then
    each('ZREM', LINES, lines)
    return
  end
  local added = {}
  for index, key in ipairs(keys) do
    if key and not known[index] then
      known[index] = true
      added[#added + 1], added[#added + 2] = 0, lines[index]
      redis.call('HINCRBY', FRONTS, key, 1)
    end
  end
  each('ZADD', LINES, added)
end
