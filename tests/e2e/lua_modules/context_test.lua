-- Steps and pauses need a message: what they do with one is in tests/e2e/test_steps.py and test_waits.py.
local check = require("check")
local tests = {}

local function refused(value, err)
  check.same({ value, err:kind() }, { nil, "Invalid" })
  return err:message()
end

function tests.without_a_message()
  local problem = "there is no message whose steps to record"
  for _, call in ipairs({
    function() return context.step("a", function() return 1 end) end,
    function() return context.sleep("3d") end,
    function() return context.wait_for("approved", 7, "1d") end,
  }) do
    check.same(refused(call()):find(problem, 1, true) ~= nil, true)
  end
end

function tests.wrong_arguments()
  check.raises("string expected", context.step)
  check.raises("string expected", context.sleep)
  check.raises("string expected", context.wait_for, "approved", 7)
  check.same(refused(context.step("a", 1)), "step takes a function")
  check.same(refused(context.sleep("soon")), "function 'app:context' was called, not delivered to: there is no message whose steps to record")
end

return { main = check.suite(tests) }
