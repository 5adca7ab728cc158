-- coroutine.spawn: a coroutine that runs beside the one that made it.
--
--   coroutine.spawn(fn)   thread   fn gets no arguments; it runs when its maker waits, after those spawned before it
--
-- Raises when fn is no function, and at the top level of a script. What fn raises fails the whole call; when the handler
-- returns, spawned coroutines that have not come to their end are dropped, and nothing in them runs on.

local host = ...

local type, error, yield = type, error, coroutine.yield
local ASYNC = host.ASYNC

function host.need_handler(fn, level) -- the top level of a script runs by itself
  if not host.entry then
    error(fn .. " cannot be used while the script loads; call it in the handler", level)
  end
  host.need_yield(fn)
end

function host.spawn(fn)
  if type(fn) ~= "function" then
    error("bad argument #1 to 'spawn' (function expected, got " .. host.base.type(fn) .. ")", 2)
  end
  host.need_handler("coroutine.spawn", 3)
  host.charge(2000)
  return (yield(ASYNC, "spawn", fn))
end
