-- Duration and Time objects of the time module.
--
--   Duration: nanoseconds() microseconds() milliseconds() (whole) seconds() minutes() hours() (fractions)
--             tostring: "1h30m0s"
--   Time:     add(d) sub(t) after(t) before(t) equal(t) format(layout) format_rfc3339() unix() unix_nano() date() clock()
--             year() month() day() hour() minute() second() nanosecond() weekday() year_day() is_zero() utc() in_local()
--
-- add raises on a bad duration, sub/after/before/equal on another type; every method on a wrong self.

local host = ...

local type, setmetatable, error, tonumber, next = type, setmetatable, error, tonumber, next
local format, match, sub, find, floor, mathtype = string.format, string.match, string.sub, string.find, math.floor, math.type
local os_date, modf = os.date, math.modf
local NS = 1000000000

local objects = {}
host.time_objects = objects
objects.MONTHS = {
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
}
objects.DAYS = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }

local durations, times = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

local function class(name, methods)
  local meta = { __index = methods, __metatable = false, __name = name }
  function meta.__newindex()
    error("attempt to modify a " .. name, 2)
  end
  host.objects[meta] = true
  return meta
end

-- Durations -----------------------------------------------------------------------------------------------------------------

local UNITS = { ns = 1, us = 1000, ["µs"] = 1000, ["μs"] = 1000, ms = 1000000, s = NS, m = 60 * NS, h = 3600 * NS }

local function parse(text)
  local sign, rest = match(text, "^([%+%-]?)(.*)$")
  if rest == "0" then
    return 0
  elseif rest == "" then
    return nil, 'time: invalid duration "' .. text .. '"'
  end
  local total = 0
  while rest ~= "" do
    local whole, point, fraction, after = match(rest, "^(%d*)(%.?)(%d*)(.*)$")
    if whole == "" and fraction == "" then
      return nil, 'time: invalid duration "' .. text .. '"'
    end
    local unit, left = match(after, "^([^%d%.]*)(.*)$")
    if unit == "" then
      return nil, 'time: missing unit in duration "' .. text .. '"'
    elseif not UNITS[unit] then
      return nil, 'time: unknown unit "' .. unit .. '" in duration "' .. text .. '"'
    end
    local scale = UNITS[unit]
    local number = (tonumber(whole) or 0) * scale
    if fraction ~= "" then
      number = number + floor(tonumber("0." .. fraction) * scale + 1e-6)
    end
    if mathtype(number) ~= "integer" or number < 0 or #whole > 19 or total + number < total then
      return nil, 'time: invalid duration "' .. text .. '"'
    end
    total, rest = total + number, left
  end
  return sign == "-" and -total or total
end

function objects.is_duration(value)
  return durations[value] ~= nil
end

function objects.to_ns(value)
  if type(value) == "string" then
    return parse(host.scrub(value))
  elseif type(value) == "number" then
    local whole = modf(value)
    return whole > -0x1p63 and whole < 0x1p63 and floor(whole) or nil, "duration out of range"
  elseif durations[value or false] then
    return durations[value]
  end
  return nil, "invalid duration type: " .. host.base.type(value)
end

local duration = {}
local duration_meta = class("time.Duration", duration)

function objects.new_duration(ns)
  local object = setmetatable({}, duration_meta)
  durations[object] = ns
  return object
end

local function ns_of(self)
  return durations[self] or error("duration expected", 3)
end

local function towards_zero(ns, unit)
  return ns >= 0 and ns // unit or -(-ns // unit)
end

for name, unit in next, { nanoseconds = 1, microseconds = 1000, milliseconds = 1000000 } do
  duration[name] = function(self)
    return towards_zero(ns_of(self), unit)
  end
end
for name, unit in next, { seconds = NS, minutes = 60 * NS, hours = 3600 * NS } do
  duration[name] = function(self)
    return ns_of(self) / unit
  end
end

local function trimmed(number, unit) -- a number of `unit` nanoseconds without superfluous zeros
  local whole, rest = number // unit, number % unit
  if rest == 0 then
    return format("%d", whole)
  end
  local digits = format("%0" .. #format("%d", unit) - 1 .. "d", rest)
  return format("%d.%s", whole, (match(digits, "^(.-)0*$")))
end

function duration_meta.__tostring(self)
  local ns = durations[self]
  local sign = ns < 0 and "-" or ""
  if ns < 0 then
    ns = -ns
  end
  if ns == 0 then
    return "0s"
  elseif ns < 1000 then
    return sign .. ns .. "ns"
  elseif ns < 1000000 then
    return sign .. trimmed(ns, 1000) .. "µs"
  elseif ns < NS then
    return sign .. trimmed(ns, 1000000) .. "ms"
  end
  local minutes, rest = ns // (60 * NS), ns % (60 * NS)
  local head = minutes >= 60 and format("%dh%dm", minutes // 60, minutes % 60) or minutes > 0 and minutes .. "m" or ""
  return sign .. head .. trimmed(rest, NS) .. "s"
end

-- Times ---------------------------------------------------------------------------------------------------------------------

local time = {}
local time_meta = class("time.Time", time)

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
