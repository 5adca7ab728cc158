-- Time objects of the time module.
--
--   Time: add(d) sub(t) add_date(y, m, d) after(t) before(t) equal(t) format(layout) format_rfc3339() unix() unix_nano()
--         date() clock() year() month() day() hour() minute() second() nanosecond() weekday() year_day() is_zero()
--         in_location(loc) utc() in_local() location() round(duration) truncate(duration)
--
-- add raises on a bad duration, add_date on another type than numbers, round and truncate on other types than a Duration, the others on
-- another type; every method on a wrong self.

local host = ...

local error, next, format = error, next, string.format
local ult, mininteger, maxinteger = math.ult, math.mininteger, math.maxinteger
local NS, YEAR_ONE = 1000000000, -62135596800

local objects = host.time_objects
objects.MONTHS = {
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
}
objects.DAYS = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }

local time = {}
local new, data_of, _, meta = host.class("time.Time", time, "time")

-- `mono`: nanoseconds since this runtime started, of what time.now() gave; it shows in the text only.
function objects.new_time(sec, ns, location, mono)
  return new({ sec = sec + ns // NS, ns = ns % NS, zone = objects.zone_of(location), mono = mono })
end

function objects.new_date(seconds, ns, location)
  return objects.new_time(objects.instant(seconds, objects.zone_of(location)), ns, location)
end

-- Fields of a time in its zone, with the offset in seconds east and the name of the zone.
local function fields(t)
  local offset, name = t.zone.lookup(t.sec)
  local year, month, day, second, wday, yday = objects.civil(t.sec + offset)
  return {
    year = year, month = month, day = day, wday = wday, yday = yday, ns = t.ns, offset = offset, name = name,
    hour = second // 3600, min = second // 60 % 60, sec = second % 60,
  }
end

function time.add(self, d)
  local t = data_of(self)
  local ns, problem = objects.to_ns(d)
  if not ns then
    error(problem, 2)
  end
  return objects.new_time(t.sec + ns // NS, t.ns + ns % NS, t.zone.object, t.mono and t.mono + ns)
end

function time.sub(self, other)
  local a, b = data_of(self), data_of(other)
  local seconds = a.sec - b.sec
  if seconds > maxinteger // NS or seconds < mininteger // NS + 1 then -- farther apart than a Duration can say
    return objects.new_duration(seconds > 0 and maxinteger or mininteger)
  end
  return objects.new_duration(seconds * NS + a.ns - b.ns)
end

function time.add_date(self, years, months, days)
  local t = data_of(self)
  local y, m, d = host.int("add_date", 1, years), host.int("add_date", 2, months), host.int("add_date", 3, days)
  local f = fields(t)
  local seconds = objects.days(f.year + y, f.month + m, f.day + d) * 86400 + f.hour * 3600 + f.min * 60 + f.sec
  return objects.new_date(seconds, t.ns, t.zone.object)
end

local function compare(a, b)
  return a.sec ~= b.sec and (a.sec < b.sec and -1 or 1) or a.ns ~= b.ns and (a.ns < b.ns and -1 or 1) or 0
end

function time.after(self, other)
  return compare(data_of(self), data_of(other)) > 0
end

function time.before(self, other)
  return compare(data_of(self), data_of(other)) < 0
end

function time.equal(self, other)
  return compare(data_of(self), data_of(other)) == 0
end

function time.unix(self)
  return data_of(self).sec + 0.0
end

function time.unix_nano(self)
  local t = data_of(self)
  return t.sec * 1e9 + t.ns
end

for name, field in next, { year = "year", month = "month", day = "day", hour = "hour", minute = "min", second = "sec", nanosecond = "ns", year_day = "yday" } do
  time[name] = function(self)
    return fields(data_of(self))[field]
  end
end

function time.weekday(self)
  return fields(data_of(self)).wday - 1
end

function time.date(self)
  local f = fields(data_of(self))
  return f.year, f.month, f.day
end

function time.clock(self)
  local f = fields(data_of(self))
  return f.hour, f.min, f.sec
end

function time.is_zero(self)
  local t = data_of(self)
  return t.sec == YEAR_ONE and t.ns == 0
end

function time.location(self)
  return data_of(self).zone.object
end

function time.in_location(self, location)
  local t = data_of(self)
  if not objects.zone_of(location) then
    error("location expected", 2)
  end
  return objects.new_time(t.sec, t.ns, location)
end

function time.utc(self)
  local t = data_of(self)
  return objects.new_time(t.sec, t.ns, objects.utc)
end

function time.in_local(self)
  local t = data_of(self)
  return objects.new_time(t.sec, t.ns, objects.localtz)
end

-- (a + b) % d for a, b below d, where the sum may be beyond 63 bits.
local function sum(a, b, d)
  local total = a + b
  return ult(total, d) and total or total - d
end

-- The remainder of a time since the year one divided by a duration; a product of 96 bits, bit by bit.
local function rest(t, d)
  local seconds, negative = t.sec - YEAR_ONE, t.sec < YEAR_ONE
  local ns = t.ns
  if negative then
    seconds, ns = -seconds, ns > 0 and NS - ns or 0
    seconds = t.ns > 0 and seconds - 1 or seconds
  end
  local left, unit = 0, NS % d
  for bit = 62, 0, -1 do
    left = sum(left, left, d)
    if seconds >> bit & 1 == 1 then
      left = sum(left, unit, d)
    end
  end
  left = sum(left, ns % d, d)
  return negative and left ~= 0 and d - left or left
end

-- Of time.round and time.truncate, whose argument is a Duration object.
local function duration_of(value)
  return objects.is_duration(value) and objects.to_ns(value) or host.fail("duration expected")
end

local function moved(t, ns)
  return objects.new_time(t.sec + ns // NS, t.ns + ns % NS, t.zone.object)
end

function time.truncate(self, duration)
  local t, d = data_of(self), duration_of(duration)
  return moved(t, d > 0 and -rest(t, d) or 0)
end

function time.round(self, duration)
  local t, d = data_of(self), duration_of(duration)
  local left = d > 0 and rest(t, d) or 0
  return moved(t, left < d - left and -left or d > 0 and d - left or 0)
end

function time.format(self, layout)
  local t, text = data_of(self), host.string("format", 1, layout)
  return objects.format(fields(t), text)
end

function time.format_rfc3339(self)
  return objects.format(fields(data_of(self)), "2006-01-02T15:04:05Z07:00")
end

function meta.__tostring(self)
  local t = data_of(self)
  local text = objects.format(fields(t), "2006-01-02 15:04:05.999999999 -0700 MST")
  if t.mono then
    local m = t.mono < 0 and -t.mono or t.mono
    text = text .. format(" m=%s%d.%09d", t.mono < 0 and "-" or "+", m // NS, m % NS)
  end
  return text
end
