-- The calendar and the locations of the time module.
--
--   Location: string(), tostring: its name
--   objects.days(y, m, d)         days since 1970-01-01; month and day may be out of range
--   objects.civil(sec)            year, month, day, second of the day, weekday (1: Sunday), day of the year
--   objects.utc objects.localtz   Locations
--   objects.new_location(name, lookup)   lookup(sec) gives offset east, abbreviation, first second and end of that offset
--   objects.zone_of(location)     {name, lookup, object}, or nil for another type

local host = ...

local tonumber = tonumber
local match, os_date, mininteger, maxinteger = string.match, os.date, math.mininteger, math.maxinteger
local DAY = 86400
local objects = host.time_objects
local location = {}
local new, data_of, zones, meta = host.class("time.Location", location, "location")

-- Days and dates in the proleptic Gregorian calendar; years start in March here, so that a leap day is the last one.
function objects.days(year, month, day)
  year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
  local y = month <= 2 and year - 1 or year
  local era, shifted = y // 400, (month + 9) % 12
  local of_era = y - era * 400
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + (153 * shifted + 2) // 5 + day - 1 - 719468
end

function objects.civil(sec)
  local days = sec // DAY
  local z = days + 719468
  local era = z // 146097
  local of_era = z - era * 146097
  local y = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * y + y // 4 - y // 100)
  local shifted = (5 * of_year + 2) // 153
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = y + era * 400 + (month <= 2 and 1 or 0)
  local day = of_year - (153 * shifted + 2) // 5 + 1
  return year, month, day, sec % DAY, (days + 4) % 7 + 1, days - objects.days(year, 1, 1) + 1
end

function objects.new_location(name, lookup)
  local zone = { name = name, lookup = lookup }
  zone.object = new(zone)
  return zone.object
end

function objects.fixed_location(name, offset)
  return objects.new_location(name, function()
    return offset, name, mininteger, maxinteger
  end)
end

function objects.zone_of(value)
  return zones[value]
end

function location.string(self)
  return data_of(self).name
end
meta.__tostring = location.string

objects.utc = objects.fixed_location("UTC", 0)

-- The C library tells the offset at an instant, not how long it lasts: a window around it must do.
local function offset_at(sec)
  local sign, hours, minutes = match(os_date("%z", sec), "([%+%-])(%d%d)(%d%d)")
  local offset = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "-" and -offset or offset
end

local FARTHEST = 60000000000 -- seconds from 1970; the C library refuses years far beyond

objects.localtz = objects.new_location("Local", function(sec)
  if sec > FARTHEST or sec < -FARTHEST - 8000000000 then
    sec = 0
  end
  local offset = offset_at(sec)
  return offset, os_date("%Z", sec), sec, sec + 1
end)

-- From what Python says: offset and name before the first change, then instant, offset and name for every change.
function objects.listed_location(name, list)
  local count = (#list - 2) // 3
  return objects.new_location(name, function(sec)
    local low, high = 0, count
    while low < high do -- the last change at or before the instant
      local middle = (low + high + 1) // 2
      if list[middle * 3] <= sec then
        low = middle
      else
        high = middle - 1
      end
    end
    local start, stop = low > 0 and list[low * 3] or mininteger, low < count and list[low * 3 + 3] or maxinteger
    local at = low > 0 and low * 3 + 1 or 1
    return list[at], list[at + 1], start, stop
  end)
end

-- The instant at which the clocks of a place show these seconds: as Go does it around the gaps and folds.
function objects.instant(seconds, zone)
  local offset, _, start, stop = zone.lookup(seconds)
  if offset ~= 0 then
    local guess = seconds - offset
    if guess < start or guess >= stop then
      offset = zone.lookup(guess)
    end
  end
  return seconds - offset
end
