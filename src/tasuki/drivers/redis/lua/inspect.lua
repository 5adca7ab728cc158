-- Returns the queue's options: lease in microseconds, max_length, ordering, dedup_window in microseconds, and milliseconds
-- for which a temporary queue is kept; '' for those that it does not have.

local options = redis.call('HMGET', STATE, 'lease', 'most', 'ordering', 'window', 'span')
if not options[3] then
  return UNDECLARED
end
return options
