-- Store messages of which some are unique by a key, in order, one by one. Returns a list of answers, one for each message
-- up to the first for which there is no room: '' if it is stored, else k, r or x (kept, replaced, extended) and the id of
-- the message that has the key. Behind it, if a publisher must wait before it confirms them: what publish.lua returns.
-- ARGV: of each message its content, priority, delay in microseconds, key ('' for none), 1 if it is stored although its id
--   may be known, the unique key ('' for none), the microseconds of its window or pending or running, keep, replace or
--   extend, the microseconds from the first message on within which extend keeps, and its lane
--
-- A field of UNIQUES is the place of the message that was stored last for the key, the end of its window or 0, and its id. Where
-- that message is now says whether it has the key: so no other script has to change the field. The first write adds:
-- a server at maxmemory refuses the script.

local SIZE = 10
local CHECKED = 3  -- fields for each stored message that are checked, to remove those that mean nothing any more

local ordering, most, window, span, wait = queue_state('most', 'window', 'span', 'wait')
if not ordering then
  return {err = UNDECLARED}
end
window = tonumber(window)
local time, before = now(), watch()
local room = most ~= '' and math.max(tonumber(most) - redis.call('HLEN', MESSAGES), 0) or math.huge
local head = struct.pack('>BBd', 0x92, 0xcb, time / 1000000)

-- A content is the array [id, body, headers]; its id begins behind the byte of the array.
local function id_of(content)
  return select(2, cmsgpack.unpack_one(content, 1))
end

-- The message of a key: its place, the end of the window, its id, and its content (false: it is gone).
local function found_for(key)
  local place, ends, id = string.match(redis.call('HGET', UNIQUES, key) or '', '^(%-?%d+) (%d+) (.*)$')
  if place then
    return place, tonumber(ends), id, redis.call('HGET', MESSAGES, place)
  end
end

-- Whether a message is held. Without order per key, a message is held that is neither ready nor delayed.
local function is_held(place)
  if redis.call('ZSCORE', READY, place) or redis.call('ZSCORE', DELAYED, place) then
    return false
  end
  return ordering ~= 'key' and not conversion or held_among({place})[place] or false
end

local function is_known(id)
  return window and tonumber(redis.call('ZSCORE', IDS, id) or 0) > time
end

local function remember_id(id)
  if window then
    redis.call('ZADD', IDS, time + window, id)
  end
end

-- Put the new message at the place of another one that waits, without a history.
local function replace(place, old, content)
  redis.call('HSET', MESSAGES, place, string.sub(old, 1, 10) .. content)
  redis.call('HDEL', ATTEMPTS, place)
  redis.call('HDEL', ERRORS, place)
end

-- Hide a message until another time, or show it.
local function hide(place, due)
  local keys = keys_of({place}, ordering)
  local was_delayed = redis.call('ZREM', DELAYED, place) == 1
  local was_ready = unready({place}) == 1
  if due > time then
    redis.call('ZADD', DELAYED, text(due), place)
  end
  if was_ready or was_delayed then
    put_back({place}, keys, was_ready and 1 or 0, {due > time})
  end
end

local function store(content, priority, delay, key, lane)
  local place = text(redis.call('HINCRBY', STATE, 'seq', 1) - priority * STEP)
  redis.call('HSET', MESSAGES, place, head .. content)
  if key ~= '' then
    redis.call('HSET', KEYED, place, key)
  end
  if lane ~= '' and has_lanes() then
    redis.call('HSET', LANED, place, lane)
  end
  if delay ~= '0' then
    redis.call('ZADD', DELAYED, text(time + delay), place)
  end
  if key ~= '' and ordering == 'key' then
    redis.call('ZADD', LINES, 0, in_line(key, place))
    move_on({[key] = 0})
  elseif delay == '0' then
    make_ready({place, place})
  end
  return place
end

-- The answer where another message has the key; nil: there is none. Second: whether the new message takes its place.
local function merge(key, length, act)
  local place, ends, id, old = found_for(key)
  if not place then
    return nil
  end
  local waits = old and not is_held(place)
  local has_key
  if length == 'pending' then
    has_key = waits
  elseif length == 'running' then
    has_key = old
  else
    has_key = ends > time
  end
  if not has_key then
    return nil
  end
  return (act == 'keep' or not waits) and 'k' .. id or (act == 'replace' and 'r' or 'x') .. id, place, old
end

local answers, stored = {}, 0
for first = 1, #ARGV, SIZE do
  local content, priority, delay, key, forced, unique, length, act, latest, lane = unpack(ARGV, first, first + SIZE - 1)
  local id = id_of(content)
  local answer, place, old
  if unique ~= '' then
    answer, place, old = merge(unique, length, act)
  end
  if not answer or string.sub(answer, 1, 1) ~= 'k' then
    if forced == '0' and is_known(id) then
      answer = ''
    elseif answer then
      replace(place, old, content)
      if act == 'extend' then
        local _, since = pcall(struct.unpack, '>d', string.sub(old, 3, 10))
        hide(place, math.ceil(math.min(time + delay, (tonumber(since) or 0) * 1000000 + latest)))
      end
      local ends = string.match(redis.call('HGET', UNIQUES, unique), '^%S+ (%d+)')
      redis.call('HSET', UNIQUES, unique, place .. ' ' .. ends .. ' ' .. id)
      remember_id(id)
    elseif room > 0 then
      place = store(content, priority, delay, key, lane)
      room, stored = room - 1, stored + 1
      if forced == '0' then
        remember_id(id)
      end
      if unique ~= '' then
        redis.call('HSET', UNIQUES, unique, place .. ' ' .. text(time + (tonumber(length) or -time)) .. ' ' .. id)
      end
      answer = ''
    else
      break
    end
  end
  answers[#answers + 1] = answer
end

if stored > 0 and redis.call('EXISTS', UNIQUES) == 1 then
  local some = redis.call('HRANDFIELD', UNIQUES, stored * CHECKED, 'WITHVALUES')
  for index = 1, #some, 2 do
    local place, ends = string.match(some[index + 1], '^(%-?%d+) (%d+)')
    if not place or tonumber(ends) <= time and redis.call('HEXISTS', MESSAGES, place) == 0 then
      redis.call('HDEL', UNIQUES, some[index])
    end
  end
end
if window then
  local forgotten = math.min(redis.call('ZCOUNT', IDS, '-inf', time), PORTION)
  if forgotten > 0 then
    redis.call('ZREMRANGEBYRANK', IDS, 0, forgotten - 1)
  end
  redis.call('PEXPIRE', IDS, text(math.ceil(window / 1000)))
end
tell(before)
if not wait or wait == '' then
  return {answers}
end
local fsync, replicas = string.match(wait, '^(%d+) (%d+)$')
return {answers, tonumber(fsync), tonumber(replicas)}
