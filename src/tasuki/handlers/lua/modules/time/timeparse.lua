-- Reads times by Go layouts, with Go's rules and texts.
--
--   objects.parse(layout, text, location)   Time, or nil and the mistake

local host = ...

local sub, match, gsub, byte, format = string.sub, string.match, string.gsub, string.byte, string.format
local next, tonumber = next, tonumber
local objects = host.time_objects

local function skip(text, prefix) -- a blank stands for any number of them
  local at, done = 1, 1
  while done <= #prefix do
    local c = sub(prefix, done, done)
    if c == " " then
      if at <= #text and sub(text, at, at) ~= " " then
        return nil, sub(text, at)
      end
      done, at = match(prefix, "^ +()", done), match(text, "^ *()", at)
    elseif sub(text, at, at) ~= c then
      return nil, sub(text, at)
    else
      at, done = at + 1, done + 1
    end
  end
  return sub(text, at)
end

-- As Go does it: characters other than printable ASCII as their bytes.
local function quote(text)
  return '"' .. gsub(text, '[%c"\\\127-\255]', function(c)
    return (c == '"' or c == "\\") and "\\" .. c or format("\\x%02x", byte(c))
  end) .. '"'
end

local function cannot(text, layout, rest, element)
  return nil, format("parsing time %s as %s: cannot parse %s as %s", quote(text), quote(layout), quote(rest), quote(element))
end

-- Reads all elements into `state`; true, or nil and the mistake.
local function scan(layout, text, state)
  local rest, at = text, 1
  while true do
    local name, start, stop = objects.element(layout, at)
    local prefix = sub(layout, at, (start or 0) - 1)
    local left, problem = skip(rest, prefix)
    if not left then
      return cannot(text, layout, problem, prefix)
    elseif not name then
      if left ~= "" then
        return nil, "parsing time " .. quote(text) .. ": extra text: " .. quote(left)
      end
      return true
    end
    host.charge(30)
    state.following = objects.element(layout, stop + 1)
    local after, why, what = objects.read(name, left, state, stop - start)
    if not after and why == "range" then
      return nil, "parsing time " .. quote(text) .. ": " .. what .. " out of range"
    elseif not after then
      return cannot(text, layout, left, sub(layout, start, stop))
    end
    rest, at = after, stop + 1
  end
end

local function is_leap(year)
  return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

-- Month and day of the state, from the day of the year if that is given; or the mistake.
local function date_of(state)
  local year, yday = state.year or 0, state.yday
  if not yday then
    local month, day = state.month or 1, state.day or 1
    local length = objects.days(year, month + 1, 1) - objects.days(year, month, 1)
    return month, day, (day < 1 or day > length) and "day out of range" or nil
  elseif yday < 1 or yday > (is_leap(year) and 366 or 365) then
    return nil, nil, "day-of-year out of range"
  end
  local _, month, day = objects.civil(objects.days(year, 1, yday) * 86400)
  if state.month and state.month ~= month then
    return nil, nil, "day-of-year does not match month"
  elseif state.day and state.day ~= day then
    return nil, nil, "day-of-year does not match day"
  end
  return month, day
end

local HALF_YEAR = 15768000

-- The instant of a time whose zone is a mere abbreviation: it counts if the location uses it, else it is an empty name.
local function abbreviated(seconds, ns, name, location)
  local zone = objects.zone_of(location)
  for _, at in next, { 0, HALF_YEAR, -HALF_YEAR } do
    local offset, abbreviation = zone.lookup(seconds + at)
    if abbreviation == name then
      return objects.new_time(seconds - offset, ns, location)
    end
  end
  local offset = tonumber(match(name, "^GMT([%+%-]%d+)$") or 0) * 3600
  return objects.new_time(seconds - offset, ns, objects.fixed_location(name, offset))
end

function objects.parse(layout, text, location)
  local state = {}
  local ok, problem = scan(layout, text, state)
  if not ok then
    return nil, problem
  end
  local month, day, wrong = date_of(state)
  if wrong then
    return nil, "parsing time " .. quote(text) .. ": " .. wrong
  end
  local hour = state.hour or 0
  if state.half then
    hour = hour % 12 + (state.half == "pm" and 12 or 0)
  end
  local seconds = objects.days(state.year or 0, month, day) * 86400 + hour * 3600 + (state.min or 0) * 60 + (state.sec or 0)
  local ns = state.ns or 0
  if state.location then
    return objects.new_time(seconds, ns, state.location)
  elseif state.offset then
    local offset, name = objects.zone_of(location).lookup(seconds - state.offset)
    local fits = offset == state.offset and (not state.zone or state.zone == name)
    return objects.new_time(seconds - state.offset, ns, fits and location or objects.fixed_location(state.zone or "", state.offset))
  elseif state.zone then
    return abbreviated(seconds, ns, state.zone, location)
  end
  return objects.new_date(seconds, ns, location)
end
