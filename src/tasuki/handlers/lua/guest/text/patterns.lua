-- find, match, gmatch and gsub. A pattern that could run too long in C, where no hook counts, is matched in Lua.
--
--   guards.find guards.match guards.gmatch guards.gsub   as in Lua; the text may be an error object

local host, guards = ...

local find, match, gmatch, gsub, sub = string.find, string.match, string.gmatch, string.gsub, string.sub
local type, error, pcall, concat, select, mathtype, tonumber = type, error, pcall, table.concat, select, math.type, tonumber
local max = math.max
local matcher, match_at, captures = host.matcher, host.match_at, host.captures
local MAX_STEPS, MAX_KNOWN, MAX_KNOWN_LENGTH = 2e7, 500, 100
local FEW_STEPS, SHORT = 2000, host.SHORT -- what C does in the time of some instructions
local charge, heed = host.charge, host.heed
local PREFIX = 64 -- of a long plain text that is looked for: all of it is compared only where this stands
local known, known_count = {}, 0

-- How often the pattern can try again at one place: its quantifiers, and one more when it may start anywhere.
local function tries_of(pattern)
  local tries = known[pattern]
  if not tries then
    local _, quantifiers = gsub(pattern, "[%*%+%-%?]", "")
    local _, balances = gsub(pattern, "%%b", "")
    local _, backs = gsub(pattern, "%%[1-9]", "") -- each compares a capture, which may be as long as the text
    tries = quantifiers + balances + backs + (sub(pattern, 1, 1) == "^" and 0 or 1)
    if known_count < MAX_KNOWN and #pattern <= MAX_KNOWN_LENGTH then
      known[pattern], known_count = tries, known_count + 1
    end
  end
  return tries
end

