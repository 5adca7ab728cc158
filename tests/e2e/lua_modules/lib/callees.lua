-- Functions that others call.

local callees = {}

function callees.value(x)
  return x, nil
end

function callees.nothing() end

-- How many arguments came, what each is, and a table that was changed here.
function callees.args(...)
  local kinds = {}
  for i = 1, select("#", ...) do
    kinds[i] = type((select(i, ...)))
  end
  local first = ...
  if type(first) == "table" then
    first.changed = true
  end
  return { count = select("#", ...), kinds = kinds, first = first }
end

function callees.refuse()
  return nil, errors.wrap(errors.new({ message = "no room", kind = "Conflict", retryable = true, details = { seats = 0 } }), "booking")
end

function callees.refuse_text()
  return "lost", "only a text"
end

function callees.odd_second()
  return "kept", { 1 }
end

function callees.raise()
  error("it broke")
end

function callees.raise_object()
  error(errors.new({ message = "gone", kind = "NotFound", details = { id = 7 } }))
end

function callees.spawned_raise()
  coroutine.spawn(function()
    error("broken beside")
  end)
  time.sleep("5s")
  return "not reached"
end

function callees.slow(key, value)
  time.sleep("20ms")
  local cache = store.get("app:cache")
  cache:set(key, value)
  return value
end

-- Comes to an end when this many are in here at once.
function callees.meet(i, n)
  local cache = store.get("app:cache")
  cache:set("meeting " .. i, true)
  while #cache:list({ prefix = "meeting " }).items < n do
    time.sleep("2ms")
  end
  return i
end

function callees.never_ends()
  time.sleep("1h")
end

return callees
