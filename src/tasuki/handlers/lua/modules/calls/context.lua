-- context: the steps and pauses of the message that is being handled.
--
--   context.step(name, fn, ...)                        value, nil | nil, err   fn is called unless it is recorded
--   context.sleep(duration, name?)                     true, nil | nil, err    "3d", "1h30m" or seconds
--   context.wait_for(event, key, timeout, name?)       value, nil | nil, err (Timeout: no signal came)
--
-- A sleep or wait that is not over ends the handler here: nothing in it can catch that. The message is redelivered later, and
-- its steps are not done again. A step whose fn returns nil and an error, or raises, is not recorded.

local host = ...

local type = type
local ask, send, string, invalid = host.ask, host.send, host.string, host.invalid
local context = {}

local function text(fn, n, value)
  return host.scrub(string(fn, n, value))
end

local function seconds_or_text(fn, n, value)
  if type(value) == "number" then
    return value
  end
  return text(fn, n, value)
end

local function recorded(name, value, err)
  if err ~= nil then
    return value, err
  end
  local ok, result = send("context.end", "loose", name, value)
  if not ok then
    return nil, result
  end
  return result, nil
end

function context.step(name, fn, ...)
  local plain = text("step", 1, name)
  if type(fn) ~= "function" then
    return invalid("step takes a function")
  end
  local ok, found = ask("context.begin", plain)
  if not ok then
    return nil, found
  elseif found.is_done then
    return found.value, nil
  end
  return recorded(plain, fn(...))
end

-- What a pause has come to: { left, value, is_timeout }. If there is time left, the handler ends here.
local function paused(ok, found)
  if not ok then
    return nil, found
  elseif found.left > 0 then
    ask("context.suspend", found.left)
  end
  return found, nil
end

function context.sleep(duration, name)
  local found, err = paused(ask(
    "context.sleep", name ~= nil and text("sleep", 2, name) or nil, seconds_or_text("sleep", 1, duration)
  ))
  return found ~= nil or nil, err
end

function context.wait_for(event, key, timeout, name)
  local found, err = paused(ask(
    "context.wait", name ~= nil and text("wait_for", 4, name) or nil, text("wait_for", 1, event),
    text("wait_for", 2, key), seconds_or_text("wait_for", 3, timeout)
  ))
  if not found then
    return nil, err
  elseif found.problem then
    return nil, host.new_error(found.problem, "Timeout", false)
  end
  return found.value, nil
end

return context
