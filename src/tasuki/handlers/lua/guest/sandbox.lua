-- The environment of a script: a whitelist of closures and plain tables, made for every script.
--
--   host.new_environment(library)  env, globals   what the script sets stays its own
--   host.freeze(t)                 t, from now on immutable (for scripts; a proxy holds the contents)
--   host.fail(text)                raises it at the line of the script that called the host
--   host.raise(fn, n, what)        the same for "bad argument #n to fn (what)"
--   host.expect(fn, n, v, kind)    v, or raises if base.type(v) is another kind
--   host.string(fn, n, v)          the text of a string argument (host.text), or raises
--   host.contents(v)               the table that holds the contents of a script's table; nil for another value
--   host.is_empty(v)               whether that table has no entry
--   host.merged(base, extra)       a new table: all of `base`, and what a script's table `extra` has under texts
--   host.class(name, methods, called)   a class of objects: new(data), data_of(object), data by object, metatable
--
-- Absent on purpose: load, dofile, io, debug, package, collectgarbage, string.dump, table.move, coroutine.close.

local host, guards = ...

local type, error, next, select, setmetatable, getmetatable = type, error, next, select, setmetatable, getmetatable
local rawget, rawset, rawequal, rawlen, tostring, tonumber = rawget, rawset, rawequal, rawlen, tostring, tonumber
local find, ipairs, pairs, assert, mathtype, floor, format = string.find, ipairs, pairs, assert, math.type, math.floor, string.format
local huge = math.huge
local rawmeta, getinfo = debug.getmetatable, debug.getinfo
local WEAK = { __mode = "k" }
local objects, frozen = {}, setmetatable({}, WEAK)
host.objects, host.frozen = objects, frozen

local function is_object(v)
  return objects[rawmeta(v)] == true
end
host.is_object = is_object

function host.contents(v)
  return type(v) == "table" and not objects[rawmeta(v)] and (frozen[v] or v) or nil
end

function host.is_empty(v)
  local contents = host.contents(v)
  return contents ~= nil and next(contents) == nil
end

function host.merged(base, extra)
  local all = {}
  for key, value in next, base or {} do
    all[key] = value
  end
  for key, value in next, host.contents(extra) do
    if type(key) == "string" then
      all[key] = value
    end
  end
  return all
end

local function modify()
  error("attempt to modify Immutable table", 2)
end

function host.freeze(t)
  if frozen[t] then
    return t
  end
  local contents, meta = {}, {}
  for key, value in next, t do
    contents[key] = value
  end
  for key in next, contents do
    t[key] = nil
  end
  local old = getmetatable(t)
  if old then
    for key, value in next, old do
      meta[key] = value
    end
    setmetatable(contents, { __index = old.__index })
    meta.__gc = nil -- set after setmetatable it had no effect, and must not get one now
  end
  meta.__index, meta.__newindex, meta.__metatable = contents, modify, false
  function meta.__len()
    return #contents
  end
  frozen[t] = contents
  return setmetatable(t, meta)
end

-- Base functions ----------------------------------------------------------------------------------------------------------

local base = {}

function base.type(...)
  local v = ...
  local kind = type(v)
  if kind == "table" and objects[rawmeta(v)] then
    return "userdata"
  elseif kind == "nil" and select("#", ...) == 0 then
    error("bad argument #1 to 'type' (value expected)", 2)
  end
  return kind
end

-- Whole floats as integers, others in the fewest digits that read back the same.
local function float_text(v)
  if v ~= v then
    return "NaN"
  elseif v == huge or v == -huge then
    return v > 0 and "+Inf" or "-Inf"
  elseif v == floor(v) and v >= -0x1p63 and v < 0x1p63 then
    return format("%d", v)
  end
  for digits = 15, 16 do
    local text = format("%." .. digits .. "g", v)
    if tonumber(text) == v then
      return text
    end
  end
  return format("%.17g", v)
end

function base.tostring(v)
  if type(v) == "number" then
    return mathtype(v) == "float" and float_text(v) or tostring(v)
  elseif type(v) == "table" then
    local meta = rawmeta(v)
    local own = meta and rawget(meta, "__tostring")
    if own then -- called from here, not from C: it may wait, and the hook counts it
      local text = own(v)
      if type(text) ~= "string" then
        error("'__tostring' must return a string", 2)
      end
      return text
    end
  end
  return tostring(v)
end

-- The text of any value without running code of the script.
function host.tostring(v)
  local kind = type(v)
  if kind == "number" then
    return base.tostring(v)
  elseif kind == "string" or kind == "boolean" or kind == "nil" then
    return tostring(v)
  end
  return host.text(v) or format("%s: %p", base.type(v), v)
end

