-- queue: publish, and the message that is being handled.
--
--   queue.publish(id, data, headers?, options?)   true, nil | nil, err   options: delay, ttl, priority, key, id, unique, …
--   queue.message()                               Message, nil | nil, err (Invalid: no delivery)
--   queue.messages()                              the Messages of a batch in the order of the bodies; else the only one
--   queue.info(id)                                table, nil | nil, err
--   queue.pause(id, options?)                     true, nil | nil, err   options: duration, until (Unix time), reason
--   queue.resume(id)                              boolean (it was paused), nil | nil, err
--   queue.stopping()                              boolean: the consumer drains, finish soon
--   queue.cancelled()                             boolean: the message is cancelled, finish soon
--   queue.progress(done, total?, note?)           true, nil | nil, err   where the queue keeps results
--   queue.cancel(id, message_id)                  string, nil | nil, err   waiting, running, not found or requested
--   queue.signal(event, key, value?)              boolean (it is the first one), nil | nil, err   for context.wait_for
--
--   msg:id() msg:header(key) msg:headers() msg:body() msg:attempt() msg:queue()    value, nil | nil, err
--   msg:ack() msg:nack(delay?) msg:reject(reason?) msg:snooze(after)               true, nil | nil, err
--
-- After the handler has returned every method gives nil, Invalid "queue.Message released"; a second settlement gives
-- nil, Invalid "queue.Message already settled".

local host = ...

local type, select, next = type, select, next
local ask, send, string = host.ask, host.send, host.string
local answer, invalid = host.results, host.invalid
local queue = {}

-- The mistake in a publish; a denial comes first.
local function refuse(name, message)
  local ok, denied = ask("queue.may", host.scrub(name))
  if not ok then
    return nil, denied
  end
  return invalid(message)
end

local PLAIN = { string = true, number = true, boolean = true }

-- Only text keys; a value that is no boolean, number or text arrives as the text <nil>.
local function plain_headers(headers)
  local plain
  for key, value in next, host.contents(headers) or {} do
    if type(key) == "string" then
      plain = plain or {}
      if PLAIN[type(value)] then
        plain[key] = value
      else
        plain[key] = "<nil>"
      end
    end
  end
  return plain
end

local OPTIONS = {
  delay = true, ttl = true, priority = true, key = true, id = true, publish_timeout = true,
  handler_timeout = true, retries = true,
  unique = true, unique_for = true, on_conflict = true, unique_max = true,
}

local function plain_options(options)
  if options == nil then
    return nil
  elseif not host.contents(options) then
    return nil, "options must be a table"
  end
  local plain = {}
  for key, value in next, host.contents(options) do
    if not OPTIONS[key] then
      local name = host.tostring(key)
      return nil, "unknown option '" .. name .. "': options are delay, ttl, priority, key, id, unique, "
        .. "unique_for, on_conflict, unique_max, handler_timeout, retries and publish_timeout"
    elseif type(value) ~= "string" and type(value) ~= "number" then
      return nil, "option '" .. key .. "' must be a string or a number"
    end
    plain[key] = value
  end
  return plain
end

function queue.publish(...)
  local id, data, headers, options = ...
  local count = select("#", ...)
  if count == 0 then
    return refuse("", "queue ID required")
  end
  local name = string("publish", 1, id)
  if name == "" then
    return refuse("", "queue ID required")
  elseif count == 1 then
    return refuse(name, "message data required")
  elseif host.is_empty(data) then
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
  return answer(ask("queue.info", host.scrub(string("info", 1, id))))
end

-- The word until is Lua's own: a script writes {["until"] = t}, or {duration = "30s"}.
local PAUSE = {
  duration = { string = true, number = true, words = "a string or a number" },
  ["until"] = { number = true, words = "a number, Unix time" },
  reason = { string = true, words = "a string" },
}

local function pause_options(options)
  if options == nil then
    return {}
  elseif not host.contents(options) then
    return nil, "options must be a table"
  end
  local plain = {}
  for key, value in next, host.contents(options) do
    local kind = PAUSE[key]
    if not kind then
      return nil, "unknown option '" .. host.tostring(key) .. "': options are duration, until and reason"
    elseif not kind[type(value)] then
      return nil, "option '" .. key .. "' must be " .. kind.words
    end
    plain[key] = type(value) == "string" and host.clean(value) or value
  end
  return plain
