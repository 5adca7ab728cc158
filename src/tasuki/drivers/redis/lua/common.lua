-- What the scripts share. Each script is this text and its own behind it; it runs alone, so nothing comes in between.
--
-- A message's *place* is its number in the order of publishing, less 2^49 for each step of priority: small places come
-- first. Times are microseconds of the server's clock. A *receipt* is place:token, the token unique to one receive.

local STATE, MESSAGES, READY, DELAYED, LEASES, ATTEMPTS, KEYED, LINES, FRONTS, IDS, CONSUMERS, WAITING =
  unpack(KEYS)
-- STATE      hash    the queue's options, and seq: the last number given
-- MESSAGES   hash    place -> the message, from publish to ack; so its length is the queue's
-- READY      zset    places that can be received, in that order
-- DELAYED    zset    places, by the time at which they become ready
-- LEASES     zset    receipts of what is held, by the end of the lease
-- ATTEMPTS   hash    place -> its history (see below), if it has any
-- KEYED      hash    place -> key, of messages that have one
-- LINES      zset    key \0 number priority: all messages of a key from publish to ack, in a queue with order per key
-- FRONTS     hash    key -> how many of its messages are ready or held: none of the others may be received
-- IDS        zset    ids of the dedup window, by the time at which they are forgotten
-- CONSUMERS  zset    owner:count, by the time until which they are believed
-- WAITING    zset    owners (processes) with a receiver that waits, by the time at which they promised to check, which is
--                    ahead, or else since when they wait
-- All but the last three, which have a time of their own, go when a temporary queue was not used for its span.
local TIMED = 3

local STEP = 2 ^ 49
local CHUNK = 1000  -- arguments of one call; Lua's stack has room for some thousands
-- Most messages that one script moves for their time, converts or examines: however many there are, it is soon over.
local PORTION = 200

-- A server at maxmemory refuses a script at its first write if that one adds, and lets it finish if that one removes
-- (redis.io/docs/latest/develop/programmability/eval-intro, from 6.2 on). A script that must run there calls this, unless
-- its first write removes anyway.
local function run_at_maxmemory()
  redis.call('ZREM', LEASES, '')
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

local function in_line(key, place)
  local priority = math.ceil(-place / STEP)
  return key .. '\0' .. string.format('%016d%d', place + priority * STEP, priority)
end

local function place_in(line)
  return text(string.sub(line, -17, -2) - string.sub(line, -1) * STEP)
end

local function show(place)
  redis.call('ZADD', READY, place, place)
end

-- A change of the ordering is a conversion, which any process can continue; 'conversion' in STATE says how far it is:
-- key:leases:cursor   held messages get into LINES, and are counted in FRONTS
-- key:keyed:cursor    all others get into LINES, and leave READY: until now those not in LINES are as without ordering
-- key:fronts:key      keys get the first of their messages to the front, in the order of LINES
-- none:leases:cursor  held messages leave LINES
-- none:lines:         all others leave LINES for READY
-- Versions without conversions convert all in one script, and leave the field: it counts only with its own ordering.
local conversion

-- Returns fields of STATE, the ordering first.
local function queue_state(...)
  local state = redis.call('HMGET', STATE, 'ordering', 'conversion', ...)
  local target, step, cursor = string.match(table.remove(state, 2) or '', '^(%l+):(%l+):(.*)$')
  conversion = target and target == state[1] and {target = target, step = step, cursor = cursor} or nil
  return unpack(state, 1, 1 + select('#', ...))
end

local function are_lines_complete()
  return not conversion or conversion.step == 'fronts'
end

-- The message of a key that is first in line, unless it is delayed: then all behind it wait.
local function first_of(key)
  local first = redis.call('ZRANGEBYLEX', LINES, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)[1]
  return first and not redis.call('ZSCORE', DELAYED, place_in(first)) and place_in(first)
end

local function come_to_front(key, place)
  redis.call('HSET', FRONTS, key, 1)
  show(place)
end

-- If no message of the key is ready or held, its first one comes to the front.
local function advance(key)
  local first = are_lines_complete() and redis.call('HEXISTS', FRONTS, key) == 0 and first_of(key)
  if first then
    come_to_front(key, first)
  end
end

local function leave_front(key)
  if redis.call('HINCRBY', FRONTS, key, -1) <= 0 then
    redis.call('HDEL', FRONTS, key)
  end
end

-- Both, in fewer calls.
local function move_on(key)
  if redis.call('HINCRBY', FRONTS, key, -1) > 0 then
    return
  end
  local first = are_lines_complete() and first_of(key)
  if first then
    come_to_front(key, first)
  else
    redis.call('HDEL', FRONTS, key)
  end
