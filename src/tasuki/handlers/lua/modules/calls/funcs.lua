-- funcs: other function entries.
--
--   funcs.call(id, ...)    value, nil | nil, err   only the first result returns
--   funcs.async(id, ...)   Future, nil | nil, err  what the function fails with goes to the Future
--                          (Invalid: bad id; PermissionDenied; NotFound: no such function; else what it failed with)
--   funcs.new()            Executor
--
--   ex:with_context(t)                 Executor | nil, err (PermissionDenied)   merged; read by ctx in the callee
--   ex:with_actor(a) ex:with_scope(s)  Executor | nil, err (PermissionDenied)   in whose name, by which policies
--   ex:with_options(t)                 Executor | nil, err (PermissionDenied)   replaced; none has an effect
--   ex:call(id, ...) ex:async(id, ...) as funcs.call, funcs.async
--
--   f:response() f:channel()   Channel: one Payload, or the error object; then it is closed
--   f:result()                 Payload, nil | nil, err | nil, nil (still running)
--   f:error()                  err, true | nil, false
--   f:is_complete() f:is_canceled()    boolean
--   f:cancel()                 true, nil   the callee runs on, its result is forgotten
--
-- Arguments and results are copied. What a call is given holds for the function and all that it calls; executors are
-- immutable: each with_ makes another one. All raise on an argument of another type.

local host = ...

local type, next, error, find, setmetatable = type, next, error, string.find, setmetatable
local ask, send, raise, answer = host.ask, host.send, host.raise, host.results
local type_of = host.base.type
local funcs, future, executor = {}, {}, {}
local future_meta, executor_meta = host.class("funcs.Future", future), host.class("funcs.Executor", executor)
local state = setmetatable({}, { __mode = "k" })

local function data_of(self, meta)
  local own = state[self]
  if not own or own.class ~= meta then
    error(meta.__name .. " expected", 3)
  end
  return own
end

local function object(meta, own)
  local made = setmetatable({}, meta)
  own.class = meta
  state[made] = own
  return made
end

local function problem(id)
  if id == nil or id == "" then
    return "function ID required"
  elseif not find(id, ":", 1, true) or find(id, "^:") then
    return "namespace required in function ID"
  elseif find(id, ":$") then
    return "name required in function ID"
  end
end

-- The id, or nil and the error.
local function target(fn, id)
  local name = host.text(id)
  if id ~= nil and name == nil then
    raise(fn, 1, "string expected, got " .. type_of(id), 4)
  end
  local wrong = problem(name)
  if wrong then
    return host.invalid(wrong)
  end
  return host.scrub(name)
end

local function settle(own, ok, value)
  if not own.canceled then
    own.complete = true
    own.failure, own.payload = not ok and value or nil, ok and host.new_payload(value) or nil
    host.offer(own.channel, own.failure or own.payload)
    host.shut(own.channel)
  end
end

local function start(how, name, ...)
  host.need_handler("funcs.async", 4)
  host.charge(200)
  local ok, refused = ask("funcs.check", name)
  if not ok then
    return nil, refused
  end
  local own = { channel = host.new_channel(1), complete = false, canceled = false }
  local ticket, err = host.begin(function(ok, value)
    settle(own, ok, value)
  end, "call", "funcs.call", name, how, ...)
  if not ticket then
    return nil, err
  end
  return object(future_meta, own), nil
end

function funcs.call(id, ...)
  local name, err = target("call", id)
  if not name then
    return nil, err
  end
  return answer(send("funcs.call", "call", name, nil, ...))
end

function funcs.async(id, ...)
  local name, err = target("async", id)
  if not name then
    return nil, err
  end
  local made, refused = start(nil, name, ...)
  return made, refused
end

-- Future ------------------------------------------------------------------------------------------------------------------

function future.channel(self)
  return data_of(self, future_meta).channel
end
future.response = future.channel

function future.is_complete(self)
  return data_of(self, future_meta).complete
end

function future.is_canceled(self)
  return data_of(self, future_meta).canceled
end

function future.result(self)
  local own = data_of(self, future_meta)
  if own.canceled then
    return nil, host.new_error("canceled", "Canceled", false)
  end
  return own.payload, own.failure
end

function future.error(self)
  local failure = data_of(self, future_meta).failure
  if failure then
    return host.new_error(host.text(failure), "Internal", false), true
  end
  return nil, false
end

function future.cancel(self)
  local own = data_of(self, future_meta)
  if not own.canceled then
    own.canceled = true
    if host.shut(own.channel) then
      host.give_way()
    end
  end
  return true, nil
end

-- Executor ----------------------------------------------------------------------------------------------------------------

local function changed(own, field, value)
  local copy = {}
  for key, old in next, own do
    copy[key] = old
  end
  copy[field] = value
  return object(executor_meta, copy), nil
end

function funcs.new()
  host.charge(20)
  return object(executor_meta, {})
end

local function table_of(fn, value)
  if type(value) ~= "table" or host.is_object(value) then
    raise(fn, 1, "table expected, got " .. type_of(value), 4)
  end
  return host.frozen[value] or value
end

local function merged(old, new)
  local all = {}
  for key, value in next, old or {} do
    all[key] = value
  end
  for key, value in next, new do
    if type(key) == "string" then
      all[key] = value
    end
  end
  return all
end

function executor.with_context(self, values)
  local own = data_of(self, executor_meta)
  local ok, denied = ask("funcs.may", "funcs.context", "context", "not allowed to call functions with custom context")
  if not ok then
    return nil, denied
  end
  local texts = merged(nil, table_of("with_context", values))
  if next(texts) == nil then
    return changed(own, "values", own.values or {})
  end
  local fine, copy = send("funcs.copy", "loose", texts)
  if not fine then
    return nil, copy
  end
  return changed(own, "values", merged(own.values, copy))
end

local OTHER = "not allowed to call functions with custom security context"

for what, type_name in next, { actor = "Actor", scope = "Scope" } do
  local fn = "with_" .. what
  executor[fn] = function(self, value)
    local own = data_of(self, executor_meta)
    local ok, denied = ask("funcs.may", "funcs.security", "security", OTHER)
    if not ok then
      return nil, denied
    elseif value == nil then
      error(what .. " cannot be nil", 2)
    end
    local reader = host[what .. "_data"]
    local data = reader and reader(value)
    if not data then
      raise(fn, 1, "security." .. type_name .. " expected, got " .. type_of(value), 3)
    end
    return changed(own, what, data)
  end
end

function executor.with_options(self, options)
  local own = data_of(self, executor_meta)
  local network = host.text(table_of("with_options", options).network)
  if network then
    local name = host.scrub(network)
    local ok, denied = ask("funcs.may", "network.select", name, "not allowed to select network: " .. name)
    if not ok then
      return nil, denied
    end
  end
  return changed(own, "options", merged(nil, options))
end

local function how(own)
  if own.values or own.actor or own.scope then
    return { values = own.values, actor = own.actor, scope = own.scope }
  end
end

function executor.call(self, id, ...)
  local own = data_of(self, executor_meta)
  local name, err = target("call", id)
  if not name then
    return nil, err
  end
  return answer(send("funcs.call", "call", name, how(own), ...))
end

function executor.async(self, id, ...)
  local own = data_of(self, executor_meta)
  local name, err = target("async", id)
  if not name then
    return nil, err
  end
  local made, refused = start(how(own), name, ...)
  return made, refused
end

return funcs
