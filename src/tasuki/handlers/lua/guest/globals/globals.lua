-- Globals of every script beside the standard library: print and the restricted os.
--
--   print(...)                       one info record; items joined by a blank; tables and functions as their text
--   os.time(t?)                      seconds; missing hour, min, sec of t are 0, missing year, month, day today's
--   os.date(fmt?, ts?)               text, or a table for *t, whose isdst is true in any zone but UTC; a leading ! is UTC
--                                    letters: a A b B c d H I j m M p S U w W x X y Y z Z %; others stay as they are
--   os.clock()                       seconds that this process has run
--   os.difftime(a, b)                seconds; `os.platform` is "wippy"

local host = ...

local select, concat, floor = select, table.concat, math.floor
local sub, gsub, gmatch = string.sub, string.gsub, string.gmatch
local time, date, difftime = os.time, os.date, os.difftime

function host.print(...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = host.scrub(host.tostring((select(i, ...))))
  end
  host.ask("log", "info", host.clean(concat(parts, " ")), host.where())
end

local os = { platform = "wippy" }
host.os = os

function os.clock()
  local _, seconds = host.ask("os.clock")
  return seconds
end

local function field(t, name, default)
  local value = t[name]
  return value == nil and default or value
end

function os.time(...)
  local t = ...
  if select("#", ...) == 0 then
    return time()
  end
  host.expect("time", 1, t, "table")
  local today = date("*t")
  return time({
    year = field(t, "year", today.year),
    month = field(t, "month", today.month),
    day = field(t, "day", today.day),
    hour = field(t, "hour", 0),
    min = field(t, "min", 0),
    sec = field(t, "sec", 0),
    isdst = t.isdst,
  })
end

-- What C writes for a letter; others stay as they are written. The week is ISO's for both U and W.
local C = { c = "%a %b %e %H:%M:%S %Y", U = "%V", W = "%V", x = "%m/%d/%y", X = "%H:%M:%S", ["%"] = "%%" }
for letter in gmatch("aAbBdHIjmMpSwyYzZ", ".") do
  C[letter] = "%" .. letter
end

local FARTHEST = 6e16

local function instant(at)
  if at == nil then
    return time()
  end
  host.expect("date", 2, at, "number")
  if not (at > -FARTHEST and at < FARTHEST) then -- C has no year for it
    host.raise("date", 2, "time out of range")
  end
  return floor(at)
end

function os.date(format, at)
  local text = format == nil and "%c" or host.string("date", 1, format)
  local seconds, zone = instant(at), ""
  if sub(text, 1, 1) == "!" then
    zone, text = "!", sub(text, 2)
  end
  if sub(text, 1, 2) == "*t" then
    local fields = date(zone .. "*t", seconds)
    fields.isdst = zone == "" and date("%Z", seconds) ~= "UTC"
    return fields
  end
  host.charge(#text // 4)
  return (gsub(text, "%%(.)", function(letter)
    if letter == "Z" and zone == "!" then
      return "UTC" -- C says GMT
    end
    return C[letter] and date(zone .. C[letter], seconds)
  end))
end

function os.difftime(a, b)
  return difftime(host.expect("difftime", 1, a, "number"), host.expect("difftime", 2, b, "number"))
end
