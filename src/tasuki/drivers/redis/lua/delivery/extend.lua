-- Set leases. Returns the numbers, from 1, of the stale receipts.
-- ARGV: lease in microseconds, receipts

local scores = redis.call('ZMSCORE', LEASES, unpack(ARGV, 2))
local ends = text(now() + ARGV[1])
local stale, leases = {}, {}
for index, score in ipairs(scores) do
  if score then
    leases[#leases + 1] = ends
    leases[#leases + 1] = ARGV[index + 1]
  else
    stale[#stale + 1] = index
  end
end
run_at_maxmemory()
each('ZADD', LEASES, leases)
return stale
