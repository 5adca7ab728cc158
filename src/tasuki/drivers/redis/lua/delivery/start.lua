-- Record that the handlers of these deliveries begin. Returns the numbers, from 1, of the receipts that were stale.
-- ARGV: receipts

run_at_maxmemory()
local time, stale, places = now(), {}, {}
for index, ends in ipairs(redis.call('ZMSCORE', LEASES, unpack(ARGV))) do
  if ends and tonumber(ends) > time then
    places[#places + 1] = place_of(ARGV[index])
  else
    stale[#stale + 1] = index
  end
end
if #places > 0 then
  local histories = {}
  for index, found in ipairs(redis.call('HMGET', ATTEMPTS, unpack(places))) do
    local failures, suspect, is_started = parts_of(found)
    histories[index] = not is_started and text(failures + 1) .. suspect .. 'r'
  end
  remember(places, histories)
end
keep(redis.call('HGET', STATE, 'span'))
return stale
