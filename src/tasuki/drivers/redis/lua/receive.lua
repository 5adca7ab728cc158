-- Hand out up to limit messages, or register the process as waiting.
-- ARGV: limit, token, most bytes (a receive stops after as many), 0 if no receiver of the process waits from now on (and
--   WAITING is none of its business), 1 if one does unless something is found, 2 if one does in any case, the process, and
--   the microseconds after which a process checks if it alone waits
-- Returns in how many microseconds to check again (-1: it was not registered); or places, contents and histories of what
--   is handed out, whether there is more, and that number.

local BELIEVED = 900 * 1000000  -- microseconds for which a process is believed to wait
local REFRESH = 60 * 1000000
local MOST = 300  -- the longest time between two checks of a process, in intervals
local SOON = 10  -- intervals, in which another process checks certainly

-- Register the process, and say in how many microseconds it checks by itself: all that wait check at random times, about
-- two in an interval together, so that a process that died or froze does not keep a message from the others for long. One
-- of them promises to check when something is due.
local function await(owner, time, interval)
  redis.call('ZREMRANGEBYSCORE', WAITING, '-inf', '(' .. text(time - BELIEVED))
  local due, since = first_due(), tonumber(redis.call('ZSCORE', WAITING, owner) or nil)
  local count = redis.call('ZCARD', WAITING) + (since and 0 or 1)
  local again = interval * math.max(math.min(count, MOST) * (time % 1000) / 1000, 1)
  local other, score = promised_by(time, due), since
  if other and other ~= owner and due < time + again and notify(other, 'are you there?') == 0 then
    redis.call('ZREM', WAITING, other)
    other = nil
  end
  if other == owner then
    again = math.min(again, since - time)
  elseif not other and due < math.huge then
    score, again = due, math.min(again, due - time)
  elseif not since or since < time - REFRESH then
    score = time
  end
  if score ~= since then
    run_at_maxmemory()
    redis.call('ZADD', WAITING, text(score), owner)
    redis.call('PEXPIRE', WAITING, text(BELIEVED / 1000))
  end
  return math.max(math.ceil(again), 0)
end

local limit, token, most, mode, owner, interval = unpack(ARGV)
limit, most, interval = tonumber(limit), tonumber(most), tonumber(interval)
local ordering, lease, span = queue_state('lease', 'span')
if not ordering then
  return UNDECLARED
end
local time = now()
local swept = sweep(time, ordering)
if conversion then
  local ready = redis.call('ZCARD', READY)
  run_at_maxmemory()
  convert()
  swept = swept + math.max(redis.call('ZCARD', READY) - ready, 0)
end
local places = redis.call('ZRANGE', READY, 0, limit - 1)
if #places == 0 then
  keep(span)
  return mode == '0' and -1 or await(owner, time, interval)
end

local taken, contents, size = {}, {}, 0
local seen = 0
while seen < #places and size < most do
  local last = math.min(seen + 32, #places)
  local found = redis.call('HMGET', MESSAGES, unpack(places, seen + 1, last))
  for index, content in ipairs(found) do
    if content then  -- else another program deleted it
      taken[#taken + 1] = places[seen + index]
      contents[#contents + 1] = content
      size = size + #content
    end
  end
  seen = last
end
redis.call('ZREMRANGEBYRANK', READY, 0, seen - 1)
local leases, ends = {}, text(time + lease)
for index, place in ipairs(taken) do
  leases[2 * index - 1], leases[2 * index] = ends, place .. ':' .. token
end
each('ZADD', LEASES, leases)
if not are_lines_complete() and #taken > 0 then
  convert_held(taken)
end
local attempts = {}
if #taken > 0 and redis.call('EXISTS', ATTEMPTS) == 1 then
  attempts = redis.call('HMGET', ATTEMPTS, unpack(taken))
  for index, history in ipairs(attempts) do
    if history and string.find(history, ':', 1, true) then
      attempts[index] = string.match(history, '^[^:]+')
      redis.call('HSET', ATTEMPTS, taken[index], attempts[index])
    end
  end
end
keep(span)

local left, again = redis.call('ZCARD', READY), -1
if left > 0 and swept > 0 and wake(math.min(swept, left)) < left then
  tell_all()
end
if swept >= PORTION then  -- more may be due: for another process to see
  wake(1)
end
if mode == '2' and left == 0 then
  again = await(owner, time, interval)
elseif mode ~= '0' and redis.call('ZREM', WAITING, owner) == 1 and first_due() < time + SOON * interval then
  appoint(time, first_due())  -- this one may have promised it
end
return {taken, contents, attempts, left > 0 and 1 or 0, again}