-- Texts with a point are read as floats, others as integers only: "1e3" is none.
function base.tonumber(...)
  local v, radix = ...
  if type(v) == "string" then
    host.charge(#v // 8)
    local number = tonumber(...)
    return (radix or mathtype(number) == "integer" or find(v, ".", 1, true)) and number or nil
  elseif type(v) == "number" and radix == nil or select("#", ...) == 0 then
    return tonumber(...)
  end
  return nil
end

function base.getmetatable(t)
  if type(t) ~= "table" or rawmeta(t) == host.EMPTY then
    return nil
  end
  return getmetatable(t)
end

local function refuse_object(t, fn)
  if type(t) ~= "table" or objects[rawmeta(t)] then
    host.expect(fn, 1, t, "table")
  end
end

function base.setmetatable(t, meta)
  local old = rawmeta(t)
  if type(t) ~= "table" or objects[old] then
    host.expect("'setmetatable'", 1, t, "table")
  elseif frozen[t] then
    modify()
  end
  local is_table = type(meta) == "table"
  if is_table and (rawget(meta, "__gc") ~= nil or objects[rawmeta(meta)]) then
    error("setmetatable: __gc is not available in handlers", 2)
  elseif not is_table and meta ~= nil then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  elseif old and rawget(old, "__metatable") ~= nil then
    error("cannot change a protected metatable", 2)
  elseif is_table and rawget(meta, "__mode") ~= nil then -- as in Wippy; the time for weak keys can grow with their square
    meta.__mode = nil
  end
  return setmetatable(t, meta)
end

function base.rawset(t, key, value)
  refuse_object(t, "'rawset'")
  if frozen[t] or host.sealed[t] then
    modify()
  end
  return rawset(t, key, value)
end

function base.rawget(t, key)
  refuse_object(t, "'rawget'")
  return rawget(frozen[t] or t, key)
end

function base.rawlen(t)
  return rawlen(frozen[t] or t)
end

function base.next(t, key)
  refuse_object(t, "'next'")
  return next(frozen[t] or t, key)
end

function base.pairs(t)
  refuse_object(t, "'pairs'")
  if frozen[t] then
    return base.next, t, nil
  end
  return next, t, nil
end

function base.assert(...)
  local ok, message = ...
  if ok then
    return ...
  elseif select("#", ...) == 0 then
    error("bad argument #1 to 'assert' (value expected)", 2)
  elseif type(message) == "string" then
    error(message, 2)
  elseif message == nil then
    error("assertion failed!", 2)
  end
  error(message, 0) -- an error object keeps its kind
end

base.ipairs, base.select, base.rawequal, base.error = ipairs, guards.select, rawequal, error
base.pcall, base.xpcall, base.unpack = guards.pcall, guards.xpcall, guards.unpack
base._VERSION = "Lua 5.4"
host.base = base

-- Arguments and objects ---------------------------------------------------------------------------------------------------

-- "file:line" of the script's nearest call of the host; "" if C made that call and `skips_c` is not set.
local function line(skips_c)
  for level = 3, 12 do
    local info = getinfo(level, "Sl")
    if not info or info.what == "C" and not skips_c then
      break
    elseif info.what ~= "C" and info.short_src ~= "host" then
      return info.short_src .. ":" .. info.currentline
    end
  end
  return ""
end

-- Location of the calling line of the script, for log records.
function host.where()
  return line(true)
end

function host.fail(text)
  local place = line(false)
  error(place == "" and text or place .. ": " .. text, 0)
end

function host.raise(fn, n, what)
  host.fail(format("bad argument #%d to %s (%s)", n, fn, what))
end

function host.expect(fn, n, v, kind)
  local found = base.type(v)
  if found ~= kind then
    host.raise(fn, n, kind .. " expected, got " .. found)
  end
  return v
end

function host.string(fn, n, v)
  return host.text(v) or host.expect(fn, n, v, "string")
end

-- `called`: how the error for a wrong self calls the class.
function host.class(name, methods, called)
  local data, meta = setmetatable({}, WEAK), { __index = methods, __metatable = false, __name = name }
  objects[meta] = true
  function meta.__newindex()
    error("attempt to modify a " .. name, 2)
  end
  function meta.__len()
    error("attempt to get length of a userdata value", 2)
  end
  local function new(fields)
    local object = setmetatable({}, meta)
    data[object] = fields
    return object
  end
  local function data_of(object)
    return data[object] or host.fail((called or name) .. " expected")
  end
  return new, data_of, data, meta
end

-- Environments ------------------------------------------------------------------------------------------------------------

host.sealed = setmetatable({}, WEAK)

function host.new_environment(library)
  local env, globals, meta = {}, {}, { __metatable = false }
  for key, value in next, library do
    globals[key] = value
  end
  globals._G = env
  meta.__index, meta.__newindex = globals, globals
  host.sealed[env] = true
  return setmetatable(env, meta), globals
end