end

function queue.pause(id, options)
  if id == nil or id == "" then
    return invalid("queue ID required")
  end
  local plain, problem = pause_options(options)
  if problem then
    return invalid(problem)
  end
  local name = host.scrub(string("pause", 1, id))
  return answer(ask("queue.pause", name, plain.duration, plain["until"], plain.reason))
end

function queue.resume(id)
  if id == nil or id == "" then
    return invalid("queue ID required")
  end
  return answer(ask("queue.resume", host.scrub(string("resume", 1, id))))
end

function queue.stopping()
  local _, value = ask("queue.stopping")
  return value
end

function queue.cancelled()
  local _, value = ask("queue.cancelled")
  return value
end

function queue.cancel(id, message)
  if id == nil or id == "" then
    return invalid("queue ID required")
  elseif message == nil or message == "" then
    return invalid("message ID required")
  end
  return answer(ask("queue.cancel", host.scrub(string("cancel", 1, id)), host.scrub(string("cancel", 2, message))))
end

function queue.signal(event, key, value)
  if event == nil or event == "" then
    return invalid("event required")
  elseif key == nil then
    return invalid("key required")
  elseif value == nil then
    value = true
  end
  return answer(send("queue.signal", "loose", string("signal", 1, event), string("signal", 2, key), value))
end

function queue.progress(done, total, note)
  if type(done) ~= "number" or (total ~= nil and type(total) ~= "number") then
    return invalid("progress takes a number, and the total as a number or nil")
  end
  return answer(ask("queue.progress", done, total, note ~= nil and host.scrub(string("progress", 3, note)) or nil))
end

-- Message -----------------------------------------------------------------------------------------------------------------

local methods = {}
local new, data_of, _, meta = host.class("queue.Message", methods)

function queue.message()
  local ok, value = ask("queue.message")
  if not ok then
    return nil, value
  end
  value.serial, value.body = host.invocation()
  return new(value), nil
end

-- One Message for each body of a batch; outside a batch the only one.
function queue.messages()
  local ok, values = ask("queue.messages")
  if not ok then
    return nil, values
  end
  local serial, body = host.invocation()
  for index = 1, #values do
    local value = values[index]
    value.serial = serial
    if not value.index then
      value.body = body
    elseif type(body) == "table" then
      value.body = body[value.index]
    end
    values[index] = new(value)
  end
  return values, nil
end

function meta.__tostring(self)
  local data = data_of(self)
  if data.serial ~= host.invocation() then
    return "queue.Message{released}"
  end
  return "queue.Message{id=" .. data.id .. "}"
end

-- A method of messages whose handler is still running; it gets their data.
local function live(method)
  return function(self, ...)
    local data = data_of(self)
    if data.serial ~= host.invocation() then
      return invalid("queue.Message released")
    end
    return method(data, ...)
  end
end

for _, field in next, { "id", "attempt", "queue", "body" } do
  methods[field] = live(function(data)
    return data[field], nil
  end)
end

methods.header = live(function(data, key)
  return data.headers[string("header", 1, key)], nil
end)

methods.headers = live(function(data)
  return host.merged(nil, data.headers), nil
end)

local settle = live(function(data, verb, argument)
  return answer(ask("queue.settle", verb, argument, data.index))
end)

function methods.ack(self)
  return settle(self, "ack")
end

local function delay_of(verb, delay)
  if type(delay) == "number" then
    return delay
  end
  return host.scrub(type(delay) == "string" and delay or host.expect(verb, 1, delay, "number or string"))
end

function methods.nack(self, delay)
  return settle(self, "nack", delay ~= nil and delay_of("nack", delay) or nil)
end

methods.snooze = live(function(data, after)
  return answer(ask("queue.settle", "snooze", delay_of("snooze", after), data.index))
end)

function methods.reject(self, reason)
  return settle(self, "reject", host.clean(reason == nil and "" or string("reject", 1, reason)))
end

return queue
