-- time: the clock, dates, durations, places and waiting.
--
--   time.sleep(d)                         nothing | nil, err (Invalid)   waits; only this handler is suspended
--   time.now()                            Time in the local zone
--   time.unix(sec, nsec)                  Time in the local zone; both are required
--   time.date(y, mo, d, h, mi, s, ns, loc?) Time; all seven are required, and may be out of range: month 13, day 0
--   time.parse(layout, text, loc?)        Time | nil, err (Invalid)   zone: the text's, else loc, else local
--   time.parse_duration(d)                Duration | nil, err (Invalid)
--   time.load_location(name)              Location | nil, err (Invalid: empty; NotFound: unknown)   IANA names, UTC, Local
--   time.fixed_zone(name, offset)         Location, this many seconds east
--   time.utc time.localtz                 Locations
--   constants                             NANOSECOND ... HOUR, JANUARY ..., SUNDAY ..., RFC3339 ... TIME_ONLY
--
-- A duration is a number of nanoseconds, a Go text ("1h30m") or a Duration.

local host = ...

local type, next, select = type, next, select
local ask, string = host.ask, host.string
local unpack = table.unpack
local objects = host.time_objects
local time = {
  utc = objects.utc,
  localtz = objects.localtz,
  NANOSECOND = 1.0,
  MICROSECOND = 1e3,
  MILLISECOND = 1e6,
  SECOND = 1e9,
  MINUTE = 6e10,
  HOUR = 3.6e12,
  RFC3339 = "2006-01-02T15:04:05Z07:00",
  RFC3339NANO = "2006-01-02T15:04:05.999999999Z07:00",
  RFC822 = "02 Jan 06 15:04 MST",
  RFC822Z = "02 Jan 06 15:04 -0700",
  RFC850 = "Monday, 02-Jan-06 15:04:05 MST",
  RFC1123 = "Mon, 02 Jan 2006 15:04:05 MST",
  RFC1123Z = "Mon, 02 Jan 2006 15:04:05 -0700",
  KITCHEN = "3:04PM",
  STAMP = "Jan _2 15:04:05",
  STAMP_MILLI = "Jan _2 15:04:05.000",
  STAMP_MICRO = "Jan _2 15:04:05.000000",
  STAMP_NANO = "Jan _2 15:04:05.000000000",
  DATE_TIME = "2006-01-02 15:04:05",
  DATE_ONLY = "2006-01-02",
  TIME_ONLY = "15:04:05",
}

for i, name in next, objects.MONTHS do
  time[name:upper()] = i + 0.0
end
for i, name in next, objects.DAYS do
  time[name:upper()] = i - 1.0
end

function time.sleep(d)
  if type(d) ~= "number" and type(d) ~= "string" and not objects.is_duration(d) then
    return host.invalid("duration must be number or string")
  end
  local ns, problem = objects.to_ns(d)
  if not ns then
    return host.invalid(problem)
  end
  local ok, err = ask("time.sleep", ns / 1e9)
  if not ok then
    return nil, err
  end
end

local born

function time.now()
  local _, ns = ask("time.now")
  born = born or ns
  return objects.new_time(ns // 1000000000, ns % 1000000000, objects.localtz, ns - born)
end

local function location_of(fn, n, count, value)
  if count < n then
    return objects.localtz
  end
  return objects.zone_of(value) and value or host.raise(fn, n, "location expected")
end

function time.unix(sec, nsec)
  return objects.new_time(host.int("unix", 1, sec), host.int("unix", 2, nsec), objects.localtz)
end

function time.date(...)
  local parts = { ... }
  for i = 1, 7 do
    parts[i] = host.int("date", i, parts[i])
  end
  local year, month, day, hour, minute, second, ns = unpack(parts, 1, 7)
  local seconds = objects.days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second + ns // 1000000000
  return objects.new_date(seconds, ns % 1000000000, location_of("date", 8, select("#", ...), parts[8]))
end

function time.parse(layout, text, ...)
  local place = location_of("parse", 3, select("#", ...) + 2, (...))
  local value, problem = objects.parse(string("parse", 1, layout), string("parse", 2, text), place)
  if not value then
    return host.invalid(host.scrub(problem))
  end
  return value
end

function time.load_location(name)
  local text = string("load_location", 1, name)
  if text == "" then
    return host.invalid("empty location name")
  elseif text == "UTC" or text == "Local" then
    return text == "UTC" and objects.utc or objects.localtz
  end
  local ok, list = ask("time.zone", host.scrub(text))
  if not ok then
    return nil, list
  end
  return objects.listed_location(text, list)
end

function time.fixed_zone(name, offset)
  return objects.fixed_location(string("fixed_zone", 1, name), host.int("fixed_zone", 2, offset))
end

function time.parse_duration(value)
  local ns, problem = objects.to_ns(value)
  if not ns then
    return host.invalid(problem)
  end
  return objects.new_duration(ns)
end

host.add_timers(time)

return time
