local check = require("check")
local tests = {}

function tests.time()
  check.same(os.time() > 1.7e9, true)
  local at = os.time({ year = 2024, month = 2, day = 29, hour = 12, min = 30, sec = 15 })
  check.same(os.date("%Y-%m-%d %H:%M:%S", at), "2024-02-29 12:30:15")
  check.same(os.date("%H:%M:%S", os.time({ year = 2024, month = 1, day = 1 })), "00:00:00")
  check.raises("table expected", os.time, nil)
  check.raises("table expected", os.time, "now")
end

function tests.date()
  check.same(os.date("!%Y-%m-%d %H:%M:%S %p %j %y %b %B %a %A %w %d %I %%", 86400), "1970-01-02 00:00:00 AM 002 70 Jan January Fri Friday 5 02 12 %")
  check.same(os.date("!%c", 0), "Thu Jan  1 00:00:00 1970")
  check.same(os.date("!%x %X", 0), "01/01/70 00:00:00")
  check.same(os.date("!%U %W", 0), "01 01")
  check.same(os.date("!%Q %k", 0), "%Q %k")
  check.same(os.date("!%Z %z", 0), "UTC +0000")
  check.same(type(os.date()), "string")
  local fields = os.date("!*t", 0)
  check.same(fields, { year = 1970, month = 1, day = 1, hour = 0, min = 0, sec = 0, wday = 5, yday = 1, isdst = false })
  check.raises("string expected", os.date, {})
  check.raises("number expected", os.date, "%c", "x")
  check.raises("time out of range", os.date, "%c", 1e300)
end

function tests.clock_and_difftime()
  check.same({ type(os.clock()), os.clock() >= 0 }, { "number", true })
  check.same(os.difftime(10, 4), 6)
  check.raises("number expected", os.difftime, 1)
  check.raises("number expected", os.difftime, "x", 1)
end

function tests.nothing_else()
  check.same(os.platform, "wippy")
  for _, name in ipairs({ "getenv", "execute", "exit", "remove", "rename", "tmpname", "setlocale" }) do
    check.same(os[name], nil)
  end
  check.raises("Immutable", function() os.time = nil end)
end

return check.suite(tests)
