local check = require("check")
local tests = {}

local function near(actual, expected)
  check.same(math.abs(actual - expected) < 1e-9, true)
end

function tests.rounding()
  check.same({ math.floor(1.5), math.ceil(1.5), math.abs(-2), math.max(1, 3, 2), math.min(3, 1, 2) }, { 1, 2, 2, 3, 1 })
  check.same({ math.fmod(7, 3), math.mod(7, 3), math.modf(1.5) }, { 1, 1, 1, 0.5 })
  check.same({ math.tointeger(3.0), math.tointeger("8"), math.type(1), math.type(1.0), math.ult(1, -1) }, { 3, 8, "integer", "float", true })
  check.same(math.type("1"), nil)
end

function tests.functions()
  near(math.sin(1), 0.8414709848)
  near(math.cos(1), 0.5403023059)
  near(math.tan(1), 1.5574077247)
  near(math.asin(1), 1.5707963268)
  near(math.acos(0), 1.5707963268)
  near(math.atan(1), 0.7853981634)
  near(math.exp(1), 2.7182818285)
  near(math.log(math.exp(2)), 2)
  near(math.log10(1000), 3)
  near(math.sqrt(2), 1.4142135624)
  near(math.pow(2, 0.5), 1.4142135624)
  near(math.cosh(1), 1.5430806348)
  near(math.sinh(1), 1.1752011936)
  near(math.tanh(1), 0.761594156)
  near(math.deg(math.pi), 180)
  near(math.rad(180), math.pi)
end

function tests.parts_of_floats()
  check.same({ math.frexp(8) }, { 0.5, 4 })
  check.same({ math.ldexp(0.5, 4), math.frexp(0) }, { 8, 0, 0 })
end

function tests.random()
  math.randomseed(7)
  for _ = 1, 20 do
    local n = math.random(3)
    check.same(n >= 1 and n <= 3, true)
  end
  check.same({ math.random() < 1, math.random(5, 5) }, { true, 5 })
end

function tests.constants()
  check.same({ math.maxinteger, math.mininteger, math.huge > 1e308 }, { 9223372036854775807, -9223372036854775807 - 1, true })
end

return check.suite(tests)
