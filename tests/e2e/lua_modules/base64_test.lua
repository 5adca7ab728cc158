local check = require("check")
local tests = {}

function tests.round_trip()
  check.same(base64.encode("Hello"), "SGVsbG8=")
  check.same(base64.encode(""), "")
  check.same(base64.decode(""), "")
  for _, text in ipairs({ "a", "ab", "abc", "\0\255\200", ("x"):rep(1000), "é" }) do
    check.same(base64.decode(base64.encode(text)), text)
  end
end

function tests.results_are_single()
  check.same(select("#", base64.encode("a")), 1)
  check.same(select("#", base64.decode("YQ==")), 1)
end

function tests.line_ends_are_skipped_other_blanks_are_not()
  check.same(base64.decode("SGVs\r\nbG8="), "Hello")
  check.fails("Invalid", "illegal base64 data at input byte 4", base64.decode("SGVs bG8="))
end

function tests.what_is_no_base64()
  check.fails("Invalid", "illegal base64 data at input byte 0", base64.decode("!"))
  check.fails("Invalid", "illegal base64 data at input byte 4", base64.decode("SGVsbG8"))
  check.fails("Invalid", "illegal base64 data at input byte 4", base64.decode("SGVs-G8="))
end

function tests.only_texts()
  for _, value in ipairs({ 1, true, {}, errors.new("x") }) do
    check.fails("Invalid", "string expected", base64.encode(value))
    check.fails("Invalid", "string expected", base64.decode(value))
  end
  check.fails("Invalid", "string expected", base64.encode())
  check.fails("Invalid", "string expected", base64.decode(nil))
end

return check.suite(tests)
