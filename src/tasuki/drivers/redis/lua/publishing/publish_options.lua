-- Continues publish.lua: messages with options, or a queue that is limited, or has a dedup window.

if ARGV[1] >= '2' then
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

if string.sub(ARGV[1], 1, 1) == '3' and count < (#ARGV - 1) / size then
  return 0
end

local before = watch()
local number = redis.call('HINCRBY', STATE, 'seq', #kept) - #kept
local messages, keyed, lines, ready, delayed, laned, keys = {}, {}, {}, {}, {}, {}, {}
local function add(list, one, other)
  list[#list + 1], list[#list + 2] = one, other
end
for index, first in ipairs(kept) do
  local content, priority, delay, key, lane = ARGV[first], 0, '0', '', ''
  if has_options then
    content, priority, delay, key = unpack(ARGV, first, first + 3)
    lane = size == 6 and ARGV[first + 5] or ''
  end
  local place = text(number + index - priority * STEP)
  add(messages, place, head .. content)
  if key ~= '' then
    add(keyed, place, key)
  end
  if lane ~= '' then
    add(laned, place, lane)
  end
  if delay ~= '0' then
    add(delayed, time + delay, place)
  end
  if key ~= '' and ordering == 'key' then
    add(lines, 0, in_line(key, place))
    keys[key] = 0
  elseif delay == '0' then
    add(ready, place, place)
  end
end
each('HSET', MESSAGES, messages)
each('HSET', KEYED, keyed)
each('ZADD', DELAYED, delayed)
each('ZADD', LINES, lines)
if has_lanes() then
  each('HSET', LANED, laned)
end
make_ready(ready)
each('ZADD', IDS, ids)
move_on(keys)
if window then
  local forgotten = math.min(redis.call('ZCOUNT', IDS, '-inf', time), PORTION + 2 * count)
  if forgotten > 0 then
    redis.call('ZREMRANGEBYRANK', IDS, 0, forgotten - 1)
  end
  redis.call('PEXPIRE', IDS, text(math.ceil(window / 1000)))
end
tell(before)
return answer(count)
