-- What the scripts share. Each script is this text and its own behind it; it runs alone, so nothing comes in between.
--
-- A message's *place* is its number in the order of publishing, less 2^49 for each step of priority: small places come
-- first. Times are microseconds of the server's clock. A *receipt* is place:token, the token unique to one receive.

local STATE, MESSAGES, READY, DELAYED, LEASES, ATTEMPTS, KEYED, LINES, FRONTS, IDS, CONSUMERS = unpack(KEYS)
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
-- All but the last two, which have a time of their own, go when a temporary queue was not used for its span.

local STEP = 2 ^ 49
local CHUNK = 1000  -- arguments of one call; Lua's stack has room for some thousands
local SWEPT = 1000  -- most messages moved by one script for their time, so that a due crowd does not stop the others

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

-- If no message of the key is ready or held, its first one comes to the front; a delayed one keeps all behind it waiting.
local function advance(key)
  if redis.call('HEXISTS', FRONTS, key) == 1 then
    return
  end
  local first = redis.call('ZRANGEBYLEX', LINES, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)[1]
  if first and not redis.call('ZSCORE', DELAYED, place_in(first)) then
    redis.call('HSET', FRONTS, key, 1)
    show(place_in(first))
  end
end

local function leave_front(key)
  if redis.call('HINCRBY', FRONTS, key, -1) <= 0 then
    redis.call('HDEL', FRONTS, key)
  end
end

-- The key of a message, if it must wait for others of its key.
local function key_of(place, ordering)
  return ordering == 'key' and redis.call('HGET', KEYED, place)
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
    leave_front(key)
    advance(key)
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
  local lost = redis.call('ZRANGEBYSCORE', LEASES, '-inf', time, 'LIMIT', 0, SWEPT)
  if #lost > 0 then
    redis.call('ZREM', LEASES, unpack(lost))
    for _, receipt in ipairs(lost) do
      lose(place_of(receipt), ordering, string.match(receipt, ':.*$'))
    end
  end
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', time, 'LIMIT', 0, SWEPT)
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

-- Waiting receivers must be told when the first message becomes ready, and when the first delay becomes shorter; they
-- look by themselves when something is due. Call the first at the start of a script, the second at its end.
local function watch()
  return {is_empty = redis.call('EXISTS', READY) == 0, due = score_of_first(DELAYED)}
end

-- To be called where keys may have been made, or somebody receives: from now on the keys last for the span.
local function keep(span)
  if span and span ~= '' then
    for index = 1, #KEYS - 2 do
      redis.call('PEXPIRE', KEYS[index], span)
    end
  end
end

local function tell(before)
  keep(redis.call('HGET', STATE, 'span'))
  local has_news = before.is_empty and redis.call('EXISTS', READY) == 1
  if has_news or score_of_first(DELAYED) < before.due then
    redis.call('PUBLISH', STATE, '')
  end
end

local UNDECLARED = {err = 'UNDECLARED the queue does not exist at the broker'}
