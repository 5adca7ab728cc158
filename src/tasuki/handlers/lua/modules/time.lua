-- time: the clock, durations and waiting.
--
--   time.sleep(d)              nothing | nil, err (Invalid)   waits; only this handler is suspended
--   time.now()                 Time in the local zone
--   time.unix(sec, nsec)       Time in the local zone; both are required
--   time.parse_duration(d)     Duration | nil, err (Invalid)
--   constants                  NANOSECOND ... HOUR, JANUARY ..., SUNDAY ..., RFC3339 ... TIME_ONLY
--
-- A duration is a number of nanoseconds, a Go text ("1h30m") or a Duration. Methods: see timedurations.lua, timeobjects.lua.

local host = ...

local type, next = type, next
local ask = host.ask
local objects = host.time_objects
local time = {
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
    return nil, host.new_error("duration must be number or string", "Invalid", false)
  end
  local ns, problem = objects.to_ns(d)
  if not ns then
    return nil, host.new_error(problem, "Invalid", false)
  end
  local ok, err = ask("time.sleep", ns / 1e9)
  if not ok then
    return nil, err
  end
end

function time.now()
  local _, ns = ask("time.now")
  return objects.new_time(ns // 1000000000, ns % 1000000000, "Local")
end

local function int(value, n)
  if type(value) ~= "number" then
    host.raise("unix", n, "number expected, got " .. host.base.type(value), 4)
  end
  return (value >= 0 and value // 1 or -(-value // 1)) | 0
end

function time.unix(sec, nsec)
  return objects.new_time(int(sec, 1), int(nsec, 2), "Local")
end

function time.parse_duration(value)
  local ns, problem = objects.to_ns(value)
  if not ns then
    return nil, host.new_error(problem, "Invalid", false)
  end
  return objects.new_duration(ns)
end

return time
