-- What every element of a Go layout reads of a text.
--
--   objects.read(name, text, state, count)   the rest of the text, or nil, "bad" | "range", name of the element out of range
--   state: year month day yday hour min sec ns half zone offset location, as far as the text says them

local host = ...

local sub, find, match, lower, tonumber = string.sub, string.find, string.match, string.lower, tonumber
local next, type = next, type
local objects = host.time_objects
local BAD, RANGE = "bad", "range"

local function pair(text, fixed) -- one or two digits
  local digits = match(text, "^%d%d") or not fixed and match(text, "^%d")
  return digits and tonumber(digits), digits and sub(text, #digits + 1)
end

local function ranged(field, fixed, low, high, name, blank)
  return function(text, state)
    if blank then
      text = match(text, "^ ?(.*)$")
    end
    local value, rest = pair(text, fixed)
    if not value then
      return nil, BAD
    elseif value < low or value > high then
      return nil, RANGE, name
    end
    state[field] = value
    return rest
  end
end

local function looked_up(names, length, field)
  return function(text, state)
    for i = 1, #names do
      local name = sub(names[i], 1, length)
      if lower(sub(text, 1, #name)) == lower(name) then
        state[field] = i
        return sub(text, #name + 1)
      end
    end
    return nil, BAD
  end
end

local function year4(text, state)
  local digits = match(text, "^%d%d%d%d")
  state.year = tonumber(digits)
  return digits and sub(text, 5), BAD
end

local function year2(text, state)
  local digits = match(text, "^%d%d")
  local year = tonumber(digits or 0)
  state.year = year >= 69 and year + 1900 or year + 2000
  return digits and sub(text, 3), BAD
end

local function day_of_year(blank)
  return function(text, state)
    if blank then
      text = match(text, "^ ? ?(.*)$")
    end
    local digits = blank and match(text, "^%d%d?%d?") or match(text, "^%d%d%d")
    state.yday = tonumber(digits)
    return digits and sub(text, #digits + 1), BAD
  end
end

local function half(am, pm)
  return function(text, state)
    local mark = sub(text, 1, 2)
    state.half = mark == pm and "pm" or "am"
    return (mark == am or mark == pm) and sub(text, 3), BAD
  end
end

local function nanoseconds(digits)
  return tonumber(sub(digits .. "000000000", 1, 9))
end

local seconds = { [true] = ranged("sec", true, 0, 59, "second"), [false] = ranged("sec", false, 0, 59, "second") }

-- A fraction after the seconds is read even where the layout has none.
local function second(fixed)
  return function(text, state)
    local rest, problem, name = seconds[fixed](text, state)
    local digits = rest and match(rest, "^[%.,](%d+)")
    if digits and state.following ~= "0" and state.following ~= "9" then
      state.ns = nanoseconds(digits)
      return sub(rest, #digits + 2)
    end
    return rest, problem, name
  end
end

local function offset(pattern, z)
  return function(text, state)
    if z and sub(text, 1, 1) == "Z" then
      state.location = objects.utc
      return sub(text, 2)
    end
    local sign, hours, minutes, secs, stop = match(text, pattern)
    if not sign then
      return nil, BAD
    elseif type(minutes) == "number" then -- an empty capture stands for its place in the pattern
      minutes = "0"
    end
    if type(secs) == "number" then
      secs = "0"
    end
    hours, minutes, secs = tonumber(hours), tonumber(minutes), tonumber(secs)
    if hours > 24 or minutes > 60 or secs > 60 then
      return nil, RANGE, "time zone offset " .. (secs > 60 and "second" or minutes > 60 and "minute" or "hour")
    end
    state.offset = (hours * 3600 + minutes * 60 + secs) * (sign == "-" and -1 or 1)
    return sub(text, stop)
  end
end

local SIGNED = "^([%+%-])"
local OFFSETS = {
  ["07:00:00"] = SIGNED .. "(%d%d):(%d%d):(%d%d)()",
  ["070000"] = SIGNED .. "(%d%d)(%d%d)(%d%d)()",
  ["07:00"] = SIGNED .. "(%d%d):(%d%d)()()",
  ["0700"] = SIGNED .. "(%d%d)(%d%d)()()",
  ["07"] = SIGNED .. "(%d%d)()()()",
}

local function signed(text) -- length of "+3" or "-11" at the start
  local number = match(text, "^[%+%-](%d+)")
  return number and tonumber(number) <= 23 and #number + 1 or 0
end

local function abbreviation(text) -- its length, or nil
  if find(text, "^ChST") or find(text, "^MeST") then
    return 4
  elseif sub(text, 1, 3) == "GMT" then
    return 3 + signed(sub(text, 4))
  elseif find(text, "^[%+%-]") then
    local length = signed(text)
    return length > 0 and length or nil
  end
  local letters = match(text, "^%u*")
  local count = #letters
  if count == 3 or count == 5 and find(letters, "T$") or count == 4 and (find(letters, "T$") or letters == "WITA") then
    return count
  end
end

local function zone_name(text, state)
  if #text >= 3 and sub(text, 1, 3) == "UTC" then
    state.location = objects.utc
    return sub(text, 4)
  end
  local length = #text >= 3 and abbreviation(text)
  if not length then
    return nil, BAD
  end
  state.zone = sub(text, 1, length)
  return sub(text, length + 1)
end

local function fraction(text, state, count)
  local digits = match(text, "^[%.,](%d+)")
  if not digits or #digits < count then
    return nil, BAD
  end
  state.ns = nanoseconds(sub(digits, 1, count))
  return sub(text, count + 2)
end

local READERS = {
  January = looked_up(objects.MONTHS, 9, "month"), Jan = looked_up(objects.MONTHS, 3, "month"),
  Monday = looked_up(objects.DAYS, 9, "wday"), Mon = looked_up(objects.DAYS, 3, "wday"),
  ["2006"] = year4, ["06"] = year2, ["002"] = day_of_year(false), ["__2"] = day_of_year(true),
  ["01"] = ranged("month", true, 1, 12, "month"), ["1"] = ranged("month", false, 1, 12, "month"),
  ["02"] = ranged("day", true, 0, 99, "day"), ["2"] = ranged("day", false, 0, 99, "day"),
  ["_2"] = ranged("day", false, 0, 99, "day", true),
  ["15"] = ranged("hour", false, 0, 23, "hour"),
  ["03"] = ranged("hour", true, 0, 12, "hour"), ["3"] = ranged("hour", false, 0, 12, "hour"),
  ["04"] = ranged("min", true, 0, 59, "minute"), ["4"] = ranged("min", false, 0, 59, "minute"),
  ["05"] = second(true), ["5"] = second(false), PM = half("AM", "PM"), pm = half("am", "pm"), MST = zone_name,
}
for name, pattern in next, OFFSETS do
  READERS["-" .. name], READERS["Z" .. name] = offset(pattern, false), offset(pattern, true)
end

function objects.read(name, rest, state, count)
  if name == "0" then
    return fraction(rest, state, count)
  elseif name == "9" then
    local digits = match(rest, "^[%.,](%d+)")
    return digits and fraction(rest, state, #digits) or rest
  end
  return READERS[name](rest, state)
end
