-- Wake one process. Returns 0 if it has gone: PUBLISH counts the subscribers at this node, and a process subscribes at the
-- node of the queue (redis.io/docs/latest/commands/publish). One that subscribes elsewhere hears too, and counts as gone.
local function notify(owner, news)
  return math.min(redis.call('PUBLISH', STATE .. ':' .. owner, news or ''), 1)
end

-- Wake as many waiting processes as there are new messages: first those that have waited longest.
local function wake(count)
  local woken = 0
  while woken < count do
    local popped = redis.call('ZPOPMIN', WAITING, math.min(count - woken, CHUNK))
    if #popped == 0 then
      return woken
    end
    for index = 1, #popped, 2 do
      woken = woken + notify(popped[index])
    end
  end
  return woken
end

-- All processes that listen to the queue: those whose place in WAITING was lost hear it too.
local function tell_all()
  redis.call('PUBLISH', STATE, '')
end
