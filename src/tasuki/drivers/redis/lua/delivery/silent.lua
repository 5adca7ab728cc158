-- Deliveries that end at this time or earlier, and so are silent, whose process hears no more: it has died (ADR 63). A process
-- that hears says so in its tokens by a dot behind its name, of eight characters. Returns how many there were.
local function lose_silent(time, silent, ordering)
  local lost, hears = {}, {}
  local seen, found = 0, silent > time and {} or nil
  while found and #lost < PORTION do
    found = redis.call('ZRANGEBYSCORE', LEASES, '(' .. text(time), text(silent), 'LIMIT', seen, PORTION)
    for _, receipt in ipairs(found) do
      local owner = string.match(receipt, '^[^:]+:(........)%.')
      if owner and hears[owner] == nil then
        hears[owner] = notify(owner, 'are you there?') > 0
      end
      if owner and not hears[owner] then
        lost[#lost + 1] = receipt
      end
    end
    seen = seen + #found
    found = #found == PORTION and found or nil
  end
  each('ZREM', LEASES, lost)
  lose(lost, ordering, true)
  return #lost
end
