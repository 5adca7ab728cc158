local check = require("check")
local tests = {}

function tests.levels()
  for _, level in ipairs({ "debug", "info", "warn", "error" }) do
    check.same(select("#", logger[level](logger, "text")), 0)
    check.same(select("#", logger[level](logger, "text", { n = 1, b = true, t = { 1, 2 }, f = print, e = errors.new("x") })), 0)
    check.raises("bad argument #1 to " .. level .. " (string expected, got table)", logger[level], logger, {})
    check.raises("bad argument #2 to " .. level .. " (table expected, got nil)", logger[level], logger, "text", nil)
    check.raises("bad argument #2 to " .. level .. " (table expected, got string)", logger[level], logger, "text", "x")
  end
  logger.info("a dot call is fine too", { n = 1 })
  logger:info(12)
  logger:info(errors.new("as text"))
end

function tests.the_fields_of_the_caller_stay_as_they_are()
  local fields = { error = "broken" }
  logger:error("it failed", fields)
  check.same(fields, { error = "broken" })
end

function tests.with()
  local child = logger:with({ order = 1 })
  child:info("with a field")
  child:with({ more = 2 }):info("with two", { order = 3 })
  check.raises("table expected", logger.with, logger)
  check.raises("table expected", logger.with, logger, "x")
end

function tests.named()
  logger:named("a"):named("b"):info("named a.b")
  check.raises("name cannot be empty", logger.named, logger, "")
  check.raises("string expected", logger.named, logger)
end

function tests.it_is_an_object()
  check.same(type(logger), "userdata")
  check.raises("attempt to", function() logger.info = print end)
end

return check.suite(tests)
