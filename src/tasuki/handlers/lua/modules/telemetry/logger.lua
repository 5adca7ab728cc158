-- logger: records through the context's logger. Dot and colon calls both work.
--
--   logger:debug|info|warn|error(msg, fields?)   nothing; raises on a message or fields of another type
--   logger:with(fields)                          a logger that adds the fields
--   logger:named(name)                           a logger; names join with "."; raises on an empty name
--
-- Fields: text keys only; texts, numbers, booleans as they are; error objects as their text; tables as arrays or maps.

local host = ...

local type, select, next, setmetatable, error = type, select, next, setmetatable, error
local rawmeta = debug.getmetatable
local text, send, ask, where = host.text, host.send, host.ask, host.where
local state = setmetatable({}, { __mode = "k" })

local function merged(base, extra)
  local all = {}
  if base then
    for key, value in next, base do
      all[key] = value
    end
  end
  for key, value in next, host.frozen[extra] or extra do
    if type(key) == "string" then
      all[key] = value
    end
  end
  return all
end

local function check_fields(fields, fn)
  if type(fields) ~= "table" or host.is_object(fields) then
    host.raise(fn, 2, "table expected, got " .. host.base.type(fields), 5)
  end
end

local function write(level, own, count, msg, fields)
  local line = text(msg)
  if line == nil then
    host.raise(level, 1, "string expected, got " .. host.base.type(msg), 4)
  end
  if count > 1 then
    check_fields(fields, level)
  end
  line = host.scrub(line)
  if not own.fields and not fields then
    ask("log", level, line, where(), own.name)
    return
  end
  local all = fields and merged(own.fields, fields) or own.fields
  local ok, err = send("log", "loose", level, line, where(), own.name, all)
  if not ok then
    ask("log", level, line .. " (without its fields: " .. text(err) .. ")", where(), own.name)
  end
end

local plain = {}
local new

local function own_of(self) -- nil: a dot call
  return state[self]
end

local function method(level)
  return function(...)
    local first, second, third = ...
    local own = type(first) == "table" and own_of(first)
    if own then
      write(level, own, select("#", ...) - 1, second, third)
    else
      write(level, plain, select("#", ...), first, second)
    end
  end
end

local methods = { debug = method("debug"), info = method("info"), warn = method("warn"), error = method("error") }

function methods.with(...)
  local first, second = ...
  local own = type(first) == "table" and own_of(first)
  local fields = second
  if not own then
    own, fields = plain, first
  end
  if type(fields) ~= "table" or host.is_object(fields) then
    host.raise("with", 1, "table expected, got " .. host.base.type(fields), 3)
  end
  return new({ name = own.name, fields = merged(own.fields, fields) })
end

function methods.named(...)
  local first, second = ...
  local own = type(first) == "table" and own_of(first)
  local name = own and second or first
  if own == nil or own == false then
    own, name = plain, first
  end
  name = text(name)
  if name == nil then
    host.raise("named", 1, "string expected", 3)
  elseif name == "" then
    error("name cannot be empty", 2)
  end
  return new({ name = own.name and own.name .. "." .. name or name, fields = own.fields })
end

local meta = host.class("logger", methods)

function new(own)
  local logger = setmetatable({}, meta)
  state[logger] = own
  return logger
end

return new(plain)
