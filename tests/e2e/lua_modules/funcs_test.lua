local check = require("check")
local tests, limits = {}, {}

function tests.call()
  check.same({ funcs.call("app:callee", 5) }, { 5 })
  check.same(funcs.call("app:callee", { a = { 1, 2 } }), { a = { 1, 2 } })
  local value, err = funcs.call("app:nothing")
  check.same({ value == nil, err == nil }, { true, true })
  check.same(funcs.call("app:odd_second"), "kept")
end

function tests.arguments_are_copied()
  local mine = { 1, x = 2, [0] = 3 }
  local found = funcs.call("app:args", mine, nil, "text", true, 1.5, print, time.now(), errors.new("e"), nil)
  check.same({ found.count, mine.changed == nil }, { 9, true })
  check.same(found.kinds, { "table", "nil", "string", "boolean", "number", "nil", "nil", "userdata", "nil" })
  check.same(found.first, { 1, x = 2, [0] = 3, changed = true })
  local err = funcs.call("app:callee", errors.new({ message = "m", kind = "Conflict", retryable = true }))
  check.same({ err:message(), err:kind(), err:retryable() }, { "m", "Conflict", true })
end

function tests.a_table_within_itself_is_refused()
  local loop = {}
  loop.loop = loop
  local value, err = funcs.call("app:callee", loop)
  check.same({ value == nil, err:message() }, { true, "value refers to itself" })
end

function tests.targets()
  for _, call in ipairs({ funcs.call, funcs.async }) do
    check.fails("Invalid", "function ID required", call())
    check.fails("Invalid", "function ID required", call(""))
    check.fails("Invalid", "namespace required in function ID", call("callee"))
    check.fails("Invalid", "namespace required in function ID", call(":callee"))
    check.fails("Invalid", "name required in function ID", call("app:"))
    local err = check.fails("NotFound", "no handler registered for target", call("app:missing"))
    check.same(err:details(), { target = "app:missing" })
    check.raises("string expected, got table", call, {})
  end
end

function tests.failures_of_the_callee()
  local err = check.fails("Conflict", "no room", funcs.call("app:refuse"))
  check.same({ err:retryable(), err:details().seats }, { true, 0 })
  check.same(check.fails("Internal", "only a text", funcs.call("app:refuse_text")):retryable(), false)
  check.same(check.fails("Internal", "lib/callees.lua:37: it broke", funcs.call("app:raise")):retryable(), nil)
  check.same(check.fails("NotFound", "gone", funcs.call("app:raise_object")):details(), { id = 7 })
  check.fails("Internal", "lib/callees.lua:46: broken beside", funcs.call("app:spawned_raise"))
end

function tests.async()
  local future, err = funcs.async("app:slow", "async", 7)
  check.same({ err == nil, type(future), future:is_complete(), future:is_canceled() }, { true, "userdata", false, false })
  check.same({ future:result() }, {})
  check.same(future:response() == future:channel(), true)
  local payload, ok = future:response():receive()
  check.same({ payload:data(), ok, future:is_complete() }, { 7, true, true })
  check.same({ future:channel():receive() }, { nil, false })
  check.same(future:result():data(), 7)
  check.same({ future:error() }, { nil, false })
end

function tests.many_run_at_once()
  local futures = {}
  for i = 1, 20 do
    futures[i] = funcs.async("app:meet", i, 20)
  end
  local sum = 0
  for _, future in ipairs(futures) do
    sum = sum + future:response():receive():data()
  end
  check.same(sum, 210)
end

function tests.a_future_that_fails()
  local future = funcs.async("app:refuse")
  local err, ok = future:response():receive()
  check.same({ type(err), err:kind(), err:details().seats, ok }, { "userdata", "Conflict", 0, true })
  check.fails("Conflict", "no room", future:result())
  local forced, failed = future:error()
  check.same({ forced:kind(), forced:retryable(), forced:message(), failed }, { "Internal", false, "no room", true })
  check.same(future:is_complete(), true)
end

function tests.a_future_of_nothing()
  local future = funcs.async("app:nothing")
  check.same({ future:response():receive():data() }, {})
  check.same({ future:result():data() }, {})
end

function tests.cancel()
  local cache = store.get("app:cache")
  cache:delete("runs on")
  local future = funcs.async("app:slow", "runs on", 1)
  check.same({ future:cancel() }, { true })
  check.same({ future:is_canceled(), future:is_complete() }, { true, false })
  check.same(check.fails("Canceled", "canceled", future:result()):retryable(), false)
  check.same({ future:channel():receive() }, { nil, false })
  while not cache:has("runs on") do -- the callee is not stopped
    time.sleep("5ms")
  end
  check.fails("Canceled", "canceled", future:result())
  check.same({ future:cancel() }, { true })
  local done = funcs.async("app:callee", 1)
  done:response():receive()
  done:cancel()
  check.fails("Canceled", "canceled", done:result())
