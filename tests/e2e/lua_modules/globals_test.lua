local check = require("check")
local tests = {}

function tests.absent_on_purpose()
  for _, name in ipairs({ "load", "loadstring", "loadfile", "dofile", "setfenv", "getfenv", "collectgarbage", "module", "newproxy", "warn", "io", "debug", "package", "bit32", "python" }) do
    check.same(_G[name], nil)
  end
end

function tests.require()
  check.same({ require("string") == string, require("json") == json, require("check") == check }, { true, true, true })
  check.raises("module 'hash' not found", require, "hash")
  check.raises("string expected", require, 1)
end

function tests.print()
  check.same(select("#", print("a", 1, nil, {}, errors.new("x"))), 0)
end

function tests.type_and_tostring()
  check.same({ type(nil), type(1), type("s"), type({}), type(print) }, { "nil", "number", "string", "table", "function" })
  check.raises("value expected", type)
  check.same({ tostring(10 / 2), tostring(0.1), tostring(2 ^ 53), tostring(1 / 3) }, { "5", "0.1", "9007199254740992", "0.3333333333333333" })
  check.same({ tostring(1 / 0), tostring(-1 / 0), tostring(0 / 0), tostring(1e300), tostring(nil), tostring(true) }, { "+Inf", "-Inf", "NaN", "1e+300", "nil", "true" })
  check.same(tostring(setmetatable({}, { __tostring = function() return "mine" end })), "mine")
end

function tests.tonumber()
  check.same({ tonumber("10"), tonumber(" 7 "), tonumber("1.5"), tonumber("0x1F"), tonumber("ff", 16), tonumber(3) }, { 10, 7, 1.5, 31, 255, 3 })
  check.same({ tonumber("1e3") == nil, tonumber("x") == nil, tonumber({}) == nil, tonumber("") == nil }, { true, true, true, true })
end

function tests.assert()
  check.same({ assert(1, "m", 3) }, { 1, "m", 3 })
  check.raises("globals_test.lua:35: broken", function() assert(false, "broken") end)
  check.raises("assertion failed!", assert, nil)
end

function tests.error()
  check.raises("globals_test.lua:40: text", function() error("text") end)
  check.same(select(2, pcall(error, "text", 0)), "text")
  local value = {}
  check.same(select(2, pcall(error, value)) == value, true)
end

function tests.pcall_and_xpcall()
  check.same({ pcall(function(...) return ... end, 1, 2) }, { true, 1, 2 })
  check.same({ pcall(5) }, { false, "attempt to call a number value" })
  check.same({ xpcall(function() error("x", 0) end, function(e) return e .. "!" end) }, { false, "x!" })
  check.same({ xpcall(function() return 1 end, print) }, { true, 1 })
  check.raises("function expected", xpcall, print, 1)
end

function tests.walking()
  local seen = {}
  for i, v in ipairs({ "a", "b", nil, "d" }) do
    seen[i] = v
  end
  check.same(seen, { "a", "b" })
  for key, value in pairs({ x = 1 }) do
    seen[key] = value
  end
  check.same({ seen.x, next({}), #{ 1, 2 } }, { 1, nil, 2 })
  check.same(next({ 5 }), 1)
  check.raises("table expected", pairs, 1)
  check.raises("table expected", next, "x")
end

function tests.raw()
  local t = setmetatable({}, { __index = function() return 1 end, __newindex = error, __len = function() return 9 end, __eq = function() return true end })
  check.same({ t.x, rawget(t, "x") == nil, rawlen(t), rawequal(t, {}) }, { 1, true, 0, false })
  check.same(rawset(t, "y", 2).y, 2)
  check.raises("table expected", rawget, 1, 1)
  check.raises("nil", rawset, {}, nil, 1)
end

function tests.metatables()
  local meta = { __metatable = "locked" }
  local t = setmetatable({}, meta)
  check.same(getmetatable(t), "locked")
  check.raises("protected metatable", setmetatable, t, {})
  check.same(getmetatable("x"), nil)
  check.raises("__gc", setmetatable, {}, { __gc = print })
  check.raises("table expected", setmetatable, 1, {})
end

function tests.select_and_unpack()
  check.same({ select(2, "a", "b", "c") }, { "b", "c" })
  check.same({ select(-1, "a", "b") }, { "b" })
  check.same({ select("#", nil, nil), select(5, 1) }, { 2 })
  check.raises("index out of range", select, 0)
  check.same({ unpack({ 1, 2, 3 }) }, { 1, 2, 3 })
  check.same({ unpack({ 1, 2, 3 }, 2, 3) }, { 2, 3 })
end

function tests.globals_are_the_scripts_own()
  undeclared = 1
  check.same({ undeclared, _G.undeclared }, { 1, 1 })
  undeclared = nil
end

function tests.utf8()
  check.same({ utf8.char(233, 8364), utf8.len("é€"), utf8.codepoint("é") }, { "é€", 2, 233 })
  local points = {}
  for _, point in utf8.codes("aé") do
    points[#points + 1] = point
  end
  check.same(points, { 97, 233 })
  check.same({ utf8.offset("aéb", 3), ("é"):match(utf8.charpattern) }, { 4, "é" })
end

return check.suite(tests)
