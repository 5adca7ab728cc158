-- A script for several queues, as the function one. Returns the answer for each.
-- KEYS: those of each queue. ARGV: how many arguments each has, then those of each.

local words = tonumber(ARGV[1])
local queues = (#ARGV - 1) / words
local keys = #KEYS / queues
local answers = {}
for index = 1, queues do
  answers[index] = one({unpack(KEYS, (index - 1) * keys + 1, index * keys)},
    {unpack(ARGV, (index - 1) * words + 2, index * words + 1)})
end
return answers
