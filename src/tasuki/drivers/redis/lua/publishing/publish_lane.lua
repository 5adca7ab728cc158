-- Continues publish.lua: one message, without delay and key, in a queue with lanes that has no limit as a whole. A lane that
-- must wait is for publish_options.lua.
local fair = limits and count == 1 and room > 0 and not window and ordering == 'none' and not conversion and ARGV[1] < '2'
  and tonumber(string.match(limits, '^(%d+) %- %- %- ')) or 0
if fair > 0 and (not has_options or ARGV[4] == '0' and ARGV[5] == '') then
  local lane = size == 6 and ARGV[7] or ''
  local is_in_turn = redis.call('ZSCORE', TURN, lane)
  if is_in_turn or not redis.call('ZSCORE', PARK, lane) then
    local priority = has_options and tonumber(ARGV[3]) or 0
    local place = text(redis.call('HINCRBY', STATE, 'seq', 1) - priority * STEP)
    redis.call('HSET', MESSAGES, place, head .. ARGV[2])
    if lane ~= '' then
      redis.call('HSET', LANED, place, lane)
    end
    redis.call('ZADD', READY, place, place)
    redis.call('ZADD', LANES, 0, in_lane(lane, place))
    if not is_in_turn then
      redis.call('ZADD', TURN, exact(last_in(new_turn(fair)) + NEXT), lane)
    end
    keep(span)
    wake(1)
    return answer(1)
  end
end
