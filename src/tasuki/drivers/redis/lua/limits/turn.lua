-- Lanes. The messages of a lane are a part of LANES, in their order: lane \0 number, where small numbers come first; and
-- lane \0 h number, those that are held, if that has a limit. READY has all that are ready, as in any queue.
--
-- A lane with a ready message is in PARK, by the time at which it can be served (inf: when a place is free), or it is in
-- TURN. Its score there is its turn, a whole number that grows with each of its messages, and a fraction, by which lanes
-- of one turn come in the order in which they came to it: the smallest is served.
--
-- These functions are few, for the scripts of one message; lanes.lua has the others.
local NEXT = 2 ^ -20

-- Not text: a count has fractions.
local function exact(number)
  return string.format('%.17g', number)
end

local function in_lane(lane, place, held)
  local priority = math.ceil(-place / STEP)
  return lane .. '\0' .. (held and 'h' or '') .. string.format('%d%016d', 9 - priority, place + priority * STEP)
end

local function place_in_lane(member)
  return text(string.sub(member, -16) - (9 - string.sub(member, -17, -17)) * STEP)
end

-- The first ready messages of a lane.
local function first_of(lane, count)
  return redis.call('ZRANGEBYLEX', LANES, '[' .. lane .. '\0', '(' .. lane .. '\0h', 'LIMIT', 0, count)
end

local function held_in(lane)
  return redis.call('ZLEXCOUNT', LANES, '[' .. lane .. '\0h', '(' .. lane .. '\1')
end

-- The highest score in a turn.
local function last_in(turn)
  return redis.call('ZREVRANGEBYSCORE', TURN, '(' .. exact(turn + 1), exact(turn), 'WITHSCORES', 'LIMIT', 0, 1)[2] or turn
end

-- The turn of a lane that comes to life: behind all others, as if it had just been served. So lanes of one message each
-- hold up none, however often they come.
local function new_turn(fair)
  return math.floor(redis.call('ZRANGE', TURN, 0, 0, 'WITHSCORES')[2] or 0) + fair
end
