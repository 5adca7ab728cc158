-- Loads scripts: standard library, modules, imports, and the search for the handler in what the chunk returns.
--
--   host.library            globals of every script, by name (frozen)
--   host.add_module(name, t)  a module that scripts may list
--   host.load(text, chunk, modules, imports)   returns what the chunk returned
--   host.boot(text, chunk, modules, imports, method)  runs the chunk and keeps its handler

local host, guards = ...

local load, type, error, next, rawget, rawmeta = load, type, error, next, rawget, debug.getmetatable
local concat, sort = table.concat, table.sort
local base, freeze = host.base, host.freeze

local function pick(source, names)
  local t = {}
  for name in names:gmatch("%S+") do
    t[name] = source[name]
  end
  return t
end

local text = pick(string, "len")
for _, name in next, { "upper", "lower", "reverse", "unpack", "pack", "packsize", "sub", "char" } do
  text[name] = guards["string_" .. name]
end
text.rep, text.format, text.byte = guards.rep, guards.format, guards.byte
text.find, text.match, text.gmatch, text.gsub = guards.find, guards.match, guards.gmatch, guards.gsub
text.gfind = text.gmatch

local tables = pick(guards, "concat insert remove sort unpack")
tables.pack = table.pack

function tables.freeze(t)
  host.expect("freeze", 1, t, "table")
  if not host.frozen[t] and rawget(rawmeta(t) or {}, "__metatable") ~= nil then
    error("cannot freeze a table with a protected metatable", 2)
  end
  return freeze(t)
end

function tables.create(array, hash)
  host.expect("create", 1, array, "number")
  return host.expect("create", 2, hash, "number") > 0 and host.new_object() or {}
end

function tables.isfrozen(t)
  return type(t) == "table" and host.frozen[t] ~= nil
end

function tables.getn(t)
  return #t
end

function tables.maxn(t)
  local highest = 0
  for key in next, t do
    if type(key) == "number" and key > highest then
      highest = key
    end
  end
  return highest
end

local numbers = pick(math, "huge maxinteger mininteger pi type")
for name in ("abs acos asin atan ceil cos deg exp floor fmod log max min modf rad random sin sqrt tan tointeger ult"):gmatch("%a+") do
  numbers[name] = guards["math_" .. name]
end
local exp, log, abs, floor, huge = math.exp, math.log, math.abs, math.floor, math.huge
numbers.mod = numbers.fmod

function numbers.randomseed() end

function numbers.pow(a, b)
  return a ^ b
end

function numbers.log10(x)
  return log(x, 10)
end

function numbers.cosh(x)
  return (exp(x) + exp(-x)) / 2
end

function numbers.sinh(x)
  return (exp(x) - exp(-x)) / 2
end

function numbers.tanh(x)
  return 1 - 2 / (exp(2 * x) + 1)
end

function numbers.ldexp(x, e)
  return x * 2.0 ^ e
end

function numbers.frexp(x)
  if x == 0 or x ~= x or x == huge or x == -huge then
    return x, 0
  end
  local e = floor(log(abs(x), 2)) + 1
  local fraction = x / 2.0 ^ e
  if abs(fraction) >= 1 then
    fraction, e = fraction / 2, e + 1
  end
  return fraction, e
end

local library = { errors = freeze(host.errors), os = freeze(host.os) }
for name, value in next, base do
  library[name] = value
end
library.string, library.table, library.math = freeze(text), freeze(tables), freeze(numbers)
local utf = pick(utf8, "charpattern codes")
utf.char = guards.utf8_char
utf.codepoint, utf.len, utf.offset = guards.utf8_codepoint, guards.utf8_len, guards.utf8_offset
library.utf8 = freeze(utf)
local coroutines = pick(guards, "create resume wrap status")
coroutines.yield, coroutines.running, coroutines.spawn = coroutine.yield, coroutine.running, host.spawn
library.coroutine = freeze(coroutines)
library.print, library.channel, library.payload = host.print, freeze(host.channel), freeze(host.payload)

library.__ignored = setmetatable({}, { __newindex = function() end, __metatable = false }) -- see nil_keys.py
host.frozen[library.__ignored] = {}

-- The metatable of all texts: methods come from the locked copy, and scripts cannot reach it.
local meta = getmetatable("")
meta.__index, meta.__metatable = host.frozen[library.string], false

local modules = {}

function host.add_module(name, t)
  modules[name] = host.is_object(t) and t or freeze(t)
end

local function requirer(globals, chunk)
  return function(name)
    if type(name) ~= "string" then
      error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
    end
    local value = globals[name]
    if value == nil then
      local remedy = host.known[name] and "; add it to `modules` of the entry"
        or "; list it under `modules` or `imports` of the entry"
      error("module '" .. name .. "' not found" .. remedy, 2)
    end
    return value
  end
end

local loaded = {}

function host.load(source, chunk, names, imports)
  local env, globals = host.new_environment(library)
  for _, name in next, names do
    globals[name] = modules[name] or globals[name] -- some are there in any case
  end
  for alias, import in next, imports do
    globals[alias] = host.import(import)
  end
  globals.require = requirer(globals, chunk)
  local fn, problem = load(source, "@" .. chunk, "t", env)
  if not fn then
    error(problem == "not enough memory" and problem or host.new_error(problem, "LuaSyntax", false), 0)
  end
  return fn()
end

function host.import(import)
  local known = loaded[import.id]
  if known == nil then
    known = host.load(import.source, import.chunk, import.modules, import.imports)
    loaded[import.id] = known == nil and false or known
  end
  return known or nil
end

local function functions_of(t)
  local names = {}
  for name, value in next, host.frozen[t] or t do
    if type(value) == "function" then
      names[#names + 1] = base.tostring(name)
    end
  end
  sort(names)
  return names
end

local function find(result, method, chunk)
  if type(result) == "function" then
    return result
  elseif type(result) ~= "table" then
    return nil, chunk .. " returns " .. type(result) .. "; return a function, or a table with functions"
  end
  local contents, names = host.frozen[result] or result, functions_of(result)
  if method then
    local found = rawget(contents, method)
    local list = #names > 0 and concat(names, ", ") or "no function"
    return type(found) == "function" and found, 'method "' .. method .. '" not found in module: it has ' .. list
  elseif #names == 1 then
    return contents[names[1]]
  end
  for _, name in next, { "main", "handler", "handle" } do
    if type(rawget(contents, name)) == "function" then
      return contents[name]
    end
  end
  return nil, chunk .. " returns a table with no function main, handler or handle; set `method` of the entry"
end

function host.boot(script)
  host.known = script.known
  return host.start(function()
    local result = host.load(script.source, script.chunk, script.modules, script.imports)
    local found, problem = find(result, script.method, script.chunk)
    if not found then
      return nil, host.new_error(problem, "NotFound", false)
    end
    host.entry = found
  end)
end
