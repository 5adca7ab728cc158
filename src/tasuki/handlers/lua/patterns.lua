-- find, match, gmatch and gsub. A pattern that could run for ever in C, where no hook counts, is refused.
--
--   guards.find guards.match guards.gmatch guards.gsub   as in Lua; the text may be an error object

local host, guards = ...

local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub
local type, error = type, error
local MAX_STEPS = 1e8

-- Upper bound of the steps of one C call: (length + 1) ^ (quantifiers + 1).
local function check(s, pattern, name)
  if type(s) ~= "string" or type(pattern) ~= "string" then
    return
  end
  local length = #s + 1
  host.charge(length // 64)
  if length < 100 and #pattern < 10 then
    return
  end
  local _, quantifiers = gsub(pattern, "[%*%+%-%?]", "")
  local _, balanced = gsub(pattern, "%%b", "")
  if length ^ (quantifiers + balanced + 1) > MAX_STEPS then
    error("string." .. name .. ": this pattern could run too long on a text of " .. #s .. " bytes", 3)
  end
end

local function text_of(s)
  if type(s) == "table" then
    return host.text(s) or s
  end
  return s
end

function guards.find(s, pattern, init, plain)
  s = text_of(s)
  if not plain then
    check(s, pattern, "find")
  end
  return find(s, pattern, init, plain)
end

function guards.match(s, pattern, init)
  s = text_of(s)
  check(s, pattern, "match")
  return match(s, pattern, init)
end

function guards.gmatch(s, pattern, init)
  s = text_of(s)
  check(s, pattern, "gmatch")
  return gmatch(s, pattern, init)
end

function guards.gsub(s, pattern, replacement, limit)
  s = text_of(s)
  check(s, pattern, "gsub")
  return gsub(s, pattern, replacement, limit)
end
