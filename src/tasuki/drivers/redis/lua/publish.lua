-- Store messages, in order, for which there is room. Returns how many are stored; all after those are rejected. With
-- a list the publisher must wait before it confirms them: how many, 1 for the log on the disk or 0, and how many replicas.
-- ARGV: 0 if the messages have no options, 1 if they have, 2 if they also replace stored messages that are removed next
--   (so that they are stored at maxmemory), then of each message its content, and with options also priority, delay in
--   microseconds, key ('' for none), and 1 if it is stored although its id may be known, which it does not change

local ordering, most, window, span, wait = queue_state('most', 'window', 'span', 'wait')
if not ordering then
  return UNDECLARED
end
local function answer(stored)
  local fsync, replicas = string.match(wait or '', '^(%d+) (%d+)$')
  return fsync and {stored, tonumber(fsync), tonumber(replicas)} or stored
end
local has_options = ARGV[1] ~= '0'
local size = has_options and 5 or 1
local count = (#ARGV - 1) / size
local room = count
if most ~= '' then
  room = math.max(tonumber(most) - redis.call('HLEN', MESSAGES), 0)
end
local time = now()
-- A content is MessagePack; with this before it, it is the array [time of publishing, content].
local head = struct.pack('>BBd', 0x92, 0xcb, time / 1000000)

window = tonumber(window)
if not has_options and not window then
  local stored = math.min(count, room)
  if stored == 0 then
    return 0
  end
  local was_empty = redis.call('EXISTS', READY) == 0
  local number = redis.call('HINCRBY', STATE, 'seq', stored) - stored
  local messages, places = {}, {}
  for index = 1, stored do
    local place = text(number + index)
    messages[2 * index - 1], messages[2 * index] = place, head .. ARGV[index + 1]
    places[2 * index - 1], places[2 * index] = place, place
  end
  each('HSET', MESSAGES, messages)
  each('ZADD', READY, places)
  keep(span)
  if wake(stored) < stored and was_empty then  -- not tell(): no delay can have changed
    tell_all()
  end
  return answer(stored)
end

if ARGV[1] == '2' then
  run_at_maxmemory()
end
-- A content is the array [id, body, headers]; its id begins behind the byte of the array.
local function id_of(content)
  return select(2, cmsgpack.unpack_one(content, 1))
end

-- Which are stored: all for which there is room, but those whose id is known.
local kept, ids, seen = {}, {}, {}
for index = 0, count - 1 do
  local first = 2 + index * size
  local id = window and (not has_options or ARGV[first + 4] == '0') and id_of(ARGV[first])
  local known = id and (seen[id] or tonumber(redis.call('ZSCORE', IDS, id) or 0) > time)
  if not known then
    if #kept == room then
      count = index
      break
    end
    kept[#kept + 1] = first
    if id then
      seen[id] = true
      ids[#ids + 1], ids[#ids + 2] = time + window, id
    end
  end
end

local before = watch()
local number = redis.call('HINCRBY', STATE, 'seq', #kept) - #kept
local messages, keyed, lines, ready, delayed, keys = {}, {}, {}, {}, {}, {}
local function add(list, one, other)
  list[#list + 1], list[#list + 2] = one, other
end
for index, first in ipairs(kept) do
  local content, priority, delay, key = ARGV[first], 0, '0', ''
  if has_options then
    content, priority, delay, key = unpack(ARGV, first, first + 3)
  end
  local place = text(number + index - priority * STEP)
  add(messages, place, head .. content)
  if key ~= '' then
    add(keyed, place, key)
  end
  if delay ~= '0' then
    add(delayed, time + delay, place)
  end
  if key ~= '' and ordering == 'key' then
    add(lines, 0, in_line(key, place))
    keys[key] = true
  elseif delay == '0' then
    add(ready, place, place)
  end
end
each('HSET', MESSAGES, messages)
each('HSET', KEYED, keyed)
each('ZADD', DELAYED, delayed)
each('ZADD', LINES, lines)
each('ZADD', READY, ready)
each('ZADD', IDS, ids)
for key in pairs(keys) do
  advance(key)
end
if window then
  local forgotten = math.min(redis.call('ZCOUNT', IDS, '-inf', time), PORTION + 2 * count)
  if forgotten > 0 then
    redis.call('ZREMRANGEBYRANK', IDS, 0, forgotten - 1)
  end
  redis.call('PEXPIRE', IDS, text(math.ceil(window / 1000)))
end
tell(before)
return answer(count)
