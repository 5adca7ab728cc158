-- Functions on texts, and functions that read numbers: C reads one from a text, however long that is. All are charged by the
-- bytes that they are about to work through.
--
--   host.weigh(per, ...)  charges the texts among the arguments, an instruction for `per` bytes

local host, guards = ...

local type, select, next, error, tonumber, getmetatable = type, select, next, error, tonumber, getmetatable
local tointeger, mathtype = math.tointeger, math.type
local charge, heed, whole = host.charge, host.heed, host.whole

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

local function by_length(f) -- f(s, i, j) works through all of s
  return function(s, ...)
    local i, j = ...
    read(i)
    read(j)
    if type(s) == "string" then
      charge(#s // 64)
    elseif host.is_error(s) then
      s = host.text(s)
    end
    return f(s, ...)
  end
end

guards.string_reverse = by_length(string.reverse) -- upper and lower: strings.lua
for _, name in next, { "len", "codepoint" } do
  guards["utf8_" .. name] = by_length(utf8[name])
end

local rep, string_byte, offset = string.rep, string.byte, utf8.offset

function guards.rep(s, n, separator)
  read(n)
  if s == "" and (separator == nil or separator == "") then -- C would go round n times for it
    n = tointeger(tonumber(n)) and 0 or n
  elseif type(s) == "string" then
    charge((#s + (type(separator) == "string" and #separator or 0)) * (whole(n) + 0.0) // 64)
  end
  return rep(s, n, separator)
end

function guards.byte(s, i, j)
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
  if type(s) == "string" then
    heed(#s // 64)
  end
  read(i)
  read(j)
  return string_sub(s, i, j)
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

-- C reads a number from a text, however long that is, and from each of a list of them.
local function numeric(f)
  return function(...)
    weigh(8, ...)
    return f(...)
  end
end

-- The same for functions that loops of honest scripts call: a subtraction reads a text as one below does, and a number at once.
local function numeric1(f)
  return function(v)
    return f(v and v - 0)
  end
end

local function numeric2(f)
  return function(...)
    local a, b, c = ...
    if a and b and c == nil then
      return f(a - 0, b - 0)
    end
    weigh(8, ...)
    return f(...)
  end
end

for _, name in next, { "abs", "acos", "asin", "ceil", "cos", "deg", "exp", "floor", "modf", "rad", "sin", "sqrt", "tan" } do
  guards["math_" .. name] = numeric1(math[name])
end
for _, name in next, { "atan", "fmod", "log", "max", "min", "random", "ult" } do
  guards["math_" .. name] = numeric2(math[name])
end
guards.math_tointeger = numeric(math.tointeger)
guards.string_char, guards.utf8_char, guards.string_packsize = numeric(string.char), numeric(utf8.char), numeric(string.packsize)

function guards.select(n, ...)
  if type(n) == "string" then
    charge(#n // 8)
  end
  return select(n, ...)
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
