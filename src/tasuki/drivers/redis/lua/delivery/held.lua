-- Which of these places are held; of messages that are in LINES. Only their number lets a script take longer, and only
-- where others wait behind them.
local function held_among(places)
  local held = {}
  if #places == 0 or redis.call('EXISTS', LEASES) == 0 then
    return held
  end
  local ready, delayed = redis.call('ZMSCORE', READY, unpack(places)), redis.call('ZMSCORE', DELAYED, unpack(places))
  local all
  for index, place in ipairs(places) do
    if not ready[index] and not delayed[index] then
      if not all then
        all = {}
        for _, receipt in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
          all[place_of(receipt)] = true
        end
      end
      held[place] = all[place]
    end
  end
  return held
end
