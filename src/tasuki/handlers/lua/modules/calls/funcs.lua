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

local next, error, find = next, error, string.find
local ask, send, answer, merged = host.ask, host.send, host.results, host.merged
local funcs, future, executor = {}, {}, {}
local new_future, future_of = host.class("funcs.Future", future)
local new_executor, executor_of = host.class("funcs.Executor", executor)

local function problem(id)
  if id == "" then
    return "function ID required"
  elseif not find(id, ":", 1, true) or find(id, "^:") then
    return "namespace required in function ID"
  elseif find(id, ":$") then
    return "name required in function ID"
  end
end

-- The id, or nil and the error.
local function target(fn, id)
  local name = id == nil and "" or host.string(fn, 1, id)
  local wrong = problem(name)
  if wrong then
    return host.invalid(wrong)
  end
  return host.scrub(name)
end

-- `how`: what an executor adds to the call; nil without one.
local function call(how, id, ...)
  local name, err = target("call", id)
  if not name then
    return nil, err
  end
  return answer(send("funcs.call", "call", name, how, ...))
end

local function settle(own, ok, value)
  if not own.canceled then
    own.complete = true
    own.failure, own.payload = not ok and value or nil, ok and host.new_payload(value) or nil
    host.offer(own.channel, own.failure or own.payload)
    host.shut(own.channel)
  end
end

local function async(how, id, ...)
  local name, err = target("async", id)
  if not name then
    return nil, err
  end
  host.need_handler("funcs.async")
  host.charge(200)
  local ok, refused = ask("funcs.check", name)
  if not ok then
    return nil, refused
  end
  local own = { channel = host.new_channel(1), complete = false, canceled = false }
  local ticket, unfit = host.begin(function(ok, value)
    settle(own, ok, value)
  end, "call", "funcs.call", name, how, ...)
  if not ticket then
    return nil, unfit
  end
  return new_future(own), nil
end

function funcs.call(...)
  return call(nil, ...)
end

function funcs.async(...)
  return async(nil, ...)
end

-- Future ------------------------------------------------------------------------------------------------------------------

function future.channel(self)
  return future_of(self).channel
end
future.response = future.channel

function future.is_complete(self)
  return future_of(self).complete
end

function future.is_canceled(self)
  return future_of(self).canceled
end

function future.result(self)
  local own = future_of(self)
  if own.canceled then
    return nil, host.new_error("canceled", "Canceled", false)
  end
  return own.payload, own.failure
end

function future.error(self)
  local failure = future_of(self).failure
  if failure then
    return host.new_error(host.text(failure), "Internal", false), true
  end
  return nil, false
end

function future.cancel(self)
  local own = future_of(self)
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
  return new_executor(merged(own, { [field] = value })), nil
end

function funcs.new()
  host.charge(20)
  return new_executor({})
end

function executor.with_context(self, values)
  local own = executor_of(self)
  local ok, denied = ask("funcs.may", "funcs.context", "context", "not allowed to call functions with custom context")
  if not ok then
    return nil, denied
  end
  local texts = merged(nil, host.expect("with_context", 1, values, "table"))
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
    local own = executor_of(self)
    local ok, denied = ask("funcs.may", "funcs.security", "security", OTHER)
    if not ok then
      return nil, denied
    elseif value == nil then
      error(what .. " cannot be nil", 2)
    end
    local reader = host[what .. "_data"]
    local data = reader and reader(value) or host.expect(fn, 1, value, "security." .. type_name)
    return changed(own, what, data)
  end
end

function executor.with_options(self, options)
  local own = executor_of(self)
  local network = host.text(host.contents(host.expect("with_options", 1, options, "table")).network)
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

function executor.call(self, ...)
  return call(how(executor_of(self)), ...)
end

function executor.async(self, ...)
  return async(how(executor_of(self)), ...)
end

return funcs
