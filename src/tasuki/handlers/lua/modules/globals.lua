-- Globals of every script beside the standard library: print and the restricted os.
--
--   print(...)                       one info record; items joined by a blank; tables and functions as their text
--   os.time(t?) os.date(fmt?, ts?)   as in Lua; missing hour, min, sec of t are 0, missing year, month, day today's
--   os.clock() os.difftime(a, b)     seconds; `os.platform` is "tasuki"

local host = ...

local type, select, concat, error = type, select, table.concat, error
local time, date, clock, difftime = os.time, os.date, os.clock, os.difftime

function host.print(...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = host.scrub(host.tostring((select(i, ...))))
  end
  host.ask("log", "info", host.clean(concat(parts, " ")), host.where())
end

local os = { clock = clock, platform = "tasuki" }
host.os = os

function os.time(...)
  local t = ...
  if select("#", ...) == 0 then
    return time()
  elseif type(t) ~= "table" then
    host.raise("time", 1, "table expected, got " .. type(t), 3)
  end
  local today = date("*t")
  return time({
    year = t.year or today.year,
    month = t.month or today.month,
    day = t.day or today.day,
    hour = t.hour or 0,
    min = t.min or 0,
    sec = t.sec or 0,
    isdst = t.isdst,
  })
end

function os.date(format, at)
  return date(format or "%c", at)
end

function os.difftime(a, b)
  if type(a) ~= "number" or type(b) ~= "number" then
    error("bad argument to difftime (number expected)", 2)
  end
  return difftime(a, b)
end
