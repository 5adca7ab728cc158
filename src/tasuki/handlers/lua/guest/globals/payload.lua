-- payload: a value together with the format that it is in. A global; no declaration needed.
--
--   payload.new(v)        Payload   format lua/any (the value itself, not a copy); golang/error for an error object
--   payload.format        JSON, YAML, STRING, GOLANG, LUA, BYTES, MSGPACK, ERROR
--   p:get_format()        text
--   p:data()              the Lua value | nil, err (Internal)
--   p:transcode(format)   Payload, nil | nil, err (Internal: "no transcoding path found", or the mistake in the text)
--   p:unmarshal()         as data; nil, err (Internal) also when the value is nil
--
-- To text and bytes: numbers and booleans in their shortest form, nil as "", tables as JSON.

local host = ...

local type = type
local methods = {}
local new, data_of, state, meta = host.class("payload", methods)

local FORMAT = {
  JSON = "json/plain",
  YAML = "yaml/plain",
  STRING = "text/plain",
  GOLANG = "golang/any",
  LUA = "lua/any",
  BYTES = "application/octet-stream",
  MSGPACK = "application/msgpack",
  ERROR = "golang/error",
}
local PLAIN = { [FORMAT.LUA] = true, [FORMAT.GOLANG] = true }
local TEXT = { [FORMAT.JSON] = true, [FORMAT.YAML] = true, [FORMAT.STRING] = true, [FORMAT.BYTES] = true, [FORMAT.MSGPACK] = true }
local PRINTED = { [FORMAT.STRING] = true, [FORMAT.BYTES] = true }

local function make(format, value)
  host.charge(20)
  return new({ format = format, value = value })
end

function host.new_payload(value)
  return make(host.is_error(value) and FORMAT.ERROR or FORMAT.LUA, value)
end

local function problem(text)
  return nil, host.new_error(text, "Internal", false)
end

function meta.__tostring(self)
  return "payload{format=" .. state[self].format .. "}"
end

function methods.get_format(self)
  return data_of(self).format
end

local function data(own)
  if PLAIN[own.format] or PRINTED[own.format] then
    return own.value
  elseif not TEXT[own.format] then
    return problem("no transcoding path found")
  end
  local ok, value = host.send("payload.decode", "body", own.format, own.value)
  if ok then
    return value
  end
  return nil, value
end

function methods.data(self)
  return data(data_of(self))
end

function methods.unmarshal(self)
  local value, err = data(data_of(self))
  if value == nil and not err then
    return problem("transcoded data is not a valid Lua value")
  end
  return value, err
end

local function encoded(format, value)
  local kind = type(value)
  if PRINTED[format] and (kind ~= "table" or host.is_object(value)) then
    return make(format, kind == "nil" and "" or kind == "string" and value or host.tostring(value)), nil
  end
  local ok, text = host.send("payload.encode", "body", PRINTED[format] and FORMAT.JSON or format, value)
  if ok then
    return make(format, text), nil
  end
  return nil, text
end

function methods.transcode(self, format)
  local own, name = data_of(self), host.string("transcode", 1, format)
  if name == own.format then
    return self, nil
  elseif own.format == FORMAT.ERROR or not (PLAIN[name] or TEXT[name]) then
    return problem("no transcoding path found")
  elseif PRINTED[name] and TEXT[own.format] then
    return make(name, own.value), nil
  end
  local value, err = data(own)
  if err then
    return nil, err
  elseif PLAIN[name] or PRINTED[own.format] then -- or a text that is said to be in that format
    return make(name, value), nil
  end
  return encoded(name, value)
end

host.payload = { new = host.new_payload, format = host.freeze(FORMAT) }
