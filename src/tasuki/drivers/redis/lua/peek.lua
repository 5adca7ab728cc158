-- Returns places and contents of waiting messages: receivable ones in order, those behind their key, delayed ones.
-- ARGV: limit, how many to skip

local limit, skip = tonumber(ARGV[1]), tonumber(ARGV[2])
local ordering = redis.call('HGET', STATE, 'ordering')
if not ordering then
  return UNDECLARED
end
local before = watch()
sweep(now(), ordering)
tell(before)

local places = {}
local function add(found)
  for _, place in ipairs(found) do
    places[#places + 1] = place
  end
end

add(redis.call('ZRANGE', READY, skip, skip + limit - 1))
skip = math.max(skip - redis.call('ZCARD', READY), 0)
if #places < limit and ordering == 'key' then
  local held = {}
  for _, receipt in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    held[place_of(receipt)] = true
  end
  local first = 0
  repeat
    local lines = redis.call('ZRANGE', LINES, first, first + CHUNK - 1)
    first = first + CHUNK
    for _, line in ipairs(lines) do
      local place = place_in(line)
      local is_behind = not held[place] and not redis.call('ZSCORE', READY, place)
      if is_behind and #places < limit and not redis.call('ZSCORE', DELAYED, place) then
        if skip > 0 then
          skip = skip - 1
        else
          places[#places + 1] = place
        end
      end
    end
  until #lines == 0 or #places == limit
end
if #places < limit then
  add(redis.call('ZRANGE', DELAYED, skip, skip + limit - #places - 1))
end
if #places == 0 then
  return {{}, {}}
end
return {places, redis.call('HMGET', MESSAGES, unpack(places))}
