-- Calls of modules to Python: a yield, which reaches the driver through all coroutines of the script.
--
--   host.ask(op, ...)         scalars and valid texts only; returns true and the answer, or false and an error object
--   host.send(op, mode, ...)  any values, flattened in that mode (values.lua); returns the same
--   host.results(ok, value)   the results of ask or send as a script gets them: value, nil or nil, err
--   host.invalid(message)     nil, and an error object of kind Invalid
--   host.need_yield(op)       raises where no yield is possible: inside a C function

local host = ...

local yield, isyieldable, error, pcall = coroutine.yield, coroutine.isyieldable, error, pcall
local ASYNC, answered = host.ASYNC, host.answered

function host.need_yield(op)
  if not isyieldable() then
    host.fail(op .. " cannot be used inside table.sort, string.gsub or __tostring; call it outside of them")
  end
end

function host.ask(op, ...)
  host.need_yield(op)
  return answered(yield(ASYNC, op, false, ...))
end

function host.results(ok, value)
  if ok then
    return value, nil
  end
  return nil, value
end

function host.invalid(message)
  return nil, host.new_error(message, "Invalid", false)
end

function host.refused(problem) -- values that could not be flattened
  host.recheck()
  if problem == "not enough memory" then
    error(problem, 0)
  end
  return host.new_error(problem, "Internal", false)
end

local function sent(op, ok, shape, ...)
  if ok then
    return answered(yield(ASYNC, op, shape, ...))
  end
  return false, host.refused(shape)
end

function host.send(op, mode, ...) -- the same for arguments that may be tables or binary texts
  host.need_yield(op)
  return sent(op, pcall(host.flatten, mode, ...))
end
