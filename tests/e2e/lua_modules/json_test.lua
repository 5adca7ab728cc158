local check = require("check")
local tests = {}
local PREFIX = "json: error calling MarshalJSON for type *json.jsonValue: "

function tests.scalars()
  local pairs_of = {
    { nil, "null" }, { true, "true" }, { false, "false" }, { 1, "1" }, { 5.0, "5" }, { 1e15, "1000000000000000" }, { 0.5, "0.5" },
    { -0.25, "-0.25" }, { 0 / 0, "null" }, { math.huge, "null" }, { -math.huge, "null" }, { "a", '"a"' },
    { math.maxinteger, "9223372036854775807" }, { 1e-7, "1e-7" }, { 1e21, "1e+21" },
  }
  for _, pair in ipairs(pairs_of) do
    check.same({ json.encode(pair[1]) }, { pair[2] })
  end
  check.same(json.encode(), "null")
  check.same(json.encode({ 1e-7, 2.5e20 }), "[0.0000001,250000000000000000000]")
end

function tests.texts()
  check.same(json.encode('a"\\\n\t'), '"a\\"\\\\\\n\\t"')
  check.same(json.encode("<a>&"), '"\\u003ca\\u003e\\u0026"')
  check.same(json.encode({ ["<"] = "\u{2028}é" }), '{"\\u003c":"\\u2028é"}')
  check.same(json.encode("\200"), '"\u{FFFD}"')
end

function tests.tables()
  check.same(json.encode({ 1, "two", { 3 } }), '[1,"two",[3]]')
  check.same(json.encode({ a = 1 }), '{"a":1}')
  check.same(json.encode({ [true] = 1 }), '{"true":1}')
  check.same(json.encode({ [1.5] = 1 }), '{"1.5":1}')
  check.same(json.encode({ [0] = 1 }), "{}")
  check.same(json.encode({}), "[]")
  check.same(json.encode(table.create(0, 1)), "{}")
  check.same(json.encode({ f = print }), '{"f":null}')
  check.same(json.encode({ errors.wrap(errors.new("inner"), "outer") }), '["outer: inner"]')
  check.same(json.encode(setmetatable({ 1 }, { __pairs = error, __index = error })), "[1]")
  local twice = { 1 }
  check.same(json.encode({ twice, twice }), "[[1],[1]]")
end

function tests.what_cannot_be_encoded()
  local loop = {}
  loop.loop = loop
  check.fails("Internal", PREFIX .. "cannot encode recursively nested tables to JSON", json.encode(loop))
  check.fails("Internal", PREFIX .. "cannot encode sparse array: non-contiguous numeric keys found", json.encode({ 1, nil, 3 }))
  check.fails("Internal", PREFIX .. "cannot encode mixed-key table: table has both numeric and non-numeric keys", json.encode({ 1, x = 2 }))
  local deep = {}
  for _ = 1, 128 do
    deep = { deep }
  end
  check.same(#json.encode(deep), 258)
  check.fails("Internal", PREFIX .. "exceeded maximum nesting depth for JSON encoding", json.encode({ deep }))
end

function tests.decode()
  check.same({ json.decode('{"a":[1,2.5,"x",true,null]}') }, { { a = { 1, 2.5, "x", true } } })
  check.same(json.decode("1 trailing"), 1)
  check.same(math.type(json.decode("1")), "integer")
  check.same(math.type(json.decode("1.0")), "float")
  check.same(json.decode("99999999999999999999"), math.maxinteger)
  check.same(#json.decode("[1,null,3]"), 3)
  check.same({ json.encode(json.decode("[]")), json.encode(json.decode("{}")) }, { "[]", "{}" })
  local value, err = json.decode("null")
  check.same({ value == nil, err == nil }, { true, true })
end

function tests.what_is_decoded_already_comes_back()
  local value = { 1 }
  check.same(json.decode(value) == value, true)
  check.same({ json.decode(5), json.decode(true) }, { 5, true })
end

function tests.what_cannot_be_decoded()
  check.fails("Invalid", "string expected", json.decode())
  check.fails("Invalid", "string expected", json.decode(print))
  check.fails("Invalid", "empty string is not valid JSON", json.decode(""))
  for _, text in ipairs({ "{", "nope", "NaN", '{"a":1,"a":2}', '"\200"', "[1,]", ("["):rep(200) }) do
    check.same(select(2, json.decode(text)):kind(), "Internal")
  end
  check.fails("Internal", "json: maximum nesting depth exceeded", json.decode(("["):rep(130) .. ("]"):rep(130)))
end

local SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'

function tests.validate()
  check.same({ json.validate(SCHEMA, { n = 1 }) }, { true })
  check.same({ json.validate({ type = "string", format = "email" }, "no address") }, { true })
  local ok, err = json.validate(SCHEMA, { n = "x" })
  check.same({ ok, err:kind(), err:message(), err:details().path }, { false, "Invalid", "evaluation failed", "/n" })
  check.fails("Invalid", "evaluation failed", json.validate({ type = "array" }, {}))
  check.same(json.validate({ type = "object" }, {}), true)
  check.fails("Invalid", "schema is required", json.validate())
  check.fails("Invalid", "data is required", json.validate(SCHEMA))
  check.fails("Invalid", "schema must be a string or table", json.validate(1, 1))
  check.same(select(2, json.validate("{", 1)):kind(), "Invalid")
  check.same(select(2, json.validate({ type = 5 }, 1)):kind(), "Invalid")
  check.fails("Invalid", PREFIX .. "cannot encode mixed-key table: table has both numeric and non-numeric keys", json.validate(SCHEMA, { 1, x = 2 }))
end

function tests.validate_string()
  check.same({ json.validate_string(SCHEMA, '{"n": 1}') }, { true })
  check.fails("Invalid", "evaluation failed", json.validate_string(SCHEMA, '{"n": 1.5}'))
  check.fails("Invalid", "evaluation failed", json.validate_string(SCHEMA, "no json"))
  check.fails("Invalid", "schema is required", json.validate_string())
  check.fails("Invalid", "data must be a JSON string", json.validate_string(SCHEMA, { n = 1 }))
  check.fails("Invalid", "schema must be a string or table", json.validate_string(1, "1"))
end

return check.suite(tests)
