-- Hand out up to limit messages, or register the process as waiting.
-- ARGV: limit, token, most bytes (a receive stops after as many), 0 if no receiver of the process waits from now on (and
--   WAITING is none of its business), 1 if one does unless something is found, 2 if one does in any case, the process,
--   the microseconds after which a process checks if it alone waits, those after which a delivery is silent, 0 if this
--   process does not hear, and 1 if it has heard for as long, and so may take messages of others
-- Returns in how many microseconds to check again (-1: it was not registered); or places, contents and histories of
--   the messages, whether there are more, and that number.

local limit, token, most, mode, owner, interval, silence, stands = unpack(ARGV)
limit, most, interval, silence = tonumber(limit), tonumber(most), tonumber(interval), tonumber(silence)
local ordering, lease, span, laning, strays, deaths = queue_state('lease', 'span', 'laning', 'strays', 'deaths')
if not ordering then
  return {err = UNDECLARED}
end
local time = now()
lease = tonumber(lease)
-- When silent deliveries were looked at last, and whose processes did not hear then. They are looked at if they end at the
-- time 'silent' or earlier; there are none while each renewal comes in time.
local last_look, gone_before, silent = 0, '', time
if deaths then
  last_look, gone_before = string.match(deaths, '^(%d+) (.*)$')
  last_look = tonumber(last_look)
end
if silence > 0 and silence < lease and (last_look > time or last_look <= time - LATER * silence) then
  silent = time + lease - EARLY * silence
end

local function histories_of(taken)
  if #taken == 0 or redis.call('EXISTS', ATTEMPTS) == 0 then
    return {}
  end
  local attempts = redis.call('HMGET', ATTEMPTS, unpack(taken))
  for index, history in ipairs(attempts) do
    if history and string.find(history, ':', 1, true) then
      attempts[index] = string.match(history, '^[^:]+')
      redis.call('HSET', ATTEMPTS, taken[index], attempts[index])
    end
  end
  return attempts
end

-- Hand out ready messages. Returns the script's answer, or nil if no message is ready.
local function take(limit, most, ends, token)
  local places = redis.call('ZRANGE', READY, 0, limit - 1)
  if #places == 0 then
    return nil
  end
  local taken, contents, leases = {}, {}, {}
  local seen, size = 0, 0
  while seen < #places and size < most do
    local last = math.min(seen + 32, #places)
    for index, content in ipairs(redis.call('HMGET', MESSAGES, unpack(places, seen + 1, last))) do
      if content then  -- else another program deleted it
        taken[#taken + 1] = places[seen + index]
        contents[#taken] = content
        leases[2 * #taken - 1], leases[2 * #taken] = ends, places[seen + index] .. ':' .. token
        size = size + #content
      end
    end
    seen = last
  end
  redis.call('ZREMRANGEBYRANK', READY, 0, seen - 1)
  each('ZADD', LEASES, leases)
  local attempts = histories_of(taken)
  local left = (seen < #places or #places == limit) and redis.call('ZCARD', READY) or 0
  return {taken, contents, attempts, left > 0 and 1 or 0, -1}
end

local ends = text(time + lease)
local search_at, search_from = string.match(strays or '0 0', '^(%d+) (m?%d+)$')
local is_quiet = not conversion and not limits and tonumber(search_at) > time
  and redis.call('ZCOUNT', LEASES, '-inf', silent) + redis.call('ZCOUNT', DELAYED, '-inf', time) == 0
local answer = is_quiet and take(limit, most, ends, token)
local has_waited = false  -- and may have promised to check
if answer then
  local waits = mode == '2' and answer[4] == 0
  has_waited = mode ~= '0' and not waits and redis.call('ZREM', WAITING, owner) == 1
  if not waits and not has_waited then
    keep(span)
    return answer
  end
end
