-- The process waits no longer: another one checks in its place.
-- ARGV: the process

redis.call('ZREM', WAITING, ARGV[1])
local ordering = queue_state()
if not ordering then
  return 0
end
local time, before = now(), watch()
sweep(time, ordering)
before.ready = math.max(redis.call('ZCARD', READY) - 1, 0)  -- so that one is woken
tell(before)
appoint(time, first_due())
return 0
