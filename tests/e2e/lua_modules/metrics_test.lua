local check = require("check")
local tests = {}

function tests.all_say_true()
  check.same({ metrics.counter_inc("jobs") }, { true })
  check.same({ metrics.counter_inc("jobs_by_kind", { kind = "a", n = 1, [1] = "x" }) }, { true })
  check.same({ metrics.counter_add("bytes", 10) }, { true })
  check.same({ metrics.counter_add("bytes", "2.5", "no labels") }, { true })
  check.same({ metrics.counter_add("bytes", -1) }, { true })
  check.same({ metrics.gauge_set("depth", 3) }, { true })
  check.same({ metrics.gauge_inc("depth") }, { true })
  check.same({ metrics.gauge_dec("depth", nil) }, { true })
  check.same({ metrics.histogram("seconds", 0.2) }, { true })
  check.same({ metrics.histogram("jobs", 1) }, { true })
end

function tests.wrong_types_raise()
  for _, name in ipairs({ "counter_inc", "gauge_inc", "gauge_dec" }) do
    check.raises("bad argument #1 to " .. name .. " (string expected, got nil)", metrics[name])
  end
  for _, name in ipairs({ "counter_add", "gauge_set", "histogram" }) do
    check.raises("bad argument #1 to " .. name .. " (string expected, got table)", metrics[name], {}, 1)
    check.raises("bad argument #2 to " .. name .. " (number expected, got string)", metrics[name], "x", "many")
  end
end

return check.suite(tests)
