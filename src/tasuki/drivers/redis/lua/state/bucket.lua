-- A token bucket, by the rule of drivers/toolkit/limits.py. Times are seconds.
--
-- It is forgotten when it could be full again for the largest burst that it had: a bucket that is full for a small burst,
-- forgotten, would be full for the next larger one.

local BUCKET = KEYS[1]  -- hash: level, at (the time of this level), rate, burst, top (the largest burst)
local ROUNDING = 1e-9
local LONGEST = 2 ^ 42  -- milliseconds

-- The level now, the time, and the largest burst.
local function filled(burst)
  local clock = redis.call('TIME')
  local time = clock[1] + clock[2] / 1e6
  local found = redis.call('HMGET', BUCKET, 'level', 'at', 'rate', 'burst', 'top')
  if not found[1] then
    return burst, time, burst
  end
  local gained = math.max(time - found[2], 0) * found[3]
  return math.min(found[1] + gained, tonumber(found[4]), burst), math.max(time, tonumber(found[2])),
    math.max(burst, tonumber(found[5]))
end

local function exact(number)
  return string.format('%.17g', number)
end

-- The first write removes: so it runs at maxmemory.
local function keep(level, time, rate, burst, top)
  redis.call('DEL', BUCKET)
  if level < top then
    redis.call('HSET', BUCKET, 'level', exact(level), 'at', exact(time), 'rate', exact(rate), 'burst', exact(burst),
      'top', exact(top))
    redis.call('PEXPIRE', BUCKET, string.format('%d', math.min(math.ceil((top - level) / rate * 1000) + 1, LONGEST)))
  end
end
