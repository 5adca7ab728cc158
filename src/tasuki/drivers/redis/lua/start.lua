-- Record that the handlers of these deliveries begin. Returns the numbers, from 1, of the receipts that were stale.
-- ARGV: receipts

run_at_maxmemory()
local time, stale = now(), {}
for index, ends in ipairs(redis.call('ZMSCORE', LEASES, unpack(ARGV))) do
  if ends and tonumber(ends) > time then
    local place = place_of(ARGV[index])
    local failures, suspect, is_started = history(place)
    if not is_started then
      remember(place, failures + 1, suspect .. 'r')
    end
  else
    stale[#stale + 1] = index
  end
end
keep(redis.call('HGET', STATE, 'span'))
return stale