-- Whether one C call might take more than MAX_STEPS. `replacement`: the text that takes the place of each match.
local function is_slow(s, pattern, replacement)
  if type(s) ~= "string" or type(pattern) ~= "string" then
    return false
  end
  local length = #s
  local steps = (length + 1.0) ^ (known[pattern] or tries_of(pattern)) * (#pattern // 8 + 1)
  if replacement and (length + 1.0) * #replacement > FEW_STEPS and find(replacement, "%", 1, true) then
    steps = steps + (length + 1.0) * #replacement -- C goes through all of it at each match, even where nothing grows
  end
  if length > SHORT then
    charge(length // 64)
  end
  if steps > MAX_STEPS then
    return true
  elseif steps > FEW_STEPS then
    heed(steps // 200)
  end
  return false
end

local function fitted(s, init) -- an error object stands for its text, and a text for the number that C would read from it
  if type(init) == "string" then
    host.weigh(8, init)
    init = tonumber(init) or init
  end
  return type(s) == "table" and host.text(s) or s, init
end

local function compiled(pattern)
  local ok, nodes = pcall(matcher, pattern)
  host.recheck()
  if not ok then
    host.fail(nodes)
  end
  return nodes
end

-- First match at or after `i`: start, end + 1, captures.
local function search(nodes, s, i)
  for start = i, nodes.anchored and i or #s + 1 do
    local stop, caps = match_at(nodes, s, start)
    if stop then
      return start, stop, caps
    end
  end
  return nil
end

local function start_of(s, init)
  if init == nil or init == 0 then
    return 1
  elseif init < 0 then
    return init < -#s and 1 or #s + init + 1
  end
  return init
end

local function slow_find(s, pattern, init, wants_place)
  local start, stop, caps = search(compiled(pattern), s, start_of(s, init))
  if not start then
    return nil
  elseif not wants_place then
    return captures(s, start, stop, caps)
  elseif #caps == 0 then
    return start, stop - 1
  end
  return start, stop - 1, captures(s, start, stop, caps)
end

-- C compares all of the text at every place: for a long one that nearly fits often, longer than anybody waits.
local function plain_find(s, text, init)
  local prefix, at = sub(text, 1, PREFIX), start_of(s, init)
  while at <= #s do
    heed((#s - at) // PREFIX)
    local start = find(s, prefix, at, true)
    if not start or start + #text - 1 > #s then
      return nil
    end
    charge(#text // PREFIX)
    if sub(s, start, start + #text - 1) == text then
      return start, start + #text - 1
    end
    at = start + 1
  end
  return nil
end

local function short_find(s, text, init)
  local start, stop = find(s, text, init, true)
  if #s > SHORT then
    heed(max((start or #s) - start_of(s, init), 0) // PREFIX)
  end
  if not start then
    return nil
  end
  return start, stop
end

function guards.find(s, pattern, init, plain)
  if type(s) ~= "string" or init and not mathtype(init) then
    s, init = fitted(s, init)
  end
  if not plain and is_slow(s, pattern) then
    return slow_find(s, pattern, init, true)
  elseif plain and type(s) == "string" and type(pattern) == "string" then
    if init ~= nil and mathtype(init) ~= "integer" then
      heed(#s // PREFIX)
    elseif #s > #pattern and #pattern > PREFIX then
      return plain_find(s, pattern, init)
    else
      return short_find(s, pattern, init)
    end
  end
  return find(s, pattern, init, plain)
end

function guards.match(s, pattern, init)
  if type(s) ~= "string" or init and not mathtype(init) then
    s, init = fitted(s, init)
  end
  if is_slow(s, pattern) then
    return slow_find(s, pattern, init, false)
  end
  return match(s, pattern, init)
end

function guards.gmatch(s, pattern, init)
  if type(s) ~= "string" or init and not mathtype(init) then
    s, init = fitted(s, init)
  end
  if type(pattern) == "string" and sub(pattern, 1, 1) == "^" then
    pattern = "%" .. pattern -- no anchor here, in C neither
  end
  if not is_slow(s, pattern) then
    return gmatch(s, pattern, init)
  end
  local nodes, at, last = compiled(pattern), start_of(s, init), nil
  return function()
    while at <= #s + 1 do
      local start, stop, caps = search(nodes, s, at)
      if not start then
        at = #s + 2
      elseif stop == last then -- an empty match where the one before ended
        at = start + 1
      else
        at, last = stop, stop
        return captures(s, start, stop, caps)
      end
    end
    return nil
  end
end

local function expand(replacement, s, start, stop, caps)
  return (gsub(replacement, "%%(.?)", function(digit)
    if digit == "%" then
      return "%"
    elseif digit == "0" then
      return sub(s, start, stop - 1)
    elseif not find(digit, "^%d$") then
      error("invalid use of '%' in replacement string", 0)
    end
    local value = select(digit + 0, captures(s, start, stop, caps))
    if value == nil then
      error("invalid capture index %" .. digit .. " in replacement string", 0)
    end
    return value
  end))
end

local function replaced(replacement, s, start, stop, caps)
  local value
  if type(replacement) == "function" then
    value = replacement(captures(s, start, stop, caps))
  elseif type(replacement) == "table" then
    value = replacement[(captures(s, start, stop, caps))]
  else
    return expand(replacement, s, start, stop, caps)
  end
  if not value then
    return sub(s, start, stop - 1)
  elseif type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return value
end

local function slow_gsub(s, pattern, replacement, limit)
  local nodes, parts, count, at, last = compiled(pattern), {}, 0, 1, nil
  limit = limit or #s + 1
  while count < limit do
    local stop, caps = match_at(nodes, s, at)
    if stop and stop ~= last then
      count = count + 1
      parts[#parts + 1] = replaced(replacement, s, at, stop, caps)
      at, last = stop, stop
    elseif at <= #s then
      parts[#parts + 1] = sub(s, at, at)
      at = at + 1
    else
      break
    end
    if nodes.anchored then
      break
    end
  end
  parts[#parts + 1] = sub(s, at)
  return concat(parts), count
end

function guards.gsub(s, pattern, replacement, limit)
  if type(s) ~= "string" then
    s = fitted(s)
  end
  local kind = type(replacement)
  if is_slow(s, pattern, kind == "string" and replacement) and (kind == "string" or kind == "table" or kind == "function") then
    return slow_gsub(s, pattern, replacement, limit)
  end
  return gsub(s, pattern, replacement, limit)
end
