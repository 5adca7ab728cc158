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
  convert_held(places)
  if found[1] ~= '0' then
    return 'leases', found[1]
  end
  return conversion.target == 'key' and 'keyed' or 'lines', conversion.target == 'key' and '0' or ''
end

function steps.keyed(cursor)
  local found = redis.call('HSCAN', KEYED, cursor, 'COUNT', PORTION)
  local places, keys, added, moved = {}, {}, {}, {}
  for index = 1, #found[2], 2 do
    places[#places + 1], keys[#keys + 1] = found[2][index], found[2][index + 1]
  end
  local lines, known = lines_of(places, keys)
  for index, line in ipairs(lines) do
    if not known[index] then
      added[#added + 1], added[#added + 2] = 0, line
      moved[#moved + 1] = places[index]
    end
  end
  each('ZADD', LINES, added)
  unready(moved)
  if found[1] ~= '0' then
    return 'keyed', found[1]
  end
  return 'fronts', ''
end

function steps.fronts(cursor)
  local keys, places = {}, {}
  while #keys < PORTION do
    local line = redis.call('ZRANGEBYLEX', LINES, cursor == '' and '-' or '(' .. cursor .. '\1', '+', 'LIMIT', 0, 1)[1]
    if not line then
      break
    end
    cursor = key_in(line)
    keys[#keys + 1], places[#places + 1] = cursor, place_in(line)
  end
  local free, firsts = {}, {}
  for index, count in ipairs(answers('HMGET', FRONTS, keys)) do
    if not count then
      free[#free + 1], firsts[#firsts + 1] = keys[index], places[index]
    end
  end
  come_to_front(free, firsts)
  if #keys == PORTION then
    return 'fronts', cursor
  end
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
  local ready = {}
  for index, place in ipairs(places) do
    if keys[index] and not delays[index] then
      ready[#ready + 1], ready[#ready + 2] = place, place
    end
  end
  make_ready(ready)
  redis.call('ZREMRANGEBYRANK', LINES, 0, #places - 1)
  return 'lines', ''
end

local function convert()
  if limits and gate().laning then
    convert_lanes()
  end
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
