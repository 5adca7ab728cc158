local check = require("check")
local tests = {}

function tests.pieces()
  check.same({ ("abc"):byte(2), string.char(104, 105), #string.rep("ab", 3), string.rep("a", 3, ",") }, { 98, "hi", 6, "a,a,a" })
  check.same({ ("hello"):sub(2, -2), ("hello"):len(), ("abc"):reverse() }, { "ell", 5, "cba" })
  check.same({ ("Äé"):lower(), ("Äéß"):upper() }, { "äé", "ÄÉß" })
end

function tests.searching()
  check.same({ ("hello"):find("l") }, { 3, 3 })
  check.same({ ("a.b"):find(".", 1, true) }, { 2, 2 })
  check.same({ ("key=value"):match("(%w+)=(%w+)") }, { "key", "value" })
  check.same(("THE (quick) fox"):find("%((%a+)%)"), 5)
  check.same(("hello"):match("z"), nil)
  local words = {}
  for word in ("one two"):gmatch("%a+") do
    words[#words + 1] = word
  end
  for word in string.gfind("three", "%a+") do
    words[#words + 1] = word
  end
  check.same(words, { "one", "two", "three" })
  check.same({ ("hello"):gsub("l", "L") }, { "heLLo", 2 })
  check.same((("abc"):gsub("%w", { a = "1", b = false })), "1bc")
  check.same((("abc"):gsub("%w", function(c) return c:upper() end, 2)), "ABc")
  check.raises("malformed pattern", string.find, "a", "[")
end

function tests.format()
  check.same(("%d %s %5.2f %x %q %c %%"):format(3, "x", 1.005, 255, "a\n", 65), '3 x  1.00 ff "a\\\n" A %')
  check.same({ ("%d"):format(3.0), ("%s"):format(10 / 2), ("%s"):format(errors.new("e")) }, { "3", "5", "e" })
end

function tests.packing()
  check.same({ string.unpack("<i4", string.pack("<i4", -7)) }, { -7, 5 })
  check.same(string.packsize("<i4i8"), 12)
  check.same(string.dump, nil)
end

return check.suite(tests)
