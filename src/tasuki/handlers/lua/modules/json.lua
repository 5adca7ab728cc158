-- json: encode and decode.
--
--   json.encode(v)   text, nil | nil, err (Internal: recursive, sparse, mixed keys, nested too deep)
--   json.decode(s)   value, nil | nil, err (Invalid: no text, empty text; Internal: not JSON, nested too deep)
--
-- A value that is decoded already (a table, a number, a boolean, nil) comes back unchanged.

local host = ...

local type, select = type, select
local ask, send, is_utf8 = host.ask, host.send, utf8.len
local json = {}

local function answer(ok, value)
  if ok then
    return value, nil
  end
  return nil, value
end

function json.encode(v)
  return answer(send("json.encode", "json", v))
end

function json.decode(...)
  local s = ...
  local kind = type(s)
  if kind == "string" then
    if s == "" then
      return nil, host.new_error("empty string is not valid JSON", "Invalid", false)
    end
    if is_utf8(s) then
      return answer(ask("json.decode", s))
    end
    return answer(send("json.decode", "body", s))
  elseif select("#", ...) == 0 or kind == "function" or kind == "thread" or host.is_object(s) then
    return nil, host.new_error("string expected", "Invalid", false)
  end
  return s, nil
end

return json
