-- Make the queue exist with these options; a change of the ordering begins a conversion, one of the lanes as well.
-- ARGV: lease in microseconds, max_length or '', ordering, dedup_window in microseconds or '', milliseconds for which the
--   queue is kept without use or '', 1 if it is temporary or '', what a publisher waits for as publish.lua returns it, the
--   layout, and its limits as in limits.lua or ''
-- Returns the layout of the queue, '' if it has none; with another one than the caller's nothing is done; and 1 if a
-- conversion is under way, else 0.

local lease, most, ordering, window, span, temporary, wait, layout, limits_now = unpack(ARGV)
run_at_maxmemory()
local was, had_span, had_layout = queue_state('span', 'version')
if was and had_layout ~= layout then
  return {had_layout or '', 0}
end
-- A queue that is made again (after its options were deleted, say) must not give numbers a second time.
if redis.call('HSETNX', STATE, 'seq', text(math.floor(now() / 1000))) == 1 then
  redis.call('HSET', STATE, 'strays', text(now() + 30 * 1000000) .. ' 0')  -- see strays.lua: a new queue has none
end
redis.call('HSET', STATE, 'lease', lease, 'most', most, 'ordering', ordering, 'window', window, 'span', span,
  'temporary', temporary, 'wait', wait, 'version', layout)
if window == '' then
  redis.call('UNLINK', IDS)
end
if was and was ~= ordering then
  if ordering == 'key' then
    redis.call('UNLINK', LINES, FRONTS)
  end
  redis.call('HSET', STATE, 'conversion', ordering .. ':leases:0')
end
local is_laning = false
limits_now = limits_now or ''
if limits_now ~= (limits or '') or limits and was ~= ordering then
  is_laning = change_limits(limits_now, was ~= ordering)
end
if span ~= '' then
  keep(span)
elseif had_span and had_span ~= '' then
  for index = 1, #KEYS - TIMED do
    redis.call('PERSIST', KEYS[index])
  end
end
return {layout, (conversion or was and was ~= ordering or is_laning) and 1 or 0}
