local check = require("check")
local tests = {}

function tests.stock()
  local t = { 3, 1 }
  table.insert(t, 2)
  table.insert(t, 1, 4)
  check.same(t, { 4, 3, 1, 2 })
  table.sort(t)
  check.same(t, { 1, 2, 3, 4 })
  table.sort(t, function(a, b) return a > b end)
  check.same({ table.remove(t), table.remove(t, 1), #t }, { 1, 4, 2 })
  check.same(table.remove({}), nil)
  check.same({ table.concat({ 1, "b" }, "-"), table.concat({ "a", "b", "c" }, "", 2, 3) }, { "1-b", "bc" })
  check.same({ table.unpack({ 1, 2, 3 }, 2) }, { 2, 3 })
  check.same(table.pack(1, nil).n, 2)
end

function tests.sizes()
  check.same({ table.getn({ 1, 2 }), table.maxn({ 1, [10] = 2, x = 3 }), table.maxn({}) }, { 2, 10, 0 })
end

function tests.create()
  check.same({ json.encode(table.create(5, 0)), json.encode(table.create(0, 1)) }, { "[]", "{}" })
  check.raises("number expected", table.create, 1)
  check.raises("number expected", table.create, "x", 1)
end

function tests.freeze()
  local t = { 1, 2, x = { 1 } }
  check.same({ table.isfrozen(t), table.freeze(t) == t, table.isfrozen(t), table.isfrozen(1) }, { false, true, true, false })
  check.raises("attempt to modify Immutable table", function() t.y = 1 end)
  check.raises("attempt to sort Immutable table", table.sort, t)
  check.raises("attempt to insert into Immutable table", table.insert, t, 1)
  check.raises("attempt to remove from Immutable table", table.remove, t)
  check.raises("Immutable table", setmetatable, t, {})
  check.raises("Immutable table", rawset, t, "y", 1)
  t.x[1] = 5
  check.same({ #t, t[1], t.x[1] }, { 2, 1, 5 })
  check.same(json.encode(table.freeze({ 1 })), "[1]")
  local seen = {}
  for key in pairs(t) do
    seen[key] = true
  end
  check.same(seen, { true, true, x = true })
end

function tests.libraries_are_frozen()
  for _, library in ipairs({ string, table, math, coroutine, os, errors, channel, payload, utf8, json }) do
    check.raises("attempt to modify Immutable table", function() library.x = 1 end)
  end
end

return check.suite(tests)
