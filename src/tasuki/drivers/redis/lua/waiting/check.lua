-- Whether a waiting process has nothing to do for queues. Writes nothing.
-- KEYS: STATE, READY, DELAYED, LEASES and WAITING of each queue, see queue.lua.
-- ARGV: the process, the microseconds after which a process checks if it alone waits, and those after which a delivery is
--   silent
-- Returns for each queue in how many microseconds to check again; -1: a receiver has to ask, for a message, to register
-- again, or to see whether the process is there that promised to check.

local owner, interval, silence = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
time = time[1] * 1000000 + time[2]

-- The turn of the process in the queue for which most wait is its turn in all of them, so that it checks them together
-- again. In a queue for which it waits alone it is always the first: many such would all have the same turn.
local rank
local counts, most = {}, 0
for index = 5, #KEYS, 5 do
  local count = redis.call('ZCARD', KEYS[index])
  local found = count > most and redis.call('ZRANK', KEYS[index], owner)
  if found then
    rank, most = found, count
  end
  counts[KEYS[index]] = count
end

local function checked(STATE, READY, DELAYED, LEASES, WAITING)
  local state = redis.call('HMGET', STATE, 'ordering', 'conversion', 'span', 'limits', 'lease', 'deaths')
  local since = tonumber(redis.call('ZSCORE', WAITING, owner) or nil)
  if not state[1] or state[2] or state[3] and state[3] ~= '' or not since or since < time - REFRESH then
    return -1
  end
  local again = pause(interval, counts[WAITING], rank, time)
  if since > time then
    again = math.min(again, since - time)
  end
  if redis.call('EXISTS', READY, DELAYED, LEASES) == 0 then
    return math.ceil(again)
  elseif redis.call('EXISTS', READY) == 1 then
    -- What must wait in a limited queue waits until the time that was promised.
    return state[4] and state[4] ~= '' and since > time and math.ceil(again) or -1
  end
  local lease, last_look = tonumber(state[5]), tonumber(string.match(state[6] or '0 ', '^%d+'))
  local looks = last_look > time or last_look <= time - LATER * silence
  for _, timed in ipairs({DELAYED, LEASES}) do
    local due = tonumber(redis.call('ZRANGE', timed, 0, 0, 'WITHSCORES')[2] or math.huge)
    local early = timed == LEASES and silence < lease and looks and lease - EARLY * silence or 0
    if due <= time + early or due < time + again and since <= time then
      return -1
    end
  end
  return math.ceil(again)
end

local answers = {}
for index = 1, #KEYS, 5 do
  answers[#answers + 1] = checked(unpack(KEYS, index, index + 4))
end
return answers
