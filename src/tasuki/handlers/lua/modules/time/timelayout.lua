-- Go layouts: the reference time Mon Jan 2 15:04:05 MST 2006, written as the output shall look.
--
--   objects.element(layout, at)   the next element at or after `at`: its name, where it starts and ends; nil: no more.
--                                 A fraction is named "0" or "9" after its digits.
--   objects.format(fields, layout)

local host = ...

local format, sub, find, match = string.format, string.sub, string.find, string.match
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
    return (f.offset < 0 and "-" or "+") .. format(pattern, offset // 3600, offset // 60 % 60, offset % 60)
  end
end

local function number(pattern, field)
  return function(f)
    return format(pattern, f[field])
  end
end

local function year(f)
  return f.year < 0 and format("-%04d", -f.year) or format("%04d", f.year)
end

local plain_zone = zone("%02d%02d")

-- By first letter, longer elements first: the first that fits is taken.
local ELEMENTS = {
  { "January", function(f) return objects.MONTHS[f.month] end },
  { "Jan", function(f) return sub(objects.MONTHS[f.month], 1, 3) end },
  { "Monday", function(f) return objects.DAYS[f.wday] end },
  { "Mon", function(f) return sub(objects.DAYS[f.wday], 1, 3) end },
  { "MST", function(f) return f.name ~= "" and f.name or plain_zone(f) end },
  { "2006", year },
  { "__2", number("%3d", "yday") },
  { "_2006", function(f) return "_" .. year(f) end },
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
  { "-0700", plain_zone },
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

local by_letter, shown = {}, {}
for i = 1, #ELEMENTS do
  local name, show = ELEMENTS[i][1], ELEMENTS[i][2]
  local letter = sub(name, 1, 1)
  by_letter[letter] = by_letter[letter] or {}
  by_letter[letter][#by_letter[letter] + 1] = name
  shown[name] = show
end

-- .000 is a fraction of three digits, .999 one of as many as needed; a digit after it makes it ordinary text.
local function fraction(layout, at)
  local digits = match(layout, "^[%.,](0+)", at) or match(layout, "^[%.,](9+)", at)
  if digits and not find(layout, "^%d", at + 1 + #digits) then
    return sub(digits, 1, 1), at + #digits
  end
end

local function named(layout, at)
  local names = by_letter[sub(layout, at, at)]
  for i = 1, names and #names or 0 do
    local name = names[i]
    if sub(layout, at, at + #name - 1) == name then
      if name ~= "Jan" and name ~= "Mon" or not find(layout, "^%l", at + 3) then
        return name, at + #name - 1
      end
    end
  end
end

function objects.element(layout, at)
  while true do
    at = find(layout, "[JM0-5_Pp%-Z%.,]", at)
    if not at then
      return nil
    end
    local name, stop = fraction(layout, at)
    if not name then
      name, stop = named(layout, at)
    end
    if name == "_2006" then -- the underscore is ordinary text
      return "2006", at + 1, stop
    elseif name then
      return name, at, stop
    end
    at = at + 1
  end
end

local function show_fraction(f, layout, start, stop)
  local digits = sub(format("%09d", f.ns), 1, stop - start)
  if sub(layout, stop, stop) == "9" then
    digits = match(digits, "^(.-)0*$")
    return digits == "" and "" or sub(layout, start, start) .. digits
  end
  return sub(layout, start, start) .. digits
end

function objects.format(f, layout)
  local parts, at = {}, 1
  while true do
    local name, start, stop = objects.element(layout, at)
    parts[#parts + 1] = sub(layout, at, (start or 0) - 1)
    if not name then
      return concat(parts)
    end
    host.charge(20)
    local show = shown[name]
    parts[#parts + 1] = show and show(f) or show_fraction(f, layout, start, stop)
    at = stop + 1
  end
end
