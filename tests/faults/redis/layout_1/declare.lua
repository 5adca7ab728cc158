-- Make the queue exist with these options; a change of the ordering puts all waiting messages in line again.
-- ARGV: lease in microseconds, max_length or '', ordering, dedup_window in microseconds or '', milliseconds for which a
--   temporary queue is kept without use or ''

local lease, most, ordering, window, span = unpack(ARGV)
run_at_maxmemory()
local before = watch()
local was, had_span = unpack(redis.call('HMGET', STATE, 'ordering', 'span'))
-- A queue that is made anew (after its options were deleted, say) must not give numbers a second time.
redis.call('HSETNX', STATE, 'seq', text(math.floor(now() / 1000)))
redis.call('HSET', STATE, 'lease', lease, 'most', most, 'ordering', ordering, 'window', window, 'span', span)
if window == '' then
  redis.call('DEL', IDS)
end
if span ~= '' then
  keep(span)
elseif had_span and had_span ~= '' then
  for index = 1, #KEYS - 2 do
    redis.call('PERSIST', KEYS[index])
  end
end
if not was or was == ordering then
  return 0
end

local held = {}
for _, receipt in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  held[place_of(receipt)] = true
end
local keyed = redis.call('HGETALL', KEYED)
redis.call('DEL', LINES, FRONTS)
local keys = {}
for index = 1, #keyed, 2 do
  local place, key = keyed[index], keyed[index + 1]
  if ordering == 'key' then
    redis.call('ZADD', LINES, 0, in_line(key, place))
    redis.call('ZREM', READY, place)
    if held[place] then
      redis.call('HINCRBY', FRONTS, key, 1)
    end
    keys[key] = true
  elseif not held[place] and not redis.call('ZSCORE', DELAYED, place) then
    show(place)
  end
end
for key in pairs(keys) do
  advance(key)
end
tell(before)
return 1
