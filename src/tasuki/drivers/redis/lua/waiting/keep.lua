-- Have queues last for their spans from now on: nothing uses them, but a process that they belong to lives.
-- KEYS: of each queue its keys but for IDS and WAITING, STATE first. ARGV: how many keys each queue has.

local size = tonumber(ARGV[1])
local answers = {}
for first = 1, #KEYS, size do
  local span = redis.call('HGET', KEYS[first], 'span')
  if span and span ~= '' then
    for index = first, first + size - 1 do
      redis.call('PEXPIRE', KEYS[index], span)
    end
  end
  answers[#answers + 1] = 0
end
return answers
