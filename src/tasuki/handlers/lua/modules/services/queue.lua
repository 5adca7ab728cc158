-- queue: publish, and the message that is being handled.
--
--   queue.publish(id, data, headers?, options?)   true, nil | nil, err   options: delay, ttl, priority, key, id
--   queue.message()                               Message, nil | nil, err (Invalid: no delivery)
--   queue.info(id)                                table, nil | nil, err
--   queue.stopping()                              boolean: the consumer drains, finish soon
--
--   msg:id() msg:header(key) msg:headers() msg:body() msg:attempt() msg:queue()    value, nil | nil, err
--   msg:ack() msg:nack(delay?) msg:reject(reason?) msg:snooze(after)               true, nil | nil, err
--
-- After the handler has returned every method gives nil, Invalid "queue.Message released"; a second settlement gives
-- nil, Invalid "queue.Message already settled".

local host = ...

local type, select, next, setmetatable, error = type, select, next, setmetatable, error
local ask, send, text, raise = host.ask, host.send, host.text, host.raise
local answer, invalid = host.results, host.invalid
local type_of = host.base.type
local queue = {}

-- The mistake in a publish; a denial comes first.
local function refuse(name, message)
  local ok, denied = ask("queue.may", host.scrub(name))
  if not ok then
    return nil, denied
  end
  return invalid(message)
end

-- Only text keys; a value that is no boolean, number or text arrives as the text <nil>.
local function plain_headers(headers)
  if type(headers) ~= "table" or host.is_object(headers) then
    return nil
  end
  local plain
  for key, value in next, host.frozen[headers] or headers do
    if type(key) == "string" then
      local kind = type(value)
      plain = plain or {}
      if kind == "string" or kind == "number" or kind == "boolean" then
        plain[key] = value
      else
        plain[key] = "<nil>"
      end
    end
  end
  return plain
end

local OPTIONS = { delay = true, ttl = true, priority = true, key = true, id = true, timeout = true }

local function plain_options(options)
  if options == nil then
    return nil
  elseif type(options) ~= "table" or host.is_object(options) then
    return nil, "options must be a table"
  end
  local plain = {}
  for key, value in next, host.frozen[options] or options do
    if not OPTIONS[key] then
      local name = host.tostring(key)
      return nil, "unknown option '" .. name .. "': options are delay, ttl, priority, key and id"
    elseif type(value) ~= "string" and type(value) ~= "number" then
      return nil, "option '" .. key .. "' must be a string or a number"
    end
    plain[key] = value
  end
  return plain
end

local function is_empty(data)
  return type(data) == "table" and not host.is_object(data) and next(host.frozen[data] or data) == nil
end

function queue.publish(...)
  local id, data, headers, options = ...
  local count = select("#", ...)
  if count == 0 then
    return refuse("", "queue ID required")
  end
  local name = text(id)
  if name == nil then
    raise("publish", 1, "string expected, got " .. type_of(id), 3)
  elseif name == "" then
    return refuse("", "queue ID required")
  elseif count == 1 then
    return refuse(name, "message data required")
  elseif is_empty(data) then
    return refuse(name, "message data cannot be empty")
  end
  local plain, problem = plain_options(options)
  if problem then
    return refuse(name, problem)
  end
  return answer(send("queue.publish", "body", name, data, plain_headers(headers), plain))
end

function queue.info(id)
  if id == nil or id == "" then
    return invalid("queue ID required")
  end
  local name = text(id)
  if name == nil then
    raise("info", 1, "string expected, got " .. type_of(id), 3)
  end
  return answer(ask("queue.info", host.scrub(name)))
end

function queue.stopping()
  local _, value = ask("queue.stopping")
  return value
end

-- Message -----------------------------------------------------------------------------------------------------------------

local state = setmetatable({}, { __mode = "k" })
local methods = {}
local meta = host.class("queue.Message", methods)

function queue.message()
  local ok, value = ask("queue.message")
  if not ok then
    return nil, value
  end
  local message = setmetatable({}, meta)
  value.serial, value.body = host.invocation()
  state[message] = value
  return message, nil
end

-- The data of a message whose handler is still running; else nil and the error.
local function data_of(self)
  local data = state[self]
  if not data then
    error("queue.Message expected", 3)
  elseif data.serial ~= host.invocation() then
    return invalid("queue.Message released")
  end
  return data
end

function meta.__tostring(self)
  local data = state[self]
  if data.serial ~= host.invocation() then
    return "queue.Message{released}"
  end
  return "queue.Message{id=" .. data.id .. "}"
end

for _, field in next, { "id", "attempt", "queue", "body" } do
  methods[field] = function(self)
    local data, err = data_of(self)
    if not data then
      return nil, err
    end
    return data[field], nil
  end
end

function methods.header(self, key)
  local data, err = data_of(self)
  if not data then
    return nil, err
  end
  local name = text(key)
  if name == nil then
    raise("header", 1, "string expected, got " .. type_of(key), 3)
  end
  return data.headers[name], nil
end

function methods.headers(self)
  local data, err = data_of(self)
  if not data then
    return nil, err
  end
  local copy = {}
  for key, value in next, data.headers do
    copy[key] = value
  end
  return copy, nil
end

local function settle(self, verb, argument)
  local data, err = data_of(self)
  if not data then
    return nil, err
  end
  return answer(ask("queue.settle", verb, argument))
end

function methods.ack(self)
  return settle(self, "ack")
end

local function later(self, verb, delay)
  if type(delay) ~= "string" and type(delay) ~= "number" then
    raise(verb, 1, "number or string expected, got " .. type_of(delay), 3)
  end
  return settle(self, verb, type(delay) == "string" and host.scrub(delay) or delay)
end

function methods.nack(self, delay)
  if delay == nil then
    return settle(self, "nack")
  end
  return later(self, "nack", delay)
end

function methods.snooze(self, after)
  local data, err = data_of(self)
  if not data then
    return nil, err
  end
  return later(self, "snooze", after)
end

function methods.reject(self, reason)
  local words = ""
  if reason ~= nil then
    words = text(reason)
  end
  if words == nil then
    raise("reject", 1, "string expected, got " .. type_of(reason), 3)
  end
  return settle(self, "reject", host.clean(words))
end

return queue
