-- The deliveries of these receipts, held no longer, ended without a settlement. A later settlement counts, or does not.
local function lose(receipts, ordering, may_be_settled)
  local places, histories = {}, {}
  for index, receipt in ipairs(receipts) do
    places[index] = place_of(receipt)
  end
  for index, found in ipairs(answers('HMGET', ATTEMPTS, places)) do
    local failures, _, is_started = parts_of(found)
    histories[index] = text(failures) .. 's'
    if may_be_settled then
      histories[index] = histories[index] .. string.match(receipts[index], ':.*$') .. (is_started and ':r' or '')
    end
  end
  remember(places, histories)
  free(places)
  put_back(places, keys_of(places, ordering), 1, {})
end

-- What the passing of time has done: leases that ended, delays that are over.
local function sweep(time, ordering)
  local lost = redis.call('ZRANGEBYSCORE', LEASES, '-inf', time, 'LIMIT', 0, PORTION)
  each('ZREM', LEASES, lost)
  lose(lost, ordering, true)
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', time, 'LIMIT', 0, PORTION)
  each('ZREM', DELAYED, due)
  put_back(due, keys_of(due, ordering), 0, {})
  return #lost + #due
end
