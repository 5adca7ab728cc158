local check = require("check")
local tests = {}

function tests.create_resume_yield_status()
  local co = coroutine.create(function(a)
    local b = coroutine.yield(a + 1)
    return b * 2
  end)
  check.same(coroutine.status(co), "suspended")
  check.same({ coroutine.resume(co, 1) }, { true, 2 })
  check.same({ coroutine.resume(co, 5) }, { true, 10 })
  check.same(coroutine.status(co), "dead")
  check.same({ coroutine.resume(co) }, { false, "can not resume a dead thread" })
  check.same(type(co), "thread")
  check.raises("function expected", coroutine.create, 1)
  check.raises("coroutine expected", coroutine.resume, {})
  check.raises("coroutine expected", coroutine.status, 1)
end

function tests.wrap()
  local next_of = coroutine.wrap(function()
    for i = 1, 2 do
      coroutine.yield(i)
    end
    error("end")
  end)
  check.same({ next_of(), next_of() }, { 1, 2 })
  check.raises("end", next_of)
end

function tests.running()
  local co, is_main = coroutine.running()
  check.same({ type(co), is_main }, { "thread", false })
  check.same({ coroutine.resume(co) }, { false, "can not resume a running thread" })
end

function tests.host_calls_pass_through_layers()
  local co = coroutine.wrap(function()
    local value = funcs.call("app:callee", 3)
    coroutine.yield(value)
    time.sleep("1ms")
    return value + 1
  end)
  check.same({ co(), co() }, { 3, 4 })
  local ok, value = pcall(function()
    time.sleep("1ms")
    return funcs.call("app:callee", 1)
  end)
  check.same({ ok, value }, { true, 1 })
end

function tests.spawn()
  local order = {}
  local co = coroutine.spawn(function(...)
    order[#order + 1] = "first " .. select("#", ...)
  end)
  coroutine.spawn(function()
    order[#order + 1] = "second"
  end)
  order[#order + 1] = "maker"
  coroutine.yield()
  check.same(type(co), "thread")
  check.same(order, { "maker", "first 0", "second" })
  check.raises("function expected", coroutine.spawn, {})
end

function tests.a_yield_at_the_top_returns_nothing()
  check.same(select("#", coroutine.yield(1, 2)), 0)
end

function tests.what_is_spawned_may_fail_the_call()
  check.fails("Internal", "lib/callees.lua:46: broken beside", funcs.call("app:spawned_raise"))
end

function tests.all_blocked_is_a_deadlock()
  local value, err = funcs.call("app:deadlock")
  check.same({ value == nil, err:message():find("deadlock: all coroutines blocked with no pending operations (threads=1)", 1, true) ~= nil }, { true, true })
end

return check.suite(tests)
