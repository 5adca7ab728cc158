-- Durations of the time module: Go texts, nanoseconds, and Duration objects.
--
--   Duration: nanoseconds() microseconds() milliseconds() (whole) seconds() minutes() hours() (fractions)
--             tostring: "1h30m0s"; every method raises on a wrong self
--   objects.to_ns(value)        whole nanoseconds, or nil and the mistake
--   objects.new_duration(ns)    a Duration
--   host.int(fn, n, value)      a whole number, or raises

local host = ...

local type, tonumber, next = type, tonumber, next
local format, match, floor, mathtype, modf = string.format, string.match, math.floor, math.type, math.modf
local NS, mininteger, maxinteger = 1000000000, math.mininteger, math.maxinteger
local objects = {}
host.time_objects = objects

-- A whole number of the script, its fraction cut; texts are refused.
function host.int(fn, n, value)
  local whole = modf(host.expect(fn, n, value, "number"))
  if whole ~= whole or whole < -0x1p63 or whole >= 0x1p63 then
    host.raise(fn, n, "number has no integer representation")
  end
  return mathtype(value) == "integer" and value or floor(whole)
end

local duration = {}
local new, ns_of, durations, meta = host.class("time.Duration", duration, "duration")
objects.new_duration = new

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
    local count = tonumber(whole) or 0
    if count > maxinteger // scale then
      return nil, 'time: invalid duration "' .. text .. '"'
    end
    local number = count * scale
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
  elseif durations[value] then
    return durations[value]
  end
  return nil, "invalid duration type: " .. host.base.type(value)
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

function meta.__tostring(self)
  local ns = ns_of(self)
  if ns == mininteger then -- it has no positive counterpart
    return "-2562047h47m16.854775808s"
  end
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
