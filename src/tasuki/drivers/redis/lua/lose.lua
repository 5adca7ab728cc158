-- End deliveries without a settlement: their driver closes. Nobody can settle them later.
-- ARGV: receipts

local ordering = queue_state()
local before = watch()
for _, receipt in ipairs(ARGV) do
  if redis.call('ZREM', LEASES, receipt) == 1 then
    lose(place_of(receipt), ordering, '')
  end
end
tell(before)
return 0
