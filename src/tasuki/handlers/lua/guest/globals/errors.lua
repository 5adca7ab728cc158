-- errors: error objects, and the functions that make and read them. A global; no declaration needed.
--
--   errors.new(text | {message, kind?, retryable?, details?})   error object; raises on another argument
--   errors.wrap(err | text, context)                             error object: kind, retryable, details of the inner one
--   errors.is(value, kind)                                       boolean; raises when kind is no text
--   errors.call_stack(err)                                       {thread, frames = {{level, source, line, name, type}}} | nil
--   err:kind() err:message() err:retryable() err:details() err:stack()
--   errors.NOT_FOUND ... errors.UNKNOWN
--
-- An error object is an empty table with a hidden metatable: scripts see "userdata" without fields. Its data stays here.

local host = ...

local type, error, rawget, next, concat = type, error, rawget, next, table.concat
local getinfo = debug.getinfo
local type_of = host.base.type
local methods = {}
local new, _, data, meta = host.class("error", methods)

local function is_error(v)
  return data[v] ~= nil
end
host.is_error = is_error

local function full(d)
  return d.context ~= "" and d.context .. ": " .. d.message or d.message
end

local function frames()
  local list = {}
  for level = 2, 30 do
    local info = getinfo(level, "Sln")
    if not info then
      break
    end
    if info.what ~= "C" and info.short_src ~= "host" then
      local name = info.name or (info.what == "main" and "main chunk") or "?"
      list[#list + 1] = { level = #list, source = info.short_src, line = info.currentline, name = name, type = info.what }
    end
  end
  return list
end

local function plain(value)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then
    return value
  end
  return host.tostring(value)
end

local function copy_details(source, depth)
  local copy
  for key, value in next, source do
    host.charge(10)
    if type(key) == "string" then
      copy = copy or {}
      if type_of(value) == "table" then
        copy[key] = depth < 32 and (copy_details(value, depth + 1) or {}) or "..."
      else
        copy[key] = plain(value)
      end
    end
  end
  return copy
end

local function make(fields)
  fields.frames = frames()
  return new(fields)
end

-- From Python: everything is known to be of the right type.
function host.new_error(message, kind, retryable, details)
  return make({ message = message, kind = kind or "", retryable = retryable, details = details, context = "" })
end

-- One line of text for a value where a string argument is asked for: strings, numbers, error objects; else nil.
function host.text(value)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "number" then
    return host.tostring(value)
  end
  local d = data[value]
  return d and d.message
end

function host.full_text(err)
  return full(data[err])
end

local errors = {
  NOT_FOUND = "NotFound",
  ALREADY_EXISTS = "AlreadyExists",
  INVALID = "Invalid",
  PERMISSION_DENIED = "PermissionDenied",
  UNAVAILABLE = "Unavailable",
  INTERNAL = "Internal",
  CANCELED = "Canceled",
  CONFLICT = "Conflict",
  TIMEOUT = "Timeout",
  RATE_LIMITED = "RateLimited",
  UNKNOWN = "",
}

function errors.new(x)
  if type(x) == "string" then
    return host.new_error(x)
  elseif type_of(x) ~= "table" then
    host.raise("new", 1, "expected string or table")
  end
  local message, kind, retryable, details = rawget(x, "message"), rawget(x, "kind"), rawget(x, "retryable"), rawget(x, "details")
  if message == nil then
    host.raise("new", 1, "message field is required")
  elseif type(message) ~= "string" then
    host.raise("new", 1, "message must be a string")
  end
  if type(retryable) ~= "boolean" then
    retryable = nil
  end
  kind = type(kind) == "string" and kind or nil
  details = type_of(details) == "table" and copy_details(details, 1) or nil
  return host.new_error(message, kind, retryable, details)
end

local function text_of(value, n)
  if type(value) == "string" then
    return value
  elseif is_error(value) then
    return data[value].message
  end
  host.raise("wrap", n, value == nil and "value expected" or "expected string or error object")
end

function errors.wrap(err, context)
  local message, note = text_of(err, 1), text_of(context, 2)
  local inner = data[err] or { message = message, kind = "", context = "" }
  return make({
    message = full(inner),
    kind = inner.kind,
    retryable = inner.retryable,
    details = inner.details,
    context = note,
  })
end

function errors.is(value, kind)
  if type(kind) ~= "string" then
    host.raise("is", 2, "string expected, got " .. type(kind))
  end
  return is_error(value) and data[value].kind == kind
end

function errors.call_stack(err)
  local d = data[err]
  if not d or #d.frames == 0 then
    return nil
  end
  local list = {}
  for i = 1, #d.frames do
    list[i] = host.merged(nil, d.frames[i])
  end
  return { thread = "main", frames = list }
end

function methods.kind(self)
  return is_error(self) and data[self].kind or ""
end

function methods.message(self)
  return is_error(self) and data[self].message or ""
end

function methods.retryable(self)
  local d = data[self]
  return d and d.retryable
end

function methods.details(self)
  local d = data[self]
  return d and d.details and copy_details(d.details, 1) or nil
end

function methods.stack(self)
  local d, lines = data[self], {}
  if not d then
    return ""
  elseif d.context ~= "" then
    lines[1] = d.context
  end
  for i = 1, #d.frames do
    local f = d.frames[i]
    lines[#lines + 1] = "  " .. f.source .. ":" .. f.line .. " (" .. f.name .. ")"
  end
  return concat(lines, "\n")
end

local function operand(value)
  local text = host.text(value)
  if text == nil then
    error("attempt to concatenate a " .. type(value) .. " value", 3)
  end
  return text
end

function meta.__concat(a, b)
  return operand(a) .. operand(b)
end

function meta.__tostring(self)
  return data[self].message
end

function meta.__newindex()
  error("attempt to modify an error object", 2)
end

host.errors, host.error_data = errors, data
