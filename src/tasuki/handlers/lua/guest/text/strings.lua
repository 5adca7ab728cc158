-- String functions that differ from the stock ones: case beyond ASCII, and numbers in texts without ".0".
--
--   guards.string_lower(s) guards.string_upper(s)   simple mappings of Unicode 14: one code point to one
--   guards.format(pattern, ...)                     integral floats are written as integers: 10 / 2 is 5

local host, guards = ...

local type, select, tonumber = type, select, tonumber
local format, lower, upper, find, gsub, gmatch = string.format, string.lower, string.upper, string.find, string.gsub, string.gmatch
local char, is_utf8, mathtype, unpack = utf8.char, utf8.len, math.type, table.unpack
local charge, SHORT = host.charge, host.SHORT

-- A run: its first code point, + for every one or * for every second, how many, and how far they move. UPPER lists only
-- where the way up is not LOWER backwards.
local LOWER = [[
c0+23+32 d8+7+32 100*24+1 132*3+1 139*8+1 14a*23+1 178+1-121 179*3+1 181+1+210 182*2+1 186+1+206 187+1+1 189+2+205
18b+1+1 18e+1+79 18f+1+202 190+1+203 191+1+1 193+1+205 194+1+207 196+1+211 197+1+209 198+1+1 19c+1+211 19d+1+213
19f+1+214 1a0*3+1 1a6+1+218 1a7+1+1 1a9+1+218 1ac+1+1 1ae+1+218 1af+1+1 1b1+2+217 1b3*2+1 1b7+1+219 1b8+1+1 1bc+1+1
1c4+1+2 1c5+1+1 1c7+1+2 1c8+1+1 1ca+1+2 1cb*9+1 1de*9+1 1f1+1+2 1f2*2+1 1f6+1-97 1f7+1-56 1f8*20+1 220+1-130 222*9+1
23a+1+10795 23b+1+1 23d+1-163 23e+1+10792 241+1+1 243+1-195 244+1+69 245+1+71 246*5+1 370*2+1 376+1+1 37f+1+116 386+1+38
388+3+37 38c+1+64 38e+2+63 391+17+32 3a3+9+32 3cf+1+8 3d8*12+1 3f4+1-60 3f7+1+1 3f9+1-7 3fa+1+1 3fd+3-130 400+16+80
410+32+32 460*17+1 48a*27+1 4c0+1+15 4c1*7+1 4d0*48+1 531+38+48 10a0+38+7264 10c7+1+7264 10cd+1+7264 13a0+80+38864
13f0+6+8 1c90+43-3008 1cbd+3-3008 1e00*75+1 1e9e+1-7615 1ea0*48+1 1f08+8-8 1f18+6-8 1f28+8-8 1f38+8-8 1f48+6-8 1f59*4-8
1f68+8-8 1f88+8-8 1f98+8-8 1fa8+8-8 1fb8+2-8 1fba+2-74 1fbc+1-9 1fc8+4-86 1fcc+1-9 1fd8+2-8 1fda+2-100 1fe8+2-8
1fea+2-112 1fec+1-7 1ff8+2-128 1ffa+2-126 1ffc+1-9 2126+1-7517 212a+1-8383 212b+1-8262 2132+1+28 2160+16+16 2183+1+1
24b6+26+26 2c00+48+48 2c60+1+1 2c62+1-10743 2c63+1-3814 2c64+1-10727 2c67*3+1 2c6d+1-10780 2c6e+1-10749 2c6f+1-10783
2c70+1-10782 2c72+1+1 2c75+1+1 2c7e+2-10815 2c80*50+1 2ceb*2+1 2cf2+1+1 a640*23+1 a680*14+1 a722*7+1 a732*31+1 a779*2+1
a77d+1-35332 a77e*5+1 a78b+1+1 a78d+1-42280 a790*2+1 a796*10+1 a7aa+1-42308 a7ab+1-42319 a7ac+1-42315 a7ad+1-42305
a7ae+1-42308 a7b0+1-42258 a7b1+1-42282 a7b2+1-42261 a7b3+1+928 a7b4*8+1 a7c4+1-48 a7c5+1-42307 a7c6+1-35384 a7c7*2+1
a7d0+1+1 a7d6*2+1 a7f5+1+1 ff21+26+32 10400+40+40 104b0+36+40 10570*19+39 10571*5+39 1057d*7+39 1058d*3+39 10595+1+39
10c80+51+64 118a0+32+32 16e40+32+32 1e900+34+34
]]
local UPPER = [[
b5+1+743 df+1+0 131+1-232 17f+1-300 1c5+1-1 1c8+1-1 1cb+1-1 1f2+1-1 345+1+84 3c2+1-31 3d0+1-62 3d1+1-57 3d5+1-47
3d6+1-54 3f0+1-86 3f1+1-80 3f5+1-96 1c80+1-6254 1c81+1-6253 1c82+1-6244 1c83+2-6242 1c85+1-6243 1c86+1-6236 1c87+1-6181
1c88+1+35266 1e9b+1-59 1f80+8+0 1f90+8+0 1fa0+8+0 1fb3+1+0 1fbe+1-7205 1fc3+1+0 1ff3+1+0
]]

