local REFRESH = 60 * 1000000  -- microseconds after which an entry of WAITING is written again
local MOST = 300  -- the longest time between two checks of a process, in intervals

-- All that wait check at random times, about two in an interval together, so that a process that died or froze does not
-- keep a message from the others for long.
local function pause(interval, count, time)
  return interval * math.max(math.min(count, MOST) * (time % 1000) / 1000, 1)
end
