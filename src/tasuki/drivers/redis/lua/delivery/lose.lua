-- End deliveries without a settlement: their driver closes. They cannot be settled later.
-- ARGV: receipts

local ordering = queue_state()
local before = watch()
local held = {}
for index, score in ipairs(answers('ZMSCORE', LEASES, ARGV)) do
  if score then
    held[#held + 1] = ARGV[index]
  end
end
each('ZREM', LEASES, held)
lose(held, ordering, false)
tell(before)
return 0
