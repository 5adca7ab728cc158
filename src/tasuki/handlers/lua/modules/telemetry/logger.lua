-- logger: records through the context's logger. Dot and colon calls both work.
--
--   logger:debug|info|warn|error(msg, fields?)   nothing; raises on a message or fields of another type
--   logger:with(fields)                          a logger that adds the fields
--   logger:named(name)                           a logger; names join with "."; raises on an empty name
--
-- Fields: text keys only; texts, numbers, booleans as they are; error objects as their text; tables as arrays or maps.

local host = ...

local select, next, error = select, next, error
local send, ask, where, merged = host.send, host.ask, host.where, host.merged
local methods, root = {}, {}
local new, _, state = host.class("logger", methods)

local function write(level, own, ...)
  local msg, fields = ...
  local line = host.scrub(host.string(level, 1, msg))
  if select("#", ...) > 1 then
    host.expect(level, 2, fields, "table")
  end
  if not own.fields and not fields then
    ask("log", level, line, where(), own.name)
    return
  end
  local all = fields and merged(own.fields, fields) or own.fields
  local ok, err = send("log", "loose", level, line, where(), own.name, all)
  if not ok then
    ask("log", level, line .. " (without its fields: " .. host.text(err) .. ")", where(), own.name)
  end
end

-- The data of the logger, and the arguments: a dot call has no logger before them.
local function called(first, ...)
  if state[first] then
    return state[first], ...
  end
  return root, first, ...
end

for _, level in next, { "debug", "info", "warn", "error" } do
  methods[level] = function(...)
    write(level, called(...))
  end
end

function methods.with(...)
  local own, fields = called(...)
  host.expect("with", 1, fields, "table")
  return new({ name = own.name, fields = merged(own.fields, fields) })
end

function methods.named(...)
  local own, name = called(...)
  name = host.text(name) or host.raise("named", 1, "string expected")
  if name == "" then
    error("name cannot be empty", 2)
  end
  return new({ name = own.name and own.name .. "." .. name or name, fields = own.fields })
end

return new(root)
