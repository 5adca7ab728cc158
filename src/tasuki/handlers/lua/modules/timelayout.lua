-- Go layouts: the reference time Mon Jan 2 15:04:05 MST 2006, written as the output shall look.

local host = ...

local format, sub, find, match, rep = string.format, string.sub, string.find, string.match, string.rep
local concat = table.concat
local objects = host.time_objects

local function clock12(f)
  return (f.hour + 11) % 12 + 1
end

local function zone(pattern, z)
  return function(f)
    if z and f.offset == 0 then
      return "Z"
    end
    local offset = f.offset < 0 and -f.offset or f.offset
    local hours, minutes = offset // 3600, offset // 60 % 60
    return (f.offset < 0 and "-" or "+") .. format(pattern, hours, minutes, offset % 60)
  end
end

local function number(pattern, field)
  return function(f)
    return format(pattern, f[field])
  end
end

-- Longer elements first: the first that fits is taken.
local ELEMENTS = {
  { "January", function(f) return objects.MONTHS[f.month] end },
  { "Jan", function(f) return sub(objects.MONTHS[f.month], 1, 3) end },
  { "Monday", function(f) return objects.DAYS[f.wday] end },
  { "Mon", function(f) return sub(objects.DAYS[f.wday], 1, 3) end },
  { "MST", function(f) return f.name end },
  { "2006", number("%04d", "year") },
  { "__2", number("%3d", "yday") },
  { "_2", number("%2d", "day") },
  { "002", number("%03d", "yday") },
  { "01", number("%02d", "month") },
  { "02", number("%02d", "day") },
  { "03", function(f) return format("%02d", clock12(f)) end },
  { "04", number("%02d", "min") },
  { "05", number("%02d", "sec") },
  { "06", function(f) return format("%02d", f.year % 100) end },
  { "15", number("%02d", "hour") },
  { "PM", function(f) return f.hour >= 12 and "PM" or "AM" end },
  { "pm", function(f) return f.hour >= 12 and "pm" or "am" end },
  { "-07:00:00", zone("%02d:%02d:%02d") },
  { "-070000", zone("%02d%02d%02d") },
  { "-07:00", zone("%02d:%02d") },
  { "-0700", zone("%02d%02d") },
  { "-07", zone("%02d") },
  { "Z07:00:00", zone("%02d:%02d:%02d", true) },
  { "Z070000", zone("%02d%02d%02d", true) },
  { "Z07:00", zone("%02d:%02d", true) },
  { "Z0700", zone("%02d%02d", true) },
  { "Z07", zone("%02d", true) },
  { "1", number("%d", "month") },
  { "2", number("%d", "day") },
  { "3", function(f) return format("%d", clock12(f)) end },
  { "4", number("%d", "min") },
  { "5", number("%d", "sec") },
}

-- A fraction of seconds: .000 shows three digits, .999 as many as needed; it must follow the seconds in Go, too.
local function fraction(f, layout, at)
  local dot, zeros = match(layout, "^([%.,])(0+)", at)
  local nines
  if not dot then
    dot, nines = match(layout, "^([%.,])(9+)", at)
  end
  local digits = zeros or nines
  if not digits or #digits > 9 or find(layout, "^%d", at + 1 + #digits) then
    return nil
  end
  local shown = sub(format("%09d", f.ns), 1, #digits)
  if nines then
    shown = match(shown, "^(.-)0*$")
  end
  return shown == "" and "" or dot .. shown, #digits + 1
end

local function element(f, layout, at)
  local text, length = fraction(f, layout, at)
  if text then
    return text, length
  end
  for i = 1, #ELEMENTS do
    local name = ELEMENTS[i][1]
    if sub(layout, at, at + #name - 1) == name then
      if name ~= "Jan" and name ~= "Mon" or not find(layout, "^%l", at + 3) then
        return ELEMENTS[i][2](f), #name
      end
    end
  end
  return sub(layout, at, at), 1
end

function objects.format(f, layout)
  local parts, at = {}, 1
  while at <= #layout do
    local text, length = element(f, layout, at)
    parts[#parts + 1] = text
    at = at + length
  end
  return concat(parts)
end
