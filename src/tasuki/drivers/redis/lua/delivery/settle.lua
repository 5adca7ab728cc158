-- End deliveries. Returns the numbers, from 1, of the receipts that were stale.
-- ARGV: number of acks, number of nacks, the receipts of acks, nacks and releases, in microseconds the delays of nacks and
--   releases, each with ' ' and the error behind it, if there is one

local acks, nacks = tonumber(ARGV[1]), tonumber(ARGV[2])
local count = (#ARGV - 2 + acks) / 2
if count == 0 then
  return {}
end
local ordering, span = queue_state('span')
local scores = redis.call('ZMSCORE', LEASES, unpack(ARGV, 3, 2 + count))

-- Acks alone, of messages without keys and in time, where no places are limited: nothing can be handed out for them.
local has_places = limits and not string.match(limits, '^%S+ %S+ %S+ %- %S+ %S+ %-$')
if acks == count and not has_places and redis.call('EXISTS', KEYED) == 0 then
  local done = {}
  for index = 1, count do
    if scores[index] then
      done[#done + 1] = place_of(ARGV[2 + index])
    end
  end
  if #done == count then
    redis.call('ZREM', LEASES, unpack(ARGV, 3))
    redis.call('HDEL', MESSAGES, unpack(done))
    if redis.call('HDEL', ATTEMPTS, unpack(done)) > 0 then
      redis.call('HDEL', ERRORS, unpack(done))
    end
    if limits then
      redis.call('HDEL', LANED, unpack(done))
    end
    keep(span)
    return {}
  end
end
