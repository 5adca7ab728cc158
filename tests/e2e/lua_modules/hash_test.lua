local check = require("check")
local tests = {}

function tests.digests()
  check.same(hash.md5("abc"), "900150983cd24fb0d6963f7d28e17f72")
  check.same(hash.sha1("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d")
  check.same(hash.sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  check.same(hash.sha512(""):sub(1, 32), "cf83e1357eefb8bdf1542850d66d8007")
  check.same(#hash.sha512("abc"), 128)
end

function tests.keyed_digests()
  local text = "The quick brown fox jumps over the lazy dog"
  check.same(hash.hmac_md5(text, "key"), "80070713463e7749b90c2dc24911e275")
  check.same(hash.hmac_sha1(text, "key"), "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9")
  check.same(hash.hmac_sha256(text, "key"), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8")
  check.same(hash.hmac_sha512(text, "key"):sub(1, 32), "b42af09057bac1e2d41708e48a902e09")
end

function tests.raw_bytes()
  check.same(#hash.md5("abc", true), 16)
  check.same(hash.md5("abc", 1):byte(), 0x90)
  check.same(#hash.hmac_sha256("abc", "key", true), 32)
  check.same(hash.md5("abc", false), hash.md5("abc"))
  check.same(hash.sha1("\255\0"), hash.sha1("\255\0"))
end

-- FNV-1, not FNV-1a: multiply first.
function tests.fnv()
  check.same(hash.fnv32(""), 2166136261)
  check.same(hash.fnv32("a"), 0x050c5d7e)
  check.same(hash.fnv64("") > 1.4e19, true)
  check.same(hash.fnv64("a"), 12638153115695167422.0)
end

function tests.only_texts()
  for _, name in ipairs({ "md5", "sha1", "sha256", "sha512", "fnv32", "fnv64" }) do
    check.fails("Invalid", "data must be a string", hash[name](1))
    check.fails("Invalid", "data must be a string", hash[name]())
  end
  for _, name in ipairs({ "hmac_md5", "hmac_sha1", "hmac_sha256", "hmac_sha512" }) do
    check.fails("Invalid", "data must be a string", hash[name]({}, "key"))
    check.fails("Invalid", "secret must be a string", hash[name]("abc", 1))
    check.fails("Invalid", "secret must be a string", hash[name]("abc"))
  end
end

return check.suite(tests)
