-- Return tokens that were not used.
-- ARGV: tokens, rate, burst

local tokens, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level, time, top = filled(burst)
keep(math.min(level + math.max(tokens, 0), burst), time, rate, burst, top)
