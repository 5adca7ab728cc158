-- What leaves a handler that failed: scalars for Python, whatever the script raised.
--
--   host.position(co)                    "file:line: " where a coroutine of a script stands; "" without one
--   host.failed(co, raised)              closes the coroutine; what host.run returns
--   host.describe(raised, place, trace)  message, trace, kind, retryable, shape, details...
--   host.describe_failure(value)         message, kind, retryable, shape, details...   of a second result
--
-- Nothing here runs code of the script: fields are read raw, and __tostring is never called.

local host = ...

local type, rawget, tostring, pcall, gsub, match = type, rawget, tostring, pcall, string.gsub, string.match
local close, getinfo, traceback = coroutine.close, debug.getinfo, debug.traceback
local data, clean, rep, rawequal = host.error_data, host.clean, string.rep, rawequal
local DEEPEST = 500 -- levels of the host above a script's line: the matcher calls itself
local NO_MEMORY = "not enough memory"

-- A reserve of memory: freed when a script has filled its memory, so that the error can name the line; refilled later.
local reserve

local function restore()
  reserve = rep("\0", 65536)
end
restore()

function host.position(co)
  for level = 0, DEEPEST do
    -- Looking into a coroutine needs room on its stack: after an overflow there may be none, and this raises.
    local ok, info = pcall(getinfo, co, level, "Sl")
    if not ok then
      return match(traceback(co), "\n%s*([^\n:]+:%d+: )in ") or ""
    elseif not info then
      return ""
    elseif info.what ~= "C" and info.short_src ~= "host" then
      return info.short_src .. ":" .. info.currentline .. ": "
    end
  end
  return ""
end

local function spread(kind, retryable, details)
  if details == nil then
    return kind, retryable, false
  end
  return kind, retryable, host.flatten("loose", details)
end

local function message_of(raised, place)
  local message = raised
  if type(raised) == "table" then
    message = rawget(raised, "message")
  end
  if type(message) == "number" then
    return tostring(message)
  elseif type(message) == "string" then
    return gsub(message, "^host:%d+: ", place, 1) -- raised by a C function that a guard called
  end
  return "(the script raised a " .. type(raised) .. " value)"
end

function host.describe(raised, place, trace)
  local d = data[raised]
  if d then
    return clean(d.message), clean(trace), spread(d.kind, d.retryable, d.details)
  end
  return clean((message_of(raised, place))), clean(trace), nil, nil, false
end

function host.failed(co, raised)
  local is_full = rawequal(raised, NO_MEMORY)
  if is_full then
    reserve = nil
  elseif not reserve then
    pcall(restore)
  end
  local trace, place = traceback(co), host.position(co)
  if not host.killed() then
    close(co) -- runs __close handlers, under the hook; a hook's own error has switched hooks off in there
  end
  local limit = host.killed() or is_full and "memory"
  if limit then
    return 5, limit, place, clean(trace)
  end
  return 4, host.describe(raised, place, trace)
end

function host.describe_failure(value)
  local d = data[value]
  if d then
    return clean(d.message), spread(d.kind, d.retryable, d.details)
  end
  return clean(value), nil, nil, false
end
