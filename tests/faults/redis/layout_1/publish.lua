-- Store messages, in order, for which there is room. Returns how many are confirmed; all after those are rejected.
-- ARGV: 0 if the messages have no options, 1 if they have, 2 if they also replace stored messages that are removed next
--   (so that they are stored at maxmemory), then of each message its content, and with options also priority, delay in
--   microseconds, key ('' for none), and 1 if it is stored although its id may be known, which it does not change

local state = redis.call('HMGET', STATE, 'most', 'ordering', 'window', 'span')
if not state[2] then
  return UNDECLARED
end
local has_options = ARGV[1] ~= '0'
local size = has_options and 5 or 1
local count = (#ARGV - 1) / size
local room = count
if state[1] ~= '' then
  room = math.max(tonumber(state[1]) - redis.call('HLEN', MESSAGES), 0)
end
local time = now()
-- A content is MessagePack; with this before it, it is the array [time of publishing, content].
local head = struct.pack('>BBd', 0x92, 0xcb, time / 1000000)

local window = tonumber(state[3])
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
  keep(state[4])
  if was_empty then  -- not tell(): no delay can have changed, and something is ready
    redis.call('PUBLISH', STATE, '')
  end
  return stored
end

if ARGV[1] == '2' then
  run_at_maxmemory()
end
-- A content is the array [id, body, headers]; its id begins behind the byte of the array.
local function id_of(content)
  return select(2, cmsgpack.unpack_one(content, 1))
end

local by_key = state[2] == 'key'
local before = watch()
local stored = 0
for index = 0, count - 1 do
  local content, priority, delay, key, is_forced = ARGV[2 + index * size], 0, '0', '', '0'
  if has_options then
    priority, delay, key, is_forced = unpack(ARGV, 3 + index * size, 6 + index * size)
  end
  local id = window and is_forced == '0' and id_of(content)
  local known = id and redis.call('ZSCORE', IDS, id)
  if not (known and tonumber(known) > time) then
    if stored == room then
      count = index
      break
    end
    stored = stored + 1
    local place = text(redis.call('HINCRBY', STATE, 'seq', 1) - priority * STEP)
    redis.call('HSET', MESSAGES, place, head .. content)
    if key ~= '' then
      redis.call('HSET', KEYED, place, key)
    end
    if delay ~= '0' then
      redis.call('ZADD', DELAYED, time + delay, place)
    end
    if key ~= '' and by_key then
      redis.call('ZADD', LINES, 0, in_line(key, place))
      advance(key)
    elseif delay == '0' then
      show(place)
    end
    if id then
      redis.call('ZADD', IDS, time + window, id)
    end
  end
end
if window then
  redis.call('ZREMRANGEBYSCORE', IDS, '-inf', time)
  redis.call('PEXPIRE', IDS, text(math.ceil(window / 1000)))
end
tell(before)
return count
