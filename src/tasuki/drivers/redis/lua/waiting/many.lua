-- A script for several queues, as the function one. Returns the answer for each.
-- KEYS: the keys of each queue. ARGV: arguments for all queues, then one argument for each.

local queues = #KEYS / SIZE
local shared = #ARGV - queues
local answers = {}
for queue = 1, queues do
  local words = {unpack(ARGV, 1, shared)}
  words[#words + 1] = ARGV[shared + queue]
  answers[queue] = one({unpack(KEYS, (queue - 1) * SIZE + 1, queue * SIZE)}, words)
end
return answers
