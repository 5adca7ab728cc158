-- Remove up to limit messages that are not held and were published before a purge began. Returns how many, and the number
-- of the last message that was published when the purge began.
-- ARGV: limit, that number or '' if it begins now

local limit = tonumber(ARGV[1])
local ordering, seq = unpack(redis.call('HMGET', STATE, 'ordering', 'seq'))
if not ordering then
  return UNDECLARED
end
local newest = tonumber(ARGV[2]) or tonumber(seq)
local before = watch()
sweep(now(), ordering)

local places, known = {}, {}
local function add(place)
  if #places < limit and not known[place] and place + math.ceil(-place / STEP) * STEP <= newest then
    known[place] = true
    places[#places + 1] = place
  end
end
for priority = 0, 9 do
  local first, last = '(' .. text(-priority * STEP), text(newest - priority * STEP)
  local found = redis.call('ZRANGEBYSCORE', READY, first, last, 'LIMIT', 0, limit - #places)
  for _, place in ipairs(found) do
    add(place)
  end
end
-- These are in another order: newer messages may stand before older ones.
local function add_from(key, place_of_member)
  local first = 0
  repeat
    local found = #places < limit and redis.call('ZRANGE', key, first, first + CHUNK - 1) or {}
    first = first + CHUNK
    for _, member in ipairs(found) do
      add(place_of_member(member))
    end
  until #found == 0
end
add_from(DELAYED, function(place) return place end)
if #places < limit and ordering == 'key' then
  for _, receipt in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    known[place_of(receipt)] = true
  end
  add_from(LINES, place_in)
end

local keys = {}
if redis.call('EXISTS', KEYED) == 1 then
  for _, place in ipairs(places) do
    local key = redis.call('HGET', KEYED, place)
    if key and ordering == 'key' then
      redis.call('ZREM', LINES, in_line(key, place))
      if redis.call('ZSCORE', READY, place) then
        leave_front(key)
      end
      keys[key] = true
    end
  end
end
each('ZREM', READY, places)
each('ZREM', DELAYED, places)
each('HDEL', MESSAGES, places)
each('HDEL', ATTEMPTS, places)
each('HDEL', KEYED, places)
for key in pairs(keys) do
  advance(key)
end
tell(before)
return {#places, text(newest)}
