-- The keys of a queue, and functions that every script needs. A script is some of these files, one behind the other; it
-- runs alone, so nothing comes in between. Each run makes its functions again: so a script handles the usual case first, and
-- returns before the functions that this case does not need.
--
-- A message's *place* is its number in the order of publishing, less 2^49 for each step of priority: small places come
-- first. Times are microseconds of the server's clock. A *receipt* is place:token, the token unique to one receive.

local STATE, MESSAGES, READY, DELAYED, LEASES, ATTEMPTS, KEYED, LINES, FRONTS, ERRORS, UNIQUES, LANED, LANES, TURN, PARK,
  MARKS, IDS, WAITING = unpack(KEYS)
-- STATE      hash    the queue's options, and seq: the last number given
-- MESSAGES   hash    place -> the message, from publish to ack; so its length is the queue's
-- READY      zset    places that can be received, in that order
-- DELAYED    zset    places, by the time at which they become ready
-- LEASES     zset    receipts of held messages, by the end of the lease
-- ATTEMPTS   hash    place -> its history (see below), if it has any
-- KEYED      hash    place -> key, of messages that have one
-- LINES      zset    key \0 number priority: all messages of a key from publish to ack, in a queue with order per key
-- FRONTS     hash    key -> how many of its messages are ready or held: none of the others may be received
-- ERRORS     hash    place -> time and last error of a message that has ATTEMPTS, for those who look
-- UNIQUES    hash    unique key -> the message that was stored last for it, see publish_unique.lua
-- LANED      hash    place -> lane, of messages in a lane other than ''
-- LANES      zset    lane \0 number of each ready message, and lane \0 h number of each held one, see lanes.lua
-- TURN       zset    lanes that take turns, by their turn
-- PARK       zset    lanes that must wait, by the time until which, or inf
-- MARKS      zset    lanes that were given messages, by the count of tokens at which their bucket is full, see limits.lua
-- IDS        zset    ids of the dedup window, by the time at which they are forgotten
-- WAITING    zset    owners (processes) with a receiver that waits, by the time at which they promised to check, which is
--                    ahead, or else since when they wait
-- All but the last two, which have a time of their own, go when a temporary queue was not used for its span.
local TIMED = 2

local STEP = 2 ^ 49
local CHUNK = 1000  -- arguments of one call; Lua's stack has room for some thousands
-- Most messages that one script moves for their time, converts or examines: however many there are, it is soon over.
local PORTION = 200
local UNDECLARED = 'UNDECLARED the queue does not exist at the broker'

-- A change of the ordering is a conversion, which any process can continue; 'conversion' in STATE says how far it is:
-- key:leases:cursor   held messages get into LINES, and are counted in FRONTS
-- key:keyed:cursor    all others get into LINES, and leave READY: until now those not in LINES are as without ordering
-- key:fronts:key      keys get the first of their messages to the front, in the order of LINES
-- none:leases:cursor  held messages leave LINES
-- none:lines:         all others leave LINES for READY
-- Versions without conversions convert all in one script, and leave the field: it counts only with its own ordering.
local conversion
local limits  -- of a limited queue: see limits.lua
local is_keyed

-- Returns fields of STATE, the ordering first.
local function queue_state(...)
  local state = redis.call('HMGET', STATE, 'ordering', 'conversion', 'limits', ...)
  limits = state[3] and state[3] ~= '' and state[3] or nil
  is_keyed = state[1] == 'key'
  if state[2] then
    local target, step, cursor = string.match(state[2], '^(%l+):(%l+):(.*)$')
    conversion = target == state[1] and {target = target, step = step, cursor = cursor} or nil
  end
  return state[1], unpack(state, 4)
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Not tostring: it would round, or write 1e+15.
local function text(number)
  return string.format('%d', number)
end

local function place_of(receipt)
  return string.match(receipt, '^[^:]+')
end

-- A command for many arguments, a part of them at a time.
local function each(command, key, arguments)
  for first = 1, #arguments, CHUNK do
    redis.call(command, key, unpack(arguments, first, math.min(first + CHUNK - 1, #arguments)))
  end
end

-- Call it where keys may have been made, and at each receive: from now on the keys last for the span.
local function keep(span)
  if span and span ~= '' then
    for index = 1, #KEYS - TIMED do
      redis.call('PEXPIRE', KEYS[index], span)
    end
  end
end
