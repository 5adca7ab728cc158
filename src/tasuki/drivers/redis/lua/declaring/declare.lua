-- Make the queue exist with these options; a change of the ordering begins a conversion, one of the lanes as well.
-- ARGV: lease in microseconds, max_length or '', ordering, dedup_window in microseconds or '', milliseconds for which the
--   queue is kept without use or '', 1 if it is temporary or '', what a publisher waits for as publish.lua returns it, the
--   version of the layout, the oldest that can work with it, and its limits as in limits.lua or ''
-- Returns both numbers as they were; with an oldest that is newer than the caller nothing is done; and 1 if a conversion
-- is under way, else 0.

local lease, most, ordering, window, span, temporary, wait, version, min_version, limits_now = unpack(ARGV)
run_at_maxmemory()
adopt()
local was, had_span, had_version, had_min_version = queue_state('span', 'version', 'min_version')
had_version, had_min_version = tonumber(had_version or 1), tonumber(had_min_version or 1)
if was and had_min_version > tonumber(version) then
  return {had_version, had_min_version, 0}
end
refuse_older(span)
-- A queue that is made again (after its options were deleted, say) must not give numbers a second time.
if redis.call('HSETNX', STATE, 'seq', text(math.floor(now() / 1000))) == 1 then
  redis.call('HSET', STATE, 'strays', text(now() + 30 * 1000000) .. ' 0')  -- see strays.lua: a new queue has none
end
redis.call('HSET', STATE, 'lease', lease, 'most', most, 'ordering', ordering, 'window', window, 'span', span,
  'temporary', temporary, 'wait', wait)
if not was or had_version < tonumber(version)
  or had_version == tonumber(version) and had_min_version ~= tonumber(min_version) then
  redis.call('HSET', STATE, 'version', version, 'min_version', min_version)
end
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
return {had_version, had_min_version, (conversion or was and was ~= ordering or is_laning) and 1 or 0}
