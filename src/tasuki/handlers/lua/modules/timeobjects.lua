-- Time objects of the time module.
--
--   Time: add(d) sub(t) after(t) before(t) equal(t) format(layout) format_rfc3339() unix() unix_nano() date() clock()
--         year() month() day() hour() minute() second() nanosecond() weekday() year_day() is_zero() utc() in_local()
--
-- add raises on a bad duration, sub/after/before/equal on another type; every method on a wrong self.

local host = ...

local setmetatable, error, next = setmetatable, error, next
local match, os_date = string.match, os.date
local NS = 1000000000

local objects = host.time_objects
objects.MONTHS = {
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
}
objects.DAYS = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }

local times = setmetatable({}, { __mode = "k" })

local time = {}
local time_meta = objects.class("time.Time", time)

function objects.new_time(sec, ns, zone)
  local object = setmetatable({}, time_meta)
  times[object] = { sec = sec + ns // NS, ns = ns % NS, zone = zone }
  return object
end

local function data_of(self)
  return times[self or false] or error("time expected", 3)
end

-- Fields of a time in its zone, with the offset in seconds east and the name of the zone.
local function fields(t)
  local local_zone = t.zone == "Local"
  local offset, name = 0, "UTC"
  if local_zone then
    local sign, hours, minutes = match(os_date("%z", t.sec), "([%+%-])(%d%d)(%d%d)")
    offset = (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1) // 1 | 0
    name = os_date("%Z", t.sec)
  end
  local f = os_date("!*t", t.sec + offset)
  f.ns, f.offset, f.name = t.ns, offset, name
  return f
end
objects.fields = fields

function time.add(self, d)
  local t = data_of(self)
  local ns, problem = objects.to_ns(d)
  if not ns then
    error(problem, 2)
  end
  return objects.new_time(t.sec + ns // NS, t.ns + ns % NS, t.zone)
end

function time.sub(self, other)
  local a, b = data_of(self), data_of(other)
  return objects.new_duration((a.sec - b.sec) * NS + a.ns - b.ns)
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
  return t.sec == -62135596800 and t.ns == 0
end

function time.utc(self)
  local t = data_of(self)
  return objects.new_time(t.sec, t.ns, "UTC")
end

function time.in_local(self)
  local t = data_of(self)
  return objects.new_time(t.sec, t.ns, "Local")
end

function time.format(self, layout)
  local t = data_of(self)
  local text = host.text(layout)
  if text == nil then
    host.raise("format", 1, "string expected, got " .. host.base.type(layout), 3)
  end
  return objects.format(fields(t), text)
end

function time.format_rfc3339(self)
  return objects.format(fields(data_of(self)), "2006-01-02T15:04:05Z07:00")
end

function time_meta.__tostring(self)
  return objects.format(fields(times[self]), "2006-01-02 15:04:05.999999999 -0700 MST")
end
