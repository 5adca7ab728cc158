-- Strays: messages that are in none of READY, DELAYED and LEASES, and behind no other message of their key either. No step of
-- ours leaves one, and another program can. A receive
-- looks for some of them every so often, a portion at a time; 'strays' in STATE says when next, and from where on.
local SEARCHED_EVERY = 30 * 1000000
local SEARCHED_AGAIN = 200000  -- where some are missing
local MOST_READ = 50  -- messages whose content is read too, which this Redis cannot leave away

-- The places of a portion of a hash, and the cursor of the next one.
local function portion_of(key, cursor, count)
  local found = redis.call('HSCAN', key, cursor, 'COUNT', count)
  local places = {}
  for index = 1, #found[2], 2 do
    places[#places + 1] = found[2][index]
  end
  return places, found[1]
end

-- The places among these that are neither ready nor delayed nor held. The held ones are read once, and only where it matters.
local held_places

local function placeless(places)
  local ready, delayed = answers('ZMSCORE', READY, places), answers('ZMSCORE', DELAYED, places)
  local left = {}
  for index, place in ipairs(places) do
    if not ready[index] and not delayed[index] then
      if not held_places then
        held_places = {}
        for _, receipt in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
          held_places[place_of(receipt)] = true
        end
      end
      if not held_places[place] then
        left[#left + 1] = place
      end
    end
  end
  return left
end

local function make_places_ready(places)
  local ready = {}
  for _, place in ipairs(places) do
    ready[#ready + 1], ready[#ready + 2] = place, place
  end
  make_ready(ready)
  return #places
end

-- Of a queue without order: all messages are in one of the three, so their numbers say whether one is missing.
local function search_plain(cursor)
  local known = redis.call('ZCARD', READY) + redis.call('ZCARD', DELAYED) + redis.call('ZCARD', LEASES)
  if redis.call('HLEN', MESSAGES) <= known then
    return 0, '0', SEARCHED_EVERY
  end
  local places, after = portion_of(MESSAGES, cursor, MOST_READ)
  return make_places_ready(placeless(places)), after, SEARCHED_AGAIN
end

-- The places of a key's messages, in their order, this many at most.
local function line_of(key, most)
  local places = {}
  for index, line in ipairs(redis.call('ZRANGEBYLEX', LINES, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, most)) do
    places[index] = place_in(line)
  end
  return places
end

-- Of a queue with order per key, its messages without a key: each is in one of the three. Their number is known, but not how
-- many of the three they are, so all messages are gone through, and then the keys again.
local function search_keyless(cursor)
  local places, after = portion_of(MESSAGES, cursor, MOST_READ)
  local missing, keyless = placeless(places), {}
  for index, key in ipairs(answers('HMGET', KEYED, missing)) do
    if not key then
      keyless[#keyless + 1] = missing[index]
    end
  end
  return make_places_ready(keyless), after == '0' and after or 'm' .. after, SEARCHED_EVERY
end

-- Of a queue with order per key: a key is stuck if it has messages, and none of them is ready, held or delayed at its front.
local function search_keyed(cursor)
  local places, after = portion_of(KEYED, cursor, PORTION)
  local waiting, firsts, key_of = placeless(places), {}, {}
  for _, key in ipairs(answers('HMGET', KEYED, waiting)) do
    local first = key and line_of(key, 1)[1]
    if first and not key_of[first] then
      firsts[#firsts + 1], key_of[first] = first, key
    end
  end
  local stuck, count = {}, 0
  for _, first in ipairs(placeless(firsts)) do
    -- A later message of a higher priority may stand before the one that is ready or held.
    local key = key_of[first]
    local line = line_of(key, PORTION)
    if #placeless(line) == #line then
      stuck[key], count = 0, count + 1
      redis.call('HDEL', FRONTS, key)
    end
  end
  move_on(stuck)
  if after == '0' and redis.call('HLEN', MESSAGES) > redis.call('HLEN', KEYED) then
    after = 'm0'
  end
  return count, after, SEARCHED_EVERY
end

-- Returns how many messages are ready for it.
local function search_strays(time, ordering, cursor)
  if conversion or limits and gate().laning then
    return 0
  end
  local found, after, wait
  local from, keyless = string.gsub(cursor, 'm', '')
  if ordering == 'key' and keyless > 0 then
    found, after, wait = search_keyless(from)
  elseif ordering == 'key' then
    found, after, wait = search_keyed(from)
  else
    found, after, wait = search_plain(from)
  end
  redis.call('HSET', STATE, 'strays', text(time + wait) .. ' ' .. after)
  return found
end
