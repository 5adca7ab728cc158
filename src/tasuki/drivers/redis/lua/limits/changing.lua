-- A declaration with other limits.

-- What LANES holds: nothing, the ready messages of lanes, or the held ones as well.
local function shape_of(words)
  local fair, places = string.match(words or '', '^(%d+) .* (%S+)$')
  if not fair or fair == '0' then
    return ''
  end
  return places == '-' and 'ready' or 'held'
end

-- Begin to put all messages into lanes again, or forget the lanes. Returns whether there is something to do.
local function change_lanes(shape)
  redis.call('UNLINK', LANES, TURN, PARK)
  if shape == '' then
    redis.call('UNLINK', LANED)
  end
  if shape == '' or redis.call('EXISTS', READY, LEASES) == 0 then
    redis.call('HDEL', STATE, 'laning')
    return false
  end
  redis.call('HSET', STATE, 'laning', first_step(shape == 'held'))
  return true
end

-- Count tokens at another rate from now on. Returns whether there is one.
local function change_pace(field, rate)
  local pace, time = redis.call('HGET', STATE, field), now()
  if not rate or rate == '-' then
    redis.call('HDEL', STATE, field)
    return false
  end
  if rate ~= string.match(pace or '', '^%S+') then
    redis.call('HSET', STATE, field, rate .. ' ' .. text(time) .. ' ' .. exact(reached(pace, time)))
  end
  return true
end

-- 'is_order_new': all messages go into lanes again. Returns whether a change of the lanes goes on.
local function change_limits(words, is_order_new)
  local shape, before = shape_of(words), shape_of(limits)
  local rate, lane_rate = string.match(words, '^%S+ (%S+) %S+ %S+ (%S+)')
  redis.call('HSET', STATE, 'limits', words)
  local is_laning = redis.call('HEXISTS', STATE, 'laning') == 1
  if shape ~= before or is_order_new then
    is_laning = change_lanes(shape)
  elseif shape ~= '' then
    -- Parked lanes are looked at again; inf * 0 is 0 there. Turns are as far apart as the larger share allows: after another
    -- one all have the same turn.
    redis.call('ZUNIONSTORE', PARK, 1, PARK, 'WEIGHTS', 0)
    if string.match(words, '^%d+') ~= string.match(limits, '^%d+') then
      redis.call('ZUNIONSTORE', TURN, 1, TURN, 'WEIGHTS', 0)
    end
  end
  limits = words ~= '' and words or nil
  if not change_pace('pace', rate) then
    redis.call('HDEL', STATE, 'mark')
  end
  if not change_pace('lane_pace', lane_rate) then
    redis.call('UNLINK', MARKS)
  elseif redis.call('EXISTS', MARKS) == 1 then
    expire_marks()
  end
  wake(redis.call('ZCARD', READY))
  return is_laning
end
