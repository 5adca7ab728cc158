-- One step of a change of the ordering (see queue.lua).

local function key_in(line)
  return string.sub(line, 1, -19)
end

local steps = {}

function steps.leases(cursor)
  local found = redis.call('ZSCAN', LEASES, cursor, 'COUNT', PORTION)
  local places = {}
  for index = 1, #found[2], 2 do
    places[#places + 1] = place_of(found[2][index])
  end
  for first = 1, #places, CHUNK do
    convert_held({unpack(places, first, math.min(first + CHUNK - 1, #places))})
  end
  if found[1] ~= '0' then
    return 'leases', found[1]
  end
  return conversion.target == 'key' and 'keyed' or 'lines', conversion.target == 'key' and '0' or ''
end

function steps.keyed(cursor)
  local found = redis.call('HSCAN', KEYED, cursor, 'COUNT', PORTION)
  local lines, places = {}, {}
  for index = 1, #found[2], 2 do
    local line = in_line(found[2][index + 1], found[2][index])
    if redis.call('ZADD', LINES, 0, line) == 1 then
      places[#places + 1] = found[2][index]
    end
  end
  each('ZREM', READY, places)
  if found[1] ~= '0' then
    return 'keyed', found[1]
  end
  return 'fronts', ''
end

function steps.fronts(cursor)
  for _ = 1, PORTION do
    local line = redis.call('ZRANGEBYLEX', LINES, cursor == '' and '-' or '(' .. cursor .. '\1', '+', 'LIMIT', 0, 1)[1]
    if not line then
      return nil
    end
    local place = place_in(line)
    cursor = key_in(line)
    if redis.call('HEXISTS', FRONTS, cursor) == 0 and not redis.call('ZSCORE', DELAYED, place) then
      come_to_front(cursor, place)
    end
  end
  return 'fronts', cursor
end

function steps.lines()
  local places = {}
  for index, line in ipairs(redis.call('ZRANGE', LINES, 0, PORTION - 1)) do
    places[index] = place_in(line)
  end
  if #places == 0 then
    redis.call('UNLINK', FRONTS)
    return nil
  end
  local keys, delays = redis.call('HMGET', KEYED, unpack(places)), redis.call('ZMSCORE', DELAYED, unpack(places))
  for index, place in ipairs(places) do
    if keys[index] and not delays[index] then
      show(place)
    end
  end
  redis.call('ZREMRANGEBYRANK', LINES, 0, #places - 1)
  return 'lines', ''
end

local function convert()
  if not conversion then
    return
  end
  local step, cursor = steps[conversion.step](conversion.cursor)
  if step then
    conversion.step, conversion.cursor = step, cursor
    redis.call('HSET', STATE, 'conversion', conversion.target .. ':' .. step .. ':' .. cursor)
  else
    conversion = nil
    redis.call('HDEL', STATE, 'conversion')
  end
end
