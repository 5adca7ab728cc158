-- Returns the queue's options: lease in microseconds, max_length, ordering, dedup_window in microseconds, and milliseconds
-- for which a temporary queue is kept, '' for those that it does not have; and both numbers of its layout.

local ordering, lease, most, window, span, version, min_version =
  queue_state('lease', 'most', 'window', 'span', 'version', 'min_version')
if not ordering then
  return UNDECLARED
end
return {lease, most, ordering, window, span, version or '1', min_version or '1'}