end

-- The key of a message, if it must wait for others of its key.
local function key_of(place, ordering)
  local key = ordering == 'key' and redis.call('HGET', KEYED, place)
  if key and not are_lines_complete() and not redis.call('ZSCORE', LINES, in_line(key, place)) then
    return false
  end
  return key
end

-- During a conversion: these messages are held from now on.
local function convert_held(places)
  local keys = redis.call('HMGET', KEYED, unpack(places))
  for index, place in ipairs(places) do
    local key = keys[index]
    if key and conversion.target == 'none' then
      redis.call('ZREM', LINES, in_line(key, place))
    elseif key and redis.call('ZADD', LINES, 0, in_line(key, place)) == 1 then
      redis.call('HINCRBY', FRONTS, key, 1)
    end
  end
end

-- The history of a message: its failures; 's' if it is a suspect, as its last delivery ended without a settlement; 'r' if
-- the start of its delivery is recorded, and counted as a failure until it is settled; and ':' with the token of the last
-- delivery, from the end of its lease until the message is handed out again, and ':r' if its start was recorded.
local function history(place)
  local found = redis.call('HGET', ATTEMPTS, place) or '0'
  local failures, suspect, started, token = string.match(found, '^(%d+)(s?)(r?)(.*)$')
  return tonumber(failures), suspect, started == 'r', token
end

local function remember(place, failures, marks)
  if failures == 0 and marks == '' then
    redis.call('HDEL', ATTEMPTS, place)
  else
    redis.call('HSET', ATTEMPTS, place, text(failures) .. marks)
  end
end

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

local function score_of_first(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or math.huge)
end

-- To be called where keys may have been made, or somebody receives: from now on the keys last for the span.
local function keep(span)
  if span and span ~= '' then
    for index = 1, #KEYS - TIMED do
      redis.call('PEXPIRE', KEYS[index], span)
    end
  end
end

-- Wake one process. Returns 0 if it has gone: PUBLISH counts the subscribers at this node, and a process subscribes at the
-- node of the queue (redis.io/docs/latest/commands/publish). One that subscribes elsewhere hears too, and counts as gone.
local function notify(owner, news)
  return math.min(redis.call('PUBLISH', STATE .. ':' .. owner, news or ''), 1)
end

-- Wake as many waiting processes as there are new messages: first those that have waited longest.
local function wake(count)
  local woken = 0
  while woken < count do
    local popped = redis.call('ZPOPMIN', WAITING, math.min(count - woken, CHUNK))
    if #popped == 0 then
      return woken
    end
    for index = 1, #popped, 2 do
      woken = woken + notify(popped[index])
    end
  end
  return woken
end

-- Versions without WAITING wait for this; those with it hear it too, if such a version publishes.
local function tell_all()
  redis.call('PUBLISH', STATE, '')
end

-- A conversion is due soon, if its process is gone.
local function first_due()
  local next_step = conversion and now() + 10000 or math.huge
  return math.min(score_of_first(DELAYED), score_of_first(LEASES), next_step)
end

local function promised_by(time, due)
  return due < math.huge and redis.call('ZRANGEBYSCORE', WAITING, '(' .. text(time), text(due), 'LIMIT', 0, 1)[1]
end

-- See that a waiting process checks at the time when something is due. Returns whether one will.
local function appoint(time, due)
  local owner = due == math.huge or promised_by(time, due)
  while not owner do
    owner = redis.call('ZRANGE', WAITING, 0, 0)[1]
    if not owner then
      return false
    end
    redis.call('ZADD', WAITING, text(due), owner)
    if notify(owner) == 0 then
      redis.call('ZREM', WAITING, owner)
      owner = nil
    end
  end
  return true
end

-- Waiting processes must be woken when messages become ready, and one when the first delay becomes shorter; they check by
-- themselves when something is due. Call the first at the start of a script, the second at its end.
local function watch()
  return {ready = redis.call('ZCARD', READY), due = score_of_first(DELAYED)}
end

local function tell(before)
  keep(redis.call('HGET', STATE, 'span'))
  local news = redis.call('ZCARD', READY) - before.ready
  local due = score_of_first(DELAYED)
  if news > 0 and wake(news) < news and before.ready == 0
    or due < before.due and not appoint(now(), due) then
    tell_all()
  end
end

local UNDECLARED = {err = 'UNDECLARED the queue does not exist at the broker'}
