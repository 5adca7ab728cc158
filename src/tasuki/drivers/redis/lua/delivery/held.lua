-- Which of these places are held; of messages that are in LINES. Only the number of held messages lets a script take longer,
-- and only where others wait behind them: the server searches them for a few places, and a script reads them once for many.
local SEARCHED = 8
local searches, all = 0, nil

local function is_leased(place)
  local cursor = '0'
  repeat
    local found = redis.call('ZSCAN', LEASES, cursor, 'MATCH', place .. ':*', 'COUNT', 100000)
    if #found[2] > 0 then
      return true
    end
    cursor = found[1]
  until cursor == '0'
end

local function read_leases()
  all = {}
  for _, receipt in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    all[place_of(receipt)] = true
  end
end

local function held_among(places)
  local held = {}
  if #places == 0 or redis.call('EXISTS', LEASES) == 0 then
    return held
  end
  local ready, delayed = redis.call('ZMSCORE', READY, unpack(places)), redis.call('ZMSCORE', DELAYED, unpack(places))
  local asked = {}
  for index, place in ipairs(places) do
    if not ready[index] and not delayed[index] then
      asked[#asked + 1] = place
    end
  end
  searches = searches + #asked
  if searches > SEARCHED and not all then
    read_leases()
  end
  for _, place in ipairs(asked) do
    if all then
      held[place] = all[place]
    else
      held[place] = is_leased(place)
    end
  end
  return held
end