end

function tests.a_waiting_receiver_learns_of_the_cancel()
  local future = funcs.async("app:never_ends")
  local seen = channel.new(1)
  coroutine.spawn(function()
    local value, ok = future:response():receive()
    seen:send(value == nil and ok == false)
  end)
  time.sleep("1ms")
  future:cancel()
  check.same(seen:receive(), true)
end

function tests.wrong_selves_raise()
  local future, executor = funcs.async("app:callee"), funcs.new()
  for _, name in ipairs({ "response", "channel", "result", "error", "is_complete", "is_canceled", "cancel" }) do
    check.raises("funcs.Future expected", future[name], executor)
  end
  for _, name in ipairs({ "with_context", "with_actor", "with_scope", "with_options", "call", "async" }) do
    check.raises("funcs.Executor expected", executor[name], future)
  end
  check.raises("attempt to modify", function() future.x = 1 end)
end

function tests.with_context()
  local first = funcs.new():with_context({ a = 1, b = 2, [1] = "lost", f = print })
  local second = first:with_context({ b = 3 })
  local seen = first:call("app:around")
  check.same({ seen.a, seen.b, seen[1] == nil, seen.f:find("^function") ~= nil }, { 1, 2, true, true })
  check.same(second:call("app:around").b, 3)
  check.same(second:async("app:around"):response():receive():data().a, 1)
  check.same(funcs.new():with_context({}):call("app:around"), {})
  local given = { list = { 1 } }
  local executor = funcs.new():with_context(given)
  given.list[1] = 2
  check.same(executor:call("app:around"), { list = { 1 } })
  check.raises("bad argument #1 to with_context (table expected, got string)", first.with_context, first, "x")
  local loop = {}
  loop.loop = loop
  check.same(select(2, first:with_context(loop)):message(), "value refers to itself")
end

function tests.with_actor_and_scope()
  local actor, scope = security.new_actor("clerk", { team = "blue" }), security.named_scope("app:limits")
  local executor = funcs.new():with_actor(actor)
  check.same(executor:call("app:funcs_limits"), 5)
  check.same(executor:with_scope(scope):call("app:funcs_limits", "limited"), 5)
  check.raises("actor cannot be nil", executor.with_actor, executor, nil)
  check.raises("scope cannot be nil", executor.with_scope, executor)
  check.raises("bad argument #1 to with_actor (security.Actor expected, got userdata)", executor.with_actor, executor, scope)
  check.raises("bad argument #1 to with_scope (security.Scope expected, got string)", executor.with_scope, executor, "x")
  check.same(security.actor():id(), "tester")
end

function tests.with_options()
  local executor = funcs.new():with_options({ timeout = "1ns" })
  check.same(executor:call("app:callee", 1), 1)
  check.same(executor:with_options({}):call("app:callee", 2), 2)
  check.same(executor:with_options({ network = "app:net" }):call("app:callee", 3), 3)
  check.raises("bad argument #1 to with_options (table expected, got nil)", executor.with_options, executor)
end

function tests.executors_check_their_target()
  local executor = funcs.new()
  check.fails("Invalid", "function ID required", executor:call(""))
  check.fails("Invalid", "namespace required in function ID", executor:async("x"))
  check.fails("NotFound", "no handler registered for target", executor:async("app:missing"))
end

function limits.who_acts()
  check.same({ security.actor():id(), security.actor():meta().team }, { "clerk", "blue" })
end

local function limited()
  return security.scope():contains("app:no_others")
end

function limits.calls()
  if limited() then
    check.fails("PermissionDenied", "not allowed: app:secret_call", funcs.call("app:secret_call"))
    check.fails("PermissionDenied", "not allowed: app:secret_call", funcs.async("app:secret_call"))
    check.fails("PermissionDenied", "not allowed: app:secret_call", funcs.new():call("app:secret_call"))
  else
    check.same(funcs.call("app:secret_call", 1), 1)
  end
  check.same(funcs.call("app:callee", 1), 1)
end

function limits.context()
  local made, err = funcs.new():with_context({})
  if limited() then
    check.fails("PermissionDenied", "not allowed to call functions with custom context", made, err)
    check.fails("PermissionDenied", "not allowed to call functions with custom context", funcs.new():with_context("no table"))
  else
    check.same(type(made), "userdata")
  end
end

function limits.identity()
  local text = "not allowed to call functions with custom security context"
  if limited() then
    check.fails("PermissionDenied", text, funcs.new():with_actor(security.actor()))
    check.fails("PermissionDenied", text, funcs.new():with_scope(security.scope()))
  else
    check.same(funcs.new():with_scope(security.scope()):call("app:callee", 1), 1)
  end
end

function limits.network()
  if limited() then
    check.fails("PermissionDenied", "not allowed to select network: app:net", funcs.new():with_options({ network = "app:net" }))
  end
end

return { main = check.suite(tests), limits = check.suite(limits) }
