-- Continues receive.lua: one message of the lane whose turn it is, where nothing is due, neither the queue nor its lanes have a
-- rate, and the queue has no places.
local fair, places = string.match(limits or '', '^(%d+) %- %- %- %- %- (%S+)$')

-- Returns the script's answer, or nil where it is not as simple.
local function take_one()
  local lane, turn = unpack(redis.call('ZRANGE', TURN, 0, 0, 'WITHSCORES'))
  local free = lane and (places == '-' and math.huge or places - held_in(lane)) or 0
  local first, second = unpack(free > 0 and first_of(lane, 2) or {})
  local place = first and place_in_lane(first)
  local content = place and redis.call('HGET', MESSAGES, place)
  if not content or redis.call('ZREM', READY, place) == 0 then  -- another program, or version, has been there
    return nil
  end
  redis.call('ZREM', LANES, first)
  if places ~= '-' then
    redis.call('ZADD', LANES, 0, in_lane(lane, place, true))
  end
  if second and free > 1 then
    redis.call('ZADD', TURN, exact(last_in(math.floor(turn) + 1) + NEXT), lane)
  else
    redis.call('ZREM', TURN, lane)
    if second then
      redis.call('ZADD', PARK, '+inf', lane)
    end
  end
  redis.call('ZADD', LEASES, ends, place .. ':' .. token)
  return {{place}, {content}, histories_of({place}), redis.call('EXISTS', TURN), -1}
end

if limit == 1 and most > 0 and fair and fair ~= '0' and not conversion and not laning
  and redis.call('ZCOUNT', LEASES, '-inf', silent) + redis.call('ZCOUNT', DELAYED, '-inf', time)
  + redis.call('ZCOUNT', PARK, '-inf', time) == 0 then
  answer = take_one()
  if answer then
    local waits = mode == '2' and answer[4] == 0
    has_waited = mode ~= '0' and not waits and redis.call('ZREM', WAITING, owner) == 1
    if not waits and not has_waited and redis.call('EXISTS', WAITING) == 0 then
      keep(span)
      return answer
    end
  end
end
