-- Show waiting messages: receivable ones in order, those behind their key, delayed ones.
-- ARGV: limit, and where to go on, as the last script returned it: the section ('ready' at first), how many messages to
--   skip, and the line behind which to look
-- Returns places, contents, errors, histories, delays, and where to go on: section ('' at the end), number and line.

local limit, section, skip, line = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
tell(before)
local places = {}

-- Whether that was the last of them.
local function add_from(key)
  local found = redis.call('ZRANGE', key, skip, skip + limit - #places - 1)
  for _, place in ipairs(found) do
    places[#places + 1] = place
  end
  if #places == limit then
    skip = skip + #found
    return false
  end
  skip = math.max(skip - redis.call('ZCARD', key), 0)
  return true
end

-- The same for a portion of the lines.
local function add_from_lines()
  local lines = redis.call('ZRANGEBYLEX', LINES, line == '' and '-' or '(' .. line, '+', 'LIMIT', 0, PORTION)
  local found = {}
  for index, member in ipairs(lines) do
    found[index] = place_in(member)
  end
  local held, shown = held_among(found), {}
  if #found > 0 then
    shown = redis.call('ZMSCORE', READY, unpack(found))
    for index, delayed in ipairs(redis.call('ZMSCORE', DELAYED, unpack(found))) do
      shown[index] = shown[index] or delayed
    end
  end
  for index, place in ipairs(found) do
    line = lines[index]
    if not shown[index] and not held[place] then
      if skip > 0 then
        skip = skip - 1
      else
        places[#places + 1] = place
        if #places == limit then
          return false
        end
      end
    end
  end
  return #lines < PORTION
end

if section == 'ready' and add_from(READY) then
  section = ordering == 'key' and 'lines' or 'delayed'
end
if section == 'lines' and add_from_lines() then
  section = 'delayed'
end
if section == 'delayed' and add_from(DELAYED) then
  section = ''
end
if #places == 0 then
  return {places, {}, {}, {}, {}, section, skip, line}
end
local contents, errors, histories, delays = looks(places)
return {places, contents, errors, histories, delays, section, skip, line}
