-- Functions on texts, and functions that read numbers: C reads one from a text, however long that is. All are charged by the
-- bytes that they are about to work through. Honest scripts give them numbers and short texts: those are asked about first,
-- with one call of C for each argument or none, and are not charged.
--
--   host.weigh(per, ...)  charges the texts among the arguments, an instruction for `per` bytes
--   host.SHORT            bytes of a text that C works through in the time of some instructions

local host, guards = ...

local type, select, next, error, tonumber, getmetatable = type, select, next, error, tonumber, getmetatable
local tointeger, mathtype = math.tointeger, math.type
local charge, heed, whole = host.charge, host.heed, host.whole
local SHORT = 1024
host.SHORT = SHORT

-- Charges the texts among the arguments, an instruction for `per` bytes. One text may be given many times: beyond what
-- fits into the memory no call needs it, and C would read all of it.
local function weigh(per, ...)
  local size, count = 0, select("#", ...)
  if count <= 3 then
    local a, b, c = ...
    size = (type(a) == "string" and #a or 0) + (type(b) == "string" and #b or 0) + (type(c) == "string" and #c or 0)
  else
    local all = { ... }
    for i = 1, count do
      local v = all[i]
      size = size + (type(v) == "string" and #v or 0)
    end
  end
  if size > host.most_bytes then
    error("arguments have more than " .. host.most_bytes .. " bytes of text; limits.memory of the entry allows more", 3)
  elseif size > 0 then
    charge(size // per)
  end
end
host.weigh = weigh

local function read(n) -- C is about to read a number from it
  if type(n) == "string" then
    charge(#n // 8)
  end
end

local function by_length(f) -- f(s, i, j, lax) works through all of s
  return function(s, i, j, lax)
    if type(s) == "string" then
      if #s > SHORT then
        charge(#s // 64)
      end
    elseif host.is_error(s) then
      s = host.text(s)
    end
    if i ~= nil and not mathtype(i) or j ~= nil and not mathtype(j) then
      read(i)
      read(j)
    end
    return f(s, i, j, lax)
  end
end

guards.string_reverse = by_length(string.reverse) -- upper and lower: strings.lua
for _, name in next, { "len", "codepoint" } do
  guards["utf8_" .. name] = by_length(utf8[name])
end

local rep, string_byte, offset = string.rep, string.byte, utf8.offset

function guards.rep(s, n, separator)
  if s == "" and (separator == nil or separator == "") then -- C would go round n times for it
    read(n)
    n = tointeger(tonumber(n)) and 0 or n
  elseif type(s) == "string" then
    charge((#s + (type(separator) == "string" and #separator or 0)) * (whole(n) + 0.0) // 64)
  else
    read(n)
  end
  return rep(s, n, separator)
end

function guards.byte(s, i, j)
  if j == nil and (i == nil or mathtype(i)) then
    return string_byte(s, i)
  end
  read(i)
  if type(s) == "string" and j ~= nil then
    local count = #s
    if mathtype(i) == "integer" and mathtype(j) == "integer" and (i > 0) == (j > 0) and j - i < count then
      count = j > i and j - i or 0
    end
    read(j)
    heed(count // 16)
  end
  return string_byte(s, i, j)
end

local string_sub, pack, unpack = string.sub, string.pack, string.unpack

function guards.string_sub(s, i, j)
  if type(s) == "string" and #s > SHORT then
    heed(#s // 64)
  end
  return string_sub(s, i and i - 0, j and j - 0) -- see the functions of numbers below
end

function guards.string_unpack(pattern, s, ...)
  charge(type(pattern) == "string" and #pattern // 8 or 0)
  read((...))
  return unpack(host.text(pattern) or pattern, s, ...)
end

function guards.string_pack(pattern, ...)
  weigh(8, pattern, ...)
  return pack(pattern, ...)
end

-- Functions of numbers, which loops of honest scripts call: an arithmetic operation reads a text as one below does, and a
-- number at once. Nothing is asked that takes an instruction more: C would take as long as ten.
for _, name in next, { "abs", "acos", "asin", "ceil", "cos", "deg", "exp", "floor", "modf", "rad", "sin", "sqrt", "tan" } do
  local f = math[name]
  guards["math_" .. name] = function(v)
    return f(v and v - 0)
  end
end
for _, name in next, { "atan", "fmod", "log", "ult" } do
  local f = math[name]
  guards["math_" .. name] = function(a, b)
    return f(a and a - 0, b and b - 0)
  end
end

local function numeric(f) -- a function of some numbers, which stops at the first that is none: it reads no text behind that
  return function(...)
    local a, b, c = ...
    if c == nil then
      if b then
        return f(a and a - 0, b - 0)
      elseif a then
        return f(a - 0, select(2, ...))
      end
    end
    weigh(8, ...)
    return f(...)
  end
end
guards.math_random, guards.utf8_char = numeric(math.random), numeric(utf8.char)

for _, name in next, { "max", "min" } do -- these compare only, and two texts not longer than an operator does
  local f = math[name]
  guards["math_" .. name] = function(...)
    local _, _, third = ...
    if third ~= nil then
      weigh(8, ...)
    end
    return f(...)
  end
end

local bytes, chars = {}, numeric(string.char)
for code = 0, 255 do
  bytes[code] = string.char(code)
end

function guards.string_char(...)
  local code, more = ...
  if more == nil and bytes[code] then
    return bytes[code]
  end
  return chars(...)
end

function guards.math_tointeger(v)
  if mathtype(v) == "integer" then
    return v
  end
  read(v)
  return tointeger(v)
end

local packsize = string.packsize
function guards.string_packsize(pattern)
  weigh(8, pattern)
  return packsize(pattern)
end

function guards.select(n, ...)
  return select(n == "#" and n or n and n - 0, ...)
end

-- Arithmetic on a text reads a number from it as well.
for _, name in next, { "add", "sub", "mul", "mod", "pow", "div", "idiv", "unm" } do
  local texts = getmetatable("")
  local calculate = texts["__" .. name]
  texts["__" .. name] = function(a, b)
    weigh(8, a, b)
    return calculate(a, b)
  end
end

function guards.utf8_offset(s, n, i)
  read(n)
  read(i)
  if type(s) == "string" then
    heed(#s // 64)
  end
  return offset(s, n, i)
end
