-- Write several keys.
-- ARGV: microseconds for which they are there or '', then key and value of each

local span = ARGV[1]
local time = now()
for index = 2, #ARGV, 2 do
  put(time, ARGV[index], ARGV[index + 1], span, version_of(ARGV[index], time))
end
sweep(time, math.max(#ARGV, MOST_SWEPT))
