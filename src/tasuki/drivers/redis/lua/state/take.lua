-- Take tokens. Returns how many, and, if none, the seconds until there is one.
-- ARGV: tokens, rate, burst

local tokens, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level, time, top = filled(burst)
local granted = math.min(math.max(tokens, 0), math.floor(level + ROUNDING))
keep(math.max(level - granted, 0), time, rate, burst, top)
local wait = (granted > 0 or tokens <= 0) and 0 or math.max(1 - level, 0) / rate
return {granted, exact(wait)}
