-- json: encode, decode, and checks against a JSON Schema.
--
--   json.encode(v)   text, nil | nil, err (Internal: recursive, sparse, mixed keys, nested too deep)
--   json.decode(s)   value, nil | nil, err (Invalid: no text, empty text; Internal: not JSON, nested too deep)
--
--   json.validate(schema, v)          true | false, err (Invalid: "evaluation failed", with reason, path and reasons, a
--                                     message by path, in its details; or the mistake in the schema or the arguments)
--   json.validate_string(schema, s)   the same for a text
--
-- A schema is a text, or a table (there {} is []). A table without a positive integer key is checked as an object.
-- A value that is decoded already (a table, a number, a boolean, nil) comes back unchanged.

local host = ...

local type, select, find = type, select, string.find
local ask, send, answer, is_utf8 = host.ask, host.send, host.results, utf8.len
local json = {}

function json.encode(v)
  return answer(send("json.encode", "json", v))
end

function json.decode(...)
  local s = ...
  local kind = type(s)
  if kind == "string" then
    if s == "" then
      return host.invalid("empty string is not valid JSON")
    end
    if is_utf8(s) then
      return answer(ask("json.decode", s))
    end
    return answer(send("json.decode", "body", s))
  elseif select("#", ...) == 0 or kind == "function" or kind == "thread" or host.is_object(s) then
    return host.invalid("string expected")
  end
  return s, nil
end

local function refused(message)
  return false, host.new_error(message, "Invalid", false)
end

local function schema_of(schema)
  if schema == nil then
    return "schema is required"
  elseif type(schema) ~= "string" and not host.contents(schema) then
    return "schema must be a string or table"
  end
end

local function judged(ok, value)
  if ok then
    return true
  elseif host.error_data[value].kind == "Internal" and find(host.text(value), "^json: ") then -- it cannot be encoded
    return refused(host.text(value))
  end
  return false, value
end

function json.validate(schema, v)
  local problem = schema_of(schema) or v == nil and "data is required"
  if problem then
    return refused(problem)
  end
  return judged(send("json.validate", "json", schema, host.is_empty(v) and host.new_object() or v))
end

function json.validate_string(schema, s)
  if schema == nil then
    return refused("schema is required")
  elseif type(s) ~= "string" then
    return refused("data must be a JSON string")
  end
  local problem = schema_of(schema)
  if problem then
    return refused(problem)
  end
  return judged(send("json.validate_string", "body", schema, s))
end

return json
