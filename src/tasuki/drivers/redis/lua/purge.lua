-- Remove up to limit messages that are not held; returns how many, and how many such messages there were.
-- ARGV: limit

local limit = tonumber(ARGV[1])
local ordering = redis.call('HGET', STATE, 'ordering')
if not ordering then
  return UNDECLARED
end
local before = watch()
sweep(now(), ordering)
local waiting = redis.call('HLEN', MESSAGES) - redis.call('ZCARD', LEASES)

local places = redis.call('ZRANGE', READY, 0, limit - 1)
local known = {}
for _, place in ipairs(places) do
  known[place] = true
end
local function add(found)
  for _, place in ipairs(found) do
    if #places < limit and not known[place] then
      known[place] = true
      places[#places + 1] = place
    end
  end
end
add(redis.call('ZRANGE', DELAYED, 0, limit - 1))
if #places < limit and ordering == 'key' then
  local receipts, behind = redis.call('ZRANGE', LEASES, 0, -1), {}
  for _, receipt in ipairs(receipts) do
    known[place_of(receipt)] = true
  end
  for _, line in ipairs(redis.call('ZRANGE', LINES, 0, limit + #receipts - 1)) do
    behind[#behind + 1] = place_in(line)
  end
  add(behind)
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
return {#places, waiting}
