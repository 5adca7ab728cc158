-- Back to its own place in line, from being held.
local function put_back(place, ordering)
  local key = key_of(place, ordering)
  if key then
    move_on(key)
  else
    show(place)
  end
end

-- The delivery of a receipt, held no longer, ended without a settlement.
local function lose(place, ordering, token)
  local failures, _, is_started = history(place)
  remember(place, failures, 's' .. token .. (is_started and token ~= '' and ':r' or ''))
  put_back(place, ordering)
end

-- What the passing of time has done: leases that ended, delays that are over.
local function sweep(time, ordering)
  local lost = redis.call('ZRANGEBYSCORE', LEASES, '-inf', time, 'LIMIT', 0, PORTION)
  if #lost > 0 then
    redis.call('ZREM', LEASES, unpack(lost))
    for _, receipt in ipairs(lost) do
      lose(place_of(receipt), ordering, string.match(receipt, ':.*$'))
    end
  end
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', time, 'LIMIT', 0, PORTION)
  if #due > 0 then
    redis.call('ZREM', DELAYED, unpack(due))
    for _, place in ipairs(due) do
      local key = key_of(place, ordering)
      if key then
        advance(key)
      else
        show(place)
      end
    end
  end
  return #lost + #due
end
