-- What a limited queue may hand out now. 'limits' in STATE has seven words: the most messages of a lane's turn (0: there are
-- no lanes); and rate, burst and concurrency, of the whole queue and of each lane, '-' for those that it does not have.
--
-- A bucket is kept as its *mark*: the count of tokens at which it is full again. A *pace* counts the tokens that have come:
-- 'rate since count'. Another rate goes on from the count that was reached, so it neither gives nor takes tokens; without
-- a rate all is forgotten.
local LONGEST = 2 ^ 50  -- microseconds

local function reached(pace, time)
  local rate, since, count = string.match(pace or '', '^(%S+) (%S+) (%S+)$')
  return rate and count + math.max(time - since, 0) * rate / 1000000 or 0
end

-- Read once a script, and kept up to date.
local gate_read
local function gate()
  if not gate_read then
    local time = now()
    local found = redis.call('HMGET', STATE, 'pace', 'lane_pace', 'mark', 'laning')
    local words = {}
    for word in string.gmatch(limits, '%S+') do
      words[#words + 1] = tonumber(word) or false
    end
    gate_read = {
      time = time,
      fair = words[1],
      whole = {rate = words[2], burst = words[3] or 1, places = words[4], clock = reached(found[1], time)},
      each = {rate = words[5], burst = words[6] or 1, places = words[7], clock = reached(found[2], time)},
      mark = tonumber(found[3] or nil) or 0,
      laning = found[4],
    }
  end
  return gate_read
end

-- The tokens of a bucket, and when the next one comes.
local function tokens_in(bucket, mark)
  if not bucket.rate then
    return math.huge
  end
  return math.floor(bucket.burst - math.max(mark - bucket.clock, 0))
end

local function token_at(bucket, mark)
  local microseconds = math.ceil((mark - bucket.burst + 1 - bucket.clock) / bucket.rate * 1000000)
  return gate().time + math.min(math.max(microseconds, 0) + 1, LONGEST)
end

local function free_places()
  local places = gate().whole.places
  return places and places - redis.call('ZCARD', LEASES) or math.huge
end

-- How many more messages may be held and handed out in the whole queue.
local function room_in_queue()
  return math.max(math.min(tokens_in(gate().whole, gate().mark), free_places()), 0)
end

-- How many messages can be handed out now, at most. It may be fewer: whether a lane can be served, its turn shows.
local function open_now()
  local ready = redis.call('ZCARD', READY)
  local room = ready > 0 and math.min(ready, room_in_queue()) or 0
  if room > 0 and gate().fair > 0 and redis.call('EXISTS', TURN) == 0
    and redis.call('ZCOUNT', PARK, '-inf', gate().time) == 0 then
    return 0
  end
  return room
end

-- When the whole queue has a token again, if that is what ready messages wait for.
local function queue_opens_at()
  local whole = gate().whole
  if whole.rate and tokens_in(whole, gate().mark) < 1 and free_places() > 0 and redis.call('EXISTS', READY) == 1 then
    return token_at(whole, gate().mark)
  end
  return math.huge
end

-- When the passing of time lets ready messages be handed out, if none can be now.
local function opens_at()
  if redis.call('EXISTS', READY) == 0 or open_now() > 0 then
    return math.huge
  elseif gate().laning then
    return gate().time + 10000
  elseif room_in_queue() < 1 then
    return queue_opens_at()
  end
  return tonumber(redis.call('ZRANGE', PARK, 0, 0, 'WITHSCORES')[2] or math.huge)
end

-- Where a change of the lanes begins, see laning.lua.
local function first_step(counts_held)
  return counts_held and 'held:0' or 'ready:-inf'
end

-- This many messages were handed out; less than none: released.
local function spend(count)
  local it = gate()
  if it.whole.rate and count ~= 0 then
    it.mark = math.max(math.max(it.mark, it.whole.clock) + count, it.whole.clock)  -- never more than full
    redis.call('HSET', STATE, 'mark', exact(it.mark))
  end
end

-- The marks of lanes go when their buckets are full, also without another receive.
local function expire_marks()
  local last = redis.call('ZRANGE', MARKS, -1, -1, 'WITHSCORES')[2]
  if last then
    local ends = (last - gate().each.clock) / gate().each.rate * 1000
    redis.call('PEXPIRE', MARKS, text(math.min(math.max(math.ceil(ends), 0) + 1, LONGEST / 1000)))
  end
end
