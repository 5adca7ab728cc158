local REFRESH = 450 * 1000000  -- microseconds after which an entry of WAITING is written again
local MOST = 300  -- the longest time between two checks of a process, in intervals

local TURN = 1.5  -- intervals

-- All that wait check by turns, by their ranks from 0 on: a process that died or froze does not keep a message from the
-- others for long. There is a turn less than processes, so that one that waits with a frozen one does not wait for it.
-- A process that registers is the last one, as the next one is too: without a rank it takes a random time in the first
-- quarter of a round, and its turn from then on.
local function pause(interval, count, rank, time)
  local turn = interval * TURN
  local cycle = math.max(turn * (math.min(count, MOST) - 1), interval)
  if not rank then
    return math.max(cycle / 4 * (time % 1000) / 1000, interval)
  end
  local left = (rank * turn - time) % cycle
  return left < interval / 2 and left + cycle or left
end
