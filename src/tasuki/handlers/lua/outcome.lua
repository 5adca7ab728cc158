-- What leaves a handler that failed: scalars for Python, whatever the script raised.
--
--   host.position(co)                    "file:line: " where a coroutine of a script stands; "" without one
--   host.describe(raised, place, trace)  message, trace, kind, retryable, shape, details...
--   host.describe_failure(value)         message, kind, retryable, shape, details...   of a second result
--
-- Nothing here runs code of the script: fields are read raw, and __tostring is never called.

local host = ...

local type, rawget, tostring, gsub, getinfo = type, rawget, tostring, string.gsub, debug.getinfo
local data, clean = host.error_data, host.clean

function host.position(co)
  for level = 0, 20 do
    local info = getinfo(co, level, "Sl")
    if not info then
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

function host.describe_failure(value)
  local d = data[value]
  if d then
    return clean(d.message), spread(d.kind, d.retryable, d.details)
  end
  return clean(value), nil, nil, false
end
