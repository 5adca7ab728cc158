-- coroutine.spawn: a coroutine that runs beside the one that made it.
--
--   coroutine.spawn(fn)   thread   fn gets no arguments; it runs when its maker waits, after those spawned before it
--
-- Raises when fn is no function, and at the top level of a script. What fn raises fails the whole call; when the handler
-- returns, spawned coroutines that have not come to their end are dropped, and nothing in them runs on.

local host = ...

local yield = coroutine.yield
local ASYNC = host.ASYNC

function host.need_handler(fn) -- the top level of a script runs by itself
  if not host.entry then
    host.fail(fn .. " cannot be used while the script loads; call it in the handler")
  end
  host.need_yield(fn)
end

function host.spawn(fn)
  host.expect("'spawn'", 1, fn, "function")
  host.need_handler("coroutine.spawn")
  host.charge(2000)
  return (yield(ASYNC, "spawn", fn))
end
