-- Remove messages that are not held and were published before a purge began, as far as one portion of them goes.
-- ARGV: the size of a portion, the number of the last message before the purge or '' if it begins now, and where to go on,
--   as the last script returned it: section ('ready' at first) and cursor
-- Returns how many, that number, and where to go on: section ('' at the end) and cursor.

local size, section, cursor = tonumber(ARGV[1]), ARGV[3], ARGV[4]
local newest = tonumber(ARGV[2]) or tonumber(seq)

local function is_old(place)
  return place + math.ceil(-place / STEP) * STEP <= newest
end

local function remove_ready()
  local places = {}
  for priority = 0, 9 do
    local first, last = '(' .. text(-priority * STEP), text(newest - priority * STEP)
    for _, place in ipairs(redis.call('ZRANGEBYSCORE', READY, first, last, 'LIMIT', 0, size - #places)) do
      places[#places + 1] = place
    end
  end
  return take_out(places, ordering), #places < size
end

local function remove_from(key, place_of_member)
  local found = redis.call('ZSCAN', key, cursor, 'COUNT', size)
  local places = {}
  for index = 1, #found[2], 2 do
    local place = place_of_member(found[2][index])
    if is_old(place) then
      places[#places + 1] = place
    end
  end
  cursor = found[1]
  return take_out_waiting(places, ordering), cursor == '0'
end

-- At last the ready ones again: meanwhile some may have become due.
local following = {ready = 'delayed', delayed = ordering == 'key' and 'lines' or 'rest', lines = 'rest', rest = ''}
local removed, is_last
if section == 'delayed' then
  removed, is_last = remove_from(DELAYED, function(place) return place end)
elseif section == 'lines' then
  removed, is_last = remove_from(LINES, place_in)
else
  removed, is_last = remove_ready()
end
tell(before)
return {removed, text(newest), is_last and following[section] or section, is_last and '0' or cursor}
