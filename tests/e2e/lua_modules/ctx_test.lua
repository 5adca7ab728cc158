local check = require("check")
local tests = {}

function tests.without_values()
  check.same(ctx.all(), {})
  check.fails("NotFound", "key not found: tenant", ctx.get("tenant"))
end

function tests.get()
  check.fails("Invalid", "empty key", ctx.get(""))
  check.raises("bad argument #1 to get (string expected, got nil)", ctx.get)
  check.raises("bad argument #1 to get (string expected, got table)", ctx.get, {})
  check.fails("NotFound", "key not found: 1", ctx.get(1))
end

-- Values hold for the called function and all below it; its own changes do not come back.
function tests.values_are_passed_on()
  local with = funcs.new():with_context({ tenant = "acme", n = 1.5, deep = { a = { 1, 2 } } })
  local expected = { tenant = "acme", n = 1.5, deep = { a = { 1, 2 } } }
  check.same(with:call("app:around"), expected)
  local outer = with:call("app:around_more")
  check.same(outer.own, expected)
  check.same(outer.seen, expected)
  check.same(outer.changed, { tenant = "other", n = 1.5, deep = { a = { 1, 2 } }, extra = 1 })
  check.same(ctx.all(), {})
  check.same(funcs.call("app:around"), {})
end

function tests.python_functions_see_and_pass_on_the_same()
  local with = funcs.new():with_context({ tenant = "acme" })
  check.same(with:call("app:python_values"), { tenant = "acme" })
  check.same(with:call("app:python_around"), { tenant = "acme", python = true })
  check.same(with:call("app:around", "app:python_values"), { tenant = "acme", below = { tenant = "acme" } })
end

function tests.all_is_a_fresh_table()
  local all = ctx.all()
  all.x = 1
  check.same(ctx.all(), {})
end

function tests.without_a_trace()
  check.same(ctx.trace(), nil)
end

return check.suite(tests)
