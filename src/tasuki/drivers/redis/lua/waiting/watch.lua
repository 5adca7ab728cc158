local function score_of_first(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or math.huge)
end

-- A conversion is due soon, if its process is gone.
local function first_due()
  local next_step = conversion and now() + 10000 or math.huge
  return math.min(score_of_first(DELAYED), score_of_first(LEASES), limits and opens_at() or math.huge, next_step)
end

local function promised_by(time, due)
  return due < math.huge and redis.call('ZRANGEBYSCORE', WAITING, '(' .. text(time), text(due), 'LIMIT', 0, 1)[1]
end

-- See that a waiting process checks at the time when something is due. Returns whether one will.
local function appoint(time, due)
  local owner = due == math.huge or promised_by(time, due)
  while not owner do
    owner = redis.call('ZRANGE', WAITING, 0, 0)[1]
    if not owner then
      return false
    end
    redis.call('ZADD', WAITING, text(due), owner)
    if notify(owner) == 0 then
      redis.call('ZREM', WAITING, owner)
      owner = nil
    end
  end
  return true
end

-- Waiting processes must be woken when messages become ready, and one when the first delay becomes shorter; they check by
-- themselves when something is due. Call the first at the start of a script, the second at its end.
local function watch()
  if limits and redis.call('EXISTS', WAITING) == 0 then
    return {is_alone = true}
  end
  return {
    ready = redis.call('ZCARD', READY),
    due = score_of_first(DELAYED),
    held = limits and redis.call('ZCARD', LEASES),
    opens = limits and queue_opens_at(),
  }
end

local function tell(before)
  keep(redis.call('HGET', STATE, 'span'))
  if before.is_alone then
    return
  end
  local news = redis.call('ZCARD', READY) - before.ready
  local due = score_of_first(DELAYED)
  if limits then  -- each delivery that has ended may let another message be handed out
    news = math.min(math.max(news, 0) + math.max(before.held - redis.call('ZCARD', LEASES), 0), open_now())
    due, before.due = math.min(due, queue_opens_at()), math.min(before.due, before.opens)
  end
  if news > 0 and wake(news) < news and before.ready == 0
    or due < before.due and not appoint(now(), due) then
    tell_all()
  end
end