-- Adds what the runs say to the map; backwards, the first of several that move to the same place.
local function read(map, runs, is_backwards)
  for first, step, count, distance in gmatch(runs, "(%x+)([+*])(%d+)([+-]%d+)") do
    local width = step == "+" and 1 or 2
    first, distance = tonumber(first, 16), tonumber(distance)
    for code = first, first + (tonumber(count) - 1) * width, width do
      local from, to = char(code), char(code + distance)
      if is_backwards then
        map[to] = map[to] or from
      else
        map[from] = to
      end
    end
  end
  return map
end

local function mapped(ascii, make)
  local map -- made when it is needed first
  return function(s)
    if type(s) == "string" then
      if #s > SHORT then
        charge(#s // 64)
      end
    elseif host.is_error(s) then
      s = host.text(s)
    end
    if type(s) ~= "string" or not find(s, "[\128-\255]") or not is_utf8(s) then
      return ascii(s)
    end
    map = map or make()
    charge(#s // 8)
    return (gsub(ascii(s), "[\194-\244][\128-\191]*", map))
  end
end

guards.string_lower = mapped(lower, function()
  return read({}, LOWER)
end)
guards.string_upper = mapped(upper, function()
  return read(read({}, LOWER, true), UPPER)
end)

local LEAST, BEYOND, FEW = -0x1p63, 0x1p63, 256
local size = 0 -- bytes of the texts among the arguments of a format; it never yields

local function fitted(v) -- as it is written
  local kind = mathtype(v)
  if kind == "float" and v == v // 1 and v >= LEAST and v < BEYOND then
    return v | 0
  elseif not kind and type(v) == "string" then
    size = size + #v
  end
  return v
end

local function format_all(pattern, ...)
  local args, count = { ... }, select("#", ...)
  host.weigh(2, pattern, ...)
  for i = 1, count do
    args[i] = fitted(args[i])
  end
  return format(pattern, unpack(args, 1, count))
end

function guards.format(pattern, ...)
  local a, b, c = ...
  local count = select("#", ...)
  size = type(pattern) == "string" and #pattern or 0
  if count == 1 then
    a = fitted(a)
    if size <= FEW then
      return format(pattern, a)
    end
  elseif count == 2 then
    a, b = fitted(a), fitted(b)
    if size <= FEW then
      return format(pattern, a, b)
    end
  elseif count == 3 then
    a, b, c = fitted(a), fitted(b), fitted(c)
    if size <= FEW then
      return format(pattern, a, b, c)
    end
  end
  return format_all(pattern, ...)
end
