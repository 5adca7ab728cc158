local check = require("check")
local tests = {}
local SAMPLE = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

function tests.new_ones()
  for version, make in pairs({ [1] = uuid.v1, [4] = uuid.v4, [7] = uuid.v7 }) do
    local text, err = make()
    check.same({ #text, err == nil, text == text:lower() }, { 36, true, true })
    check.same(uuid.version(text), version)
    check.same(uuid.variant(text), "RFC4122")
    check.same(text == make(), false)
  end
end

function tests.of_names()
  check.same(uuid.v3(SAMPLE, "www.example.com"), "5df41881-3aed-3515-88a7-2f4a814cf09e")
  check.same(uuid.v5(SAMPLE, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2")
  check.same(uuid.v5(SAMPLE, "a\0\255") == uuid.v5(SAMPLE, "a\0\254"), false)
  for _, make in ipairs({ uuid.v3, uuid.v5 }) do
    check.fails("Invalid", "namespace and name must be strings", make(SAMPLE))
    check.fails("Invalid", "namespace and name must be strings", make(1, "x"))
    check.fails("Invalid", "invalid namespace UUID", make("nonsense", "x"))
  end
end

function tests.validate()
  local good = { SAMPLE, SAMPLE:upper(), "urn:uuid:" .. SAMPLE, "{" .. SAMPLE .. "}", (SAMPLE:gsub("-", "")) }
  for _, text in ipairs(good) do
    check.same({ uuid.validate(text) }, { true })
  end
  for _, value in ipairs({ "", "x", SAMPLE .. "0", "{" .. SAMPLE, 1, {}, true }) do
    check.same(uuid.validate(value), false)
  end
  check.same(uuid.validate(nil), false)
end

function tests.version_and_variant()
  check.same({ uuid.version(SAMPLE), uuid.variant(SAMPLE) }, { 1, "RFC4122" })
  check.same(uuid.variant("00000000-0000-0000-0000-000000000000"), "NCS")
  check.same(uuid.variant("6ba7b810-9dad-11d1-c0b4-00c04fd430c8"), "Microsoft")
  check.same(uuid.variant("6ba7b810-9dad-11d1-e0b4-00c04fd430c8"), "Future")
  for _, read in ipairs({ uuid.version, uuid.variant, uuid.parse }) do
    check.fails("Invalid", "input must be a string", read(1))
    check.fails("Invalid", "invalid UUID format", read("x"))
  end
end

function tests.parse()
  local parts = uuid.parse(SAMPLE)
  check.same({ parts.version, parts.variant, parts.timestamp }, { 1, "RFC4122", 886630433 })
  check.same(parts.node, "\0\192\79\212\48\200")
  local seven = uuid.parse("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
  check.same(seven, { version = 7, variant = "RFC4122", timestamp = 1645557742 })
  check.same(uuid.parse(uuid.v4()).timestamp, nil)
end

function tests.format()
  check.same(uuid.format(SAMPLE:upper()), SAMPLE)
  check.same(uuid.format(SAMPLE, 1), SAMPLE)
  check.same(uuid.format(SAMPLE, "standard"), SAMPLE)
  check.same(uuid.format(SAMPLE, "simple"), (SAMPLE:gsub("-", "")))
  check.same(uuid.format(SAMPLE, "urn"), "urn:uuid:" .. SAMPLE)
  check.fails("Invalid", "unsupported format", uuid.format(SAMPLE, "other"))
  check.fails("Invalid", "input must be a string", uuid.format(nil))
  check.fails("Invalid", "invalid UUID format", uuid.format("x"))
end

return check.suite(tests)
