-- Continues settle.lua: one ack, of a message without a key, that frees a place of its lane, where none of that lane waits for one.
if has_places and count == 1 and acks == 1 and scores[1] and string.match(limits, '^[1-9]%d* %S+ %S+ %- ')
  and redis.call('EXISTS', KEYED) == 0 then
  local receipt = ARGV[3]
  local place = place_of(receipt)
  local lane = redis.call('HGET', LANED, place) or ''
  if not redis.call('ZSCORE', PARK, lane) then
    redis.call('ZREM', LEASES, receipt)
    redis.call('ZREM', LANES, in_lane(lane, place, true))
    redis.call('HDEL', MESSAGES, place)
    redis.call('HDEL', LANED, place)
    if redis.call('HDEL', ATTEMPTS, place) > 0 then
      redis.call('HDEL', ERRORS, place)
    end
    keep(span)
    return {}
  end
end
