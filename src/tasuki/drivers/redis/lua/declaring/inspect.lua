-- Returns the queue's options: lease in microseconds, max_length, ordering, dedup_window in microseconds, milliseconds for
-- which it is kept without use, 1 if it is temporary, what a publisher waits for, and its limits as in limits.lua; ''
-- for those that it does not have, and of its layout.

local ordering, lease, most, window, span, temporary, wait, layout =
  queue_state('lease', 'most', 'window', 'span', 'temporary', 'wait', 'version')
if not ordering then
  return {err = UNDECLARED}
end
return {lease, most, ordering, window, span, temporary or (span ~= '' and '1' or ''), wait or '', limits or '', layout or ''}
