-- Whether a waiting process has nothing to do for the queue. Writes nothing.
-- ARGV: the process, and the microseconds after which a process checks if it alone waits
-- Returns in how many microseconds to check again; -1: a receiver has to ask, for a message, to register again, or to see
-- whether the process is there that promised to check.

local owner, interval = ARGV[1], tonumber(ARGV[2])
local ordering, span = queue_state('span')
local time, since = now(), tonumber(redis.call('ZSCORE', WAITING, owner) or nil)
if not ordering or conversion or span and span ~= '' or not since or since < time - REFRESH
  or redis.call('EXISTS', READY) == 1 then
  return -1
end
local again, due = pause(interval, redis.call('ZCARD', WAITING), time), first_due()
if since > time then
  again = math.min(again, since - time)
elseif due < time + again then
  return -1
end
return due > time and math.ceil(again) or -1
