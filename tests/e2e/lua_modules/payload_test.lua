local check = require("check")
local tests = {}

function tests.formats()
  check.same(payload.format, {
    JSON = "json/plain", YAML = "yaml/plain", STRING = "text/plain", GOLANG = "golang/any", LUA = "lua/any",
    BYTES = "application/octet-stream", MSGPACK = "application/msgpack", ERROR = "golang/error",
  })
  check.raises("Immutable", function() payload.format.JSON = "x" end)
end

function tests.new()
  local value = { a = { 1, 2 } }
  local made = payload.new(value)
  check.same({ type(made), made:get_format(), tostring(made) }, { "userdata", "lua/any", "payload{format=lua/any}" })
  check.same({ made:data() == value, made:unmarshal() == value }, { true, true })
  check.same(payload.new(errors.new("x")):get_format(), "golang/error")
end

function tests.transcode()
  local made = payload.new({ a = { 1, 2 } })
  for _, format in ipairs({ payload.format.JSON, payload.format.YAML, payload.format.MSGPACK }) do
    local other, err = made:transcode(format)
    check.same({ err == nil, other:get_format() }, { true, format })
    check.same(other:data(), { a = { 1, 2 } })
    check.same(other:unmarshal(), { a = { 1, 2 } })
  end
  check.same(made:transcode(payload.format.JSON):transcode(payload.format.STRING):data(), '{"a":[1,2]}')
  check.same(payload.new(5):transcode(payload.format.STRING):data(), "5")
  check.same(payload.new(true):transcode(payload.format.BYTES):data(), "true")
  check.same(payload.new(nil):transcode(payload.format.STRING):data(), "")
  check.same(payload.new('{"n":1}'):transcode(payload.format.STRING):transcode(payload.format.JSON):data(), { n = 1 })
  check.same(made:transcode(payload.format.LUA):data(), made:data())
end

function tests.what_cannot_be()
  check.fails("Internal", "no transcoding path found", payload.new(1):transcode("some/thing"))
  check.fails("Internal", "no transcoding path found", payload.new(errors.new("x")):transcode(payload.format.JSON))
  check.fails("Internal", "no transcoding path found", payload.new(errors.new("x")):data())
  check.fails("Internal", "transcoded data is not a valid Lua value", payload.new(nil):unmarshal())
  local broken = payload.new("{"):transcode(payload.format.STRING):transcode(payload.format.JSON)
  check.same(select(2, broken:data()):kind(), "Internal")
  check.raises("string expected", payload.new(1).transcode, payload.new(1), {})
  for _, name in ipairs({ "get_format", "data", "transcode", "unmarshal" }) do
    check.raises("payload expected", payload.new(1)[name], {})
  end
end

return check.suite(tests)
