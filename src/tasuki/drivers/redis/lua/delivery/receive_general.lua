-- Continues receive.lua: something is due, nothing is ready, a conversion goes on, the queue is limited, or the process
-- waits or has waited.

local BELIEVED = 900 * 1000000  -- microseconds for which a process is believed to wait
local SOON = 10  -- intervals, in which another process checks certainly

-- Register the process, and say in how many microseconds it checks by itself. One of those that wait promises to check
-- when something is due.
local function await(owner, time, interval)
  redis.call('ZREMRANGEBYSCORE', WAITING, '-inf', '(' .. text(time - BELIEVED))
  local due, since = first_due(), tonumber(redis.call('ZSCORE', WAITING, owner) or nil)
  if limits and open_now() > 0 then  -- there are more lanes than one script looks at
    due = time
  end
  local count = redis.call('ZCARD', WAITING) + (since and 0 or 1)
  local again = pause(interval, count, since and redis.call('ZRANK', WAITING, owner), time)
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

local swept = 0
if not answer then
  swept = sweep(time, ordering) + lose_silent(time, silent, ordering)
  if tonumber(search_at) <= time then
    run_at_maxmemory()
    swept = swept + search_strays(time, ordering, search_from)
  end
  if conversion or limits and gate().laning then
    local ready = redis.call('ZCARD', READY)
    run_at_maxmemory()
    convert()
    swept = swept + math.max(redis.call('ZCARD', READY) - ready, 0)
  end
  if limits then
    answer = take_limited(limit, most, ends, token)
  else
    answer = take(limit, most, ends, token)
  end
end
if answer and not are_lines_complete() and #answer[1] > 0 then
  convert_held(answer[1])
end
keep(span)
if not answer then
  return mode == '0' and -1 or await(owner, time, interval)
end

local left
if limits then
  left = answer[4]
else
  left = redis.call('ZCARD', READY)
  if left > 0 and swept > 0 and wake(math.min(swept, left)) < left then
    tell_all()
  end
end
if swept >= PORTION then  -- more may be due: for another process to see
  wake(1)
end
if mode == '2' and left == 0 then
  answer[5] = await(owner, time, interval)
elseif has_waited or mode ~= '0' and redis.call('ZREM', WAITING, owner) == 1 then
  local due = first_due()
  if due < time + SOON * interval then
    appoint(time, due)
  end
end
if limits and answer[5] < 0 and redis.call('EXISTS', WAITING) == 1 then
  local opens = left == 0 and opens_at() or math.huge
  if left > 0 then  -- each process that takes wakes another one, as long as there is more
    wake(1)
  elseif opens < math.huge then
    appoint(time, opens)
  end
end
return answer
